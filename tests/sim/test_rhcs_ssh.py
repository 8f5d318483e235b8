"""The original stack behind real SSH: `orchestrate` as one would type it, in processes of its own, on simulated nodes of that time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from fixtures.sim.clock import sleep
from fixtures.sim.stage import Staging, stage
from fixtures.sim.world import World
from orchestrator.journal import read

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]
ONE, TWO = "linux-nas01", "linux-nas02"
OLD = Staging(cells=8, cell=0.01, fork=0.0005, profile="rhcs", slow=0.05)
PATIENCE = 120.0
SAMBA = f"samba on {TWO}"
RES = "/etc/drbd.d/r0.res"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Pair:
    """A pair of simulated nodes in this process, and whoever types `orchestrate` beside it."""

    def __init__(self, path: Path, world: World) -> None:
        self.path, self.world = path, world

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "orchestrator", "-c", str(self.path), *words]

    async def orchestrate(self, *words: str, code: int = 0) -> str:
        """What it prints. The test fails if it ends with another code."""
        with anyio.fail_after(PATIENCE):
            done = await anyio.run_process(self.argv(*words), check=False)
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout.decode()}{done.stderr.decode()}"
        return done.stdout.decode()

    async def seen(self) -> Any:
        return json.loads(await self.orchestrate("status", "--json"))

    async def type(self, index: int, script: str) -> int:
        """A human at a node."""
        return (await self.world.machines[index].run(("sh", "-c", script), pace=sleep)).code

    def sent(self) -> list[str]:
        """Keys of all steps that were sent, by whomever."""
        return [record["key"] for record in read(self.path.parent / "journal.jsonl") if record["kind"] == "intent"]

    def serves(self) -> bool:
        return all(half.primary and half.connected for half in self.world.drbd.volumes[0].pair.halves)


@asynccontextmanager
async def pair(folder: Path) -> AsyncIterator[Pair]:
    """Blank at first. What the nodes were asked for and is not modelled fails the test."""
    async with anyio.create_task_group() as group:
        (path, world, _), = await stage(folder, OLD, group)
        yield Pair(path, world)
        assert not [what for machine in world.machines for what in machine.unknown]
        group.cancel_scope.cancel()


@asynccontextmanager
async def supervisor(nodes: Pair) -> AsyncIterator[Callable[[str], list[dict[str, Any]]]]:
    """`orchestrate supervise` in a process: what it has logged of one event."""
    log = nodes.path.parent / "supervisor.log"
    nodes.path.write_text(f'{nodes.path.read_text()}\n[supervise]\nlisten = ""\n')
    with log.open("w") as out:
        process = subprocess.Popen(nodes.argv("supervise", "--log-format", "json"), stderr=out, env=os.environ)  # noqa: ASYNC220 - returns at once

    def logged(event: str) -> list[dict[str, Any]]:
        assert process.poll() is None, log.read_text()
        lines: list[dict[str, Any]] = [json.loads(line) for line in log.read_text().splitlines()]
        return [line for line in lines if line["event"] == event]

    try:
        yield logged
    finally:
        process.terminate()
        await anyio.to_thread.run_sync(process.wait, PATIENCE)


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110 - the world has no bell for everything
            await anyio.sleep(0.1)


async def test_up_then_nothing_then_down(tmp_path: Path) -> None:
    async with pair(tmp_path) as nodes:
        plan = await nodes.orchestrate("plan", code=10)
        assert plan.count("start cman and wait for quorum") == 2
        await nodes.orchestrate("up", "-q")
        seen = await nodes.seen()
        assert seen["resources"]["r0"]["state"] == "DualPrimary", seen
        sent = len(nodes.sent())
        await nodes.orchestrate("up", "-q")
        await nodes.orchestrate("plan")
        assert len(nodes.sent()) == sent, "on a cluster that is up nothing is sent"
        await nodes.orchestrate("down", "-q")
        assert not any(half.configured for half in nodes.world.drbd.volumes[0].pair.halves)
        assert not [line for machine in nodes.world.machines for line in machine.files.read("/proc/mounts").splitlines() if "gfs2" in line]


async def test_a_split_brain_is_named_and_nothing_connects(tmp_path: Path) -> None:
    """Both sides wrote while they did not hear each other. How it ends is in test_rhcs.py, how blocks are saved in test_save.py:
    the simulator has no device mapper, through which they are read."""
    async with pair(tmp_path) as nodes:
        await nodes.orchestrate("up", "-q")
        await nodes.orchestrate("down", "-q")
        volume = nodes.world.drbd.volumes[0]
        for index, machine in enumerate(nodes.world.machines):
            ours = machine.files.read(RES)
            machine.files.write(RES, ours.replace("\t\tfencing resource-and-stonith;\n", ""))  # somebody serves from one node alone
            assert await nodes.type(index, "drbdadm attach r0 && drbdadm primary r0") == 0
            nodes.world.write(volume, index, 3 + index)
            assert await nodes.type(index, "drbdadm secondary r0 && drbdadm down r0") == 0
            machine.files.write(RES, ours)
        before = [half.cells for half in volume.pair.halves]
        await nodes.orchestrate("up", "-q", code=3)
        seen = await nodes.seen()
        assert seen["resources"]["r0"]["state"] == "SplitBrain"
        assert "it is SplitBrain" in await nodes.orchestrate("check", code=3)
        await nodes.orchestrate("recover-splitbrain", "r0", "--victim", TWO, "-q", code=3)  # nobody has seen yet what would be lost
        assert [half.cells for half in volume.pair.halves] == before
        assert not any(half.connected for half in volume.pair.halves)


async def test_a_supervisor_sees_a_daemon_end_and_a_node_go_and_come(tmp_path: Path) -> None:
    """No systemd, no journal, no events2 there: processes are found by their names, and /proc/drbd is compared."""
    async with pair(tmp_path) as nodes:
        await nodes.orchestrate("up", "-q")
        async with supervisor(nodes) as logged:
            await until(lambda: any(line["machine"] == SAMBA for line in logged("first_seen")))
            assert await nodes.type(1, "/sbin/service smb stop") == 0
            await until(lambda: moves(logged("moved")) == ["Down", "Up"])
            nodes.world.power_off(1)
            await until(lambda: any(line["alarm"] == "node-off" for line in logged("alarm_raised")))
            nodes.world.power_on(1)
            await until(lambda: moves(logged("moved"))[-2:] == ["Down", "Up"] and nodes.serves())
            assert not logged("surprise")


def moves(lines: list[dict[str, Any]]) -> list[str]:
    """Where the second node's Samba went."""
    return [line["after"] for line in lines if line["machine"] == SAMBA]


async def test_legacy_is_warned_of_and_where_it_is_missing_named(tmp_path: Path) -> None:
    async with pair(tmp_path) as nodes:
        said = await nodes.orchestrate("check", code=3)
        assert said.count("legacy = true in [ssh]") == 2, said
        nodes.path.write_text(nodes.path.read_text().replace("legacy = true\n", ""))
        said = await nodes.orchestrate("check", code=6)
        assert said.count("its coreutils are older than 8.5") == said.count("it needs legacy = true") == 2, said
        assert "legacy = true in [ssh]" not in said
