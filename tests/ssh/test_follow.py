"""Lines of a long-lived command."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from fixtures.sshd import Sshd
from orchestrator.ssh.lines import LONGEST, Splitter
from orchestrator.transport import Exited, NotSent, Unknown, Why
from tests.ssh.helpers import PATIENT, QUICK, left, sh, transport, until

pytestmark = pytest.mark.anyio


async def test_lines_until_the_command_ends(sshd: Sshd) -> None:
    async with transport(sshd) as nodes, nodes.follow(sh("printf 'one\\ntwo\\r\\n\\nlast'")) as lines:
        assert [line async for line in lines] == ["one", "two", "", "last"]
        assert lines.why_ended is None


async def test_leaving_ends_the_command(new_sshd: Callable[..., Sshd]) -> None:
    server = new_sshd()
    async with transport(server) as nodes:
        async with nodes.follow(sh("echo begun; sleep 50 & wait")) as lines:
            assert await anext(lines) == "begun"
            assert await nodes.run(sh("echo beside")) == Exited(0, b"beside\n", b"")
        await until(lambda: not left(server), "command gone")
        assert await nodes.run(sh("echo next")) == Exited(0, b"next\n", b"")
    assert server.log().count("Accepted publickey") == 1


async def test_leaving_ends_a_command_that_ignores_term(new_sshd: Callable[..., Sshd]) -> None:
    server = new_sshd()
    async with transport(server) as nodes:
        async with nodes.follow(sh("trap '' TERM; echo begun; while :; do sleep 0.1; done")) as lines:
            assert await anext(lines) == "begun"
        assert not server.commands()


async def test_cancelled_while_waiting_for_a_line(new_sshd: Callable[..., Sshd]) -> None:
    server = new_sshd()
    async with transport(server) as nodes:
        with anyio.move_on_after(5) as scope:
            async with nodes.follow(sh("echo begun; exec sleep 50")) as lines:
                async for line in lines:
                    assert line == "begun"
                    scope.cancel()
        assert scope.cancelled_caught
        await until(lambda: not server.commands(), "command gone")


async def test_connection_lost(new_sshd: Callable[..., Sshd], tmp_path: Path) -> None:
    server = new_sshd()
    async with transport(server, QUICK) as nodes:
        async with nodes.follow(sh(f"echo $$; touch {tmp_path}/x; exec sleep 50")) as lines:
            process = Path("/proc") / await anext(lines)
            assert process.exists()
            server.signal_sessions(signal.SIGKILL)
            assert [line async for line in lines] == []
            assert isinstance(lines.why_ended, Unknown)
            assert lines.why_ended.why is Why.LOST
        await until(lambda: not process.exists(), "command gone with its connection")


async def test_not_reachable(new_sshd: Callable[..., Sshd]) -> None:
    server = new_sshd()
    server.down()
    async with transport(server) as nodes, nodes.follow(sh("echo never")) as lines:
        assert [line async for line in lines] == []
        assert isinstance(lines.why_ended, NotSent)


async def test_a_slow_reader_slows_the_command(sshd: Sshd) -> None:
    """300,000 lines (over the 2 MiB window) while nobody reads: they wait on the node, and none is lost."""
    count = 300_000
    async with transport(sshd, PATIENT) as nodes, nodes.follow(sh(f"seq {count}")) as lines:
        assert await anext(lines) == "1"
        await nodes.run(sh("true"))
        expected = 2
        async for line in lines:
            assert line == str(expected)
            expected += 1
    assert expected == count + 1


def test_splitter() -> None:
    splitter = Splitter()
    assert splitter.feed(b"a\nb") == ["a"]
    assert splitter.feed(b"c\r\n\xff\n") == ["bc", "\ufffd"]
    assert splitter.end() == []
    assert splitter.feed(b"x" * (LONGEST + 1)) == ["x" * LONGEST]
    assert splitter.end() == ["x"]
