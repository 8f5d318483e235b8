"""The whole program: `orchestrate supervise` on simulated nodes behind real SSH, and a real DNS server that is asked as clients ask it."""

from __future__ import annotations

import datetime as dt
import json
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from fixtures.bind import KEY_NAME, ZONE, Bind
from fixtures.sshd import LOCALHOST
from tests.names.conftest import new_bind as new_bind  # noqa: PLC0414 - a fixture is found by its name in this module
from tests.names.pictures import FIRST, NAME, SECOND
from tests.sim.test_sim_sshd import ONE, TWO, nodes

SECTION = f"""
[supervise]
listen = ""

[supervise.names]
backend = "dns"
name = "{NAME}"
zone = "{ZONE}"
server = "{LOCALHOST}"
port = {{port}}
key_name = "{KEY_NAME}"
key_file = "{{key}}"

[supervise.names.addresses]
{ONE} = ["{FIRST}"]
{TWO} = ["{SECOND}"]
"""
COMMAND = [sys.executable, "-m", "orchestrator", "-c"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def until(server: Bind, *addresses: str) -> None:
    """Ask for the name until just these are told."""
    with anyio.fail_after(60):
        while await anyio.to_thread.run_sync(server.addresses, NAME) != set(addresses):  # noqa: ASYNC110 - a client can only ask again
            await anyio.sleep(0.02)


def logged(path: Path, event: str) -> list[dict[str, Any]]:
    """The log's lines of one event."""
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


@pytest.mark.anyio
async def test_a_node_loses_its_power_and_comes_back(tmp_path: Path, new_bind: Any) -> None:
    server: Bind = await anyio.to_thread.run_sync(new_bind)
    said = tmp_path / "said"
    async with nodes(tmp_path) as (config, world, _):
        config.path.write_text(config.path.read_text() + SECTION.format(port=server.port, key=server.key_file))
        await anyio.run_process([*COMMAND, str(config.path), "up", "-q"])
        with said.open("wb") as log:
            supervise = [*COMMAND, str(config.path), "supervise", "--log-format", "json"]
            async with await anyio.open_process(supervise, stdout=log, stderr=log) as process:
                await until(server, FIRST, SECOND)
                world.power_off(1)
                await until(server, FIRST)
                world.power_on(1)  # the supervisor brings it back by itself
                await until(server, FIRST, SECOND)
                process.terminate()
                assert await process.wait() == 0
    seen = next(line["at"] for line in logged(said, "moved") if (line["machine"], line["after"]) == (TWO, "Unreachable"))
    chosen = logged(said, "names")
    assert [line["nodes"] for line in chosen] == [[ONE, TWO], [ONE], [ONE, TWO]]
    assert "cannot be seen" in chosen[1]["out"][TWO]
    assert 0 <= stamp(logged(said, "names_published")[1]) - seen < 1.0  # from the failure being seen to the server's answer


def stamp(line: dict[str, Any]) -> float:
    """When a line was written, seconds since the epoch."""
    return dt.datetime.fromisoformat(line["logged"]).timestamp()
