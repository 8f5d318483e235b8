"""A command's stdout as bytes, at our own pace."""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from attrs import evolve

from fixtures.sshd import Sshd
from orchestrator.local import LocalTransport
from orchestrator.ssh.session import Puller
from orchestrator.transport import Exited, NotSent, Outcome, Pulled, Transport, Why
from tests.ssh.helpers import QUICK, left, not_sent, sh, transport, unknown, until

pytestmark = pytest.mark.anyio
MEBIBYTE = 1 << 20
PLENTY = 1 << 40
ALL_BYTES = "".join(f"\\{number:03o}" for number in range(256))


@pytest.fixture(params=["ssh", "local"])
async def nodes(request: pytest.FixtureRequest, sshd: Sshd) -> Transport:
    return transport(sshd) if request.param == "ssh" else LocalTransport()


async def taken(pulled: Pulled) -> bytes:
    return b"".join([data async for data in pulled])


async def pull(nodes: Transport, script: str, most: int = PLENTY, limit: float = 20.0) -> tuple[bytes, Outcome]:
    async with nodes.pull(sh(script, limit=limit), most) as pulled:
        assert pulled.outcome is None
        data = await taken(pulled)
        assert pulled.outcome is not None
        return data, pulled.outcome


async def test_bytes_code_and_complaint(nodes: Transport) -> None:
    data, outcome = await pull(nodes, f"printf '{ALL_BYTES}'; echo oh >&2; printf '\\n\\377'; exit 7")
    assert data == bytes(range(256)) + b"\n\xff"
    assert outcome == Exited(7, b"", b"oh\n")
    assert await pull(nodes, "true") == (b"", Exited(0, b"", b""))
    await nodes.aclose()


async def test_many_mebibytes_are_all_there(nodes: Transport) -> None:
    """Far over the 2 MiB window, in whatever pieces."""
    seen = hashlib.sha256()
    async with nodes.pull(sh("seq 2000000"), PLENTY) as pulled:
        async for data in pulled:
            seen.update(data)
        assert pulled.outcome == Exited(0, b"", b"")
    assert seen.hexdigest() == hashlib.sha256(b"".join(b"%d\n" % number for number in range(1, 2_000_001))).hexdigest()
    await nodes.aclose()


async def test_more_than_expected(nodes: Transport) -> None:
    data, outcome = await pull(nodes, "head -c 100000 /dev/zero", most=100_000)
    assert (len(data), outcome) == (100_000, Exited(0, b"", b""))
    data, outcome = await pull(nodes, "head -c 100001 /dev/zero; exec sleep 50", most=100_000)
    assert len(data) <= 100_000
    assert "100000" in unknown(outcome, Why.TOO_LONG).detail
    await nodes.aclose()


async def test_limit(nodes: Transport) -> None:
    data, outcome = await pull(nodes, "echo begun; exec sleep 50", limit=0.3)
    assert (data, outcome) == (b"begun\n", Exited(124, b"", b""))
    await nodes.aclose()


async def test_who_does_not_read_slows_the_command(tmp_path: Path, nodes: Transport) -> None:
    """Back-pressure: 64 MiB are never read ahead; the command stands still at a few MiB, and goes on when we do."""
    told = tmp_path / "told"
    script = f"i=0; echo 0 >{told}; while [ $i -lt 64 ]; do head -c {MEBIBYTE} /dev/zero; i=$((i + 1)); echo $i >{told}; done"
    async with nodes.pull(sh(script), PLENTY) as pulled:
        first = await anext(aiter(pulled))

        async def stands_still() -> bool:
            before = told.read_text() if told.exists() else ""
            for _ in range(10):
                await nodes.run(sh("true"))  # as good as a clock: that much time passes, and the connection is alive
            return told.exists() and told.read_text() == before

        while not await stands_still():
            pass
        assert int(told.read_text()) < 20
        assert len(first) + len(await taken(pulled)) == 64 * MEBIBYTE
        assert pulled.outcome == Exited(0, b"", b"")
    await nodes.aclose()


async def test_leaving_ends_the_command(new_sshd: Callable[..., Sshd]) -> None:
    server = new_sshd()
    async with transport(server) as far:
        async with far.pull(sh("echo begun; sleep 50 & wait"), PLENTY) as pulled:
            assert await anext(aiter(pulled)) == b"begun\n"
            assert await far.run(sh("echo beside")) == Exited(0, b"beside\n", b"")
        await until(lambda: not left(server), "command gone")
        assert await far.run(sh("echo next")) == Exited(0, b"next\n", b"")
    assert server.log().count("Accepted publickey") == 1


async def test_leaving_while_paused_and_cancelled(new_sshd: Callable[..., Sshd]) -> None:
    server = new_sshd()
    async with transport(server) as far:
        with anyio.move_on_after(5) as scope:
            async with far.pull(sh("exec cat /dev/zero"), PLENTY) as pulled:
                await anext(aiter(pulled))
                scope.cancel()
                await anyio.lowlevel.checkpoint()
        await until(lambda: not left(server), "command gone")
        assert await far.run(sh("echo next")) == Exited(0, b"next\n", b"")


async def test_connection_lost(new_sshd: Callable[..., Sshd]) -> None:
    server = new_sshd()
    async with transport(server, QUICK) as far:
        async with far.pull(sh("echo begun; exec sleep 50"), PLENTY) as pulled:
            assert await anext(aiter(pulled)) == b"begun\n"
            server.signal_sessions(signal.SIGKILL)
            assert await taken(pulled) == b""
            assert pulled.outcome is not None
            unknown(pulled.outcome, Why.LOST)
        await until(lambda: not left(server), "command gone with its connection")


async def test_a_node_that_stops_answering(new_sshd: Callable[..., Sshd]) -> None:
    server = new_sshd()
    async with transport(server, QUICK) as far, far.pull(sh("echo begun; exec sleep 50"), PLENTY) as pulled:
        assert await anext(aiter(pulled)) == b"begun\n"
        server.signal_sessions(signal.SIGSTOP)
        assert await taken(pulled) == b""
        assert pulled.outcome is not None
        unknown(pulled.outcome, Why.LOST)
        server.signal_sessions(signal.SIGCONT)


async def test_a_command_whose_end_nobody_tells(new_sshd: Callable[..., Sshd]) -> None:
    """Its own `timeout` hangs: our patience is bounded too."""
    server = new_sshd()
    far = transport(server, evolve(QUICK, keepalive=30, answer=0.1))
    async with far, far.pull(sh("kill -STOP $PPID; exec sleep 50", limit=0.1), PLENTY) as pulled:
        assert await taken(pulled) == b""
        assert pulled.outcome is not None
        unknown(pulled.outcome, Why.TIMEOUT)


async def test_not_reachable(new_sshd: Callable[..., Sshd]) -> None:
    server = new_sshd()
    server.down()
    async with transport(server) as far, far.pull(sh("echo never"), PLENTY) as pulled:
        assert await taken(pulled) == b""
        assert isinstance(pulled.outcome, NotSent)
        not_sent(pulled.outcome, Why.UNREACHABLE)


def test_a_session_that_ended_without_a_code_is_not_all_of_it() -> None:
    session = Puller(PLENTY, 1.0)
    session.connection_lost(None)
    unknown(session.outcome(), Why.LOST)


