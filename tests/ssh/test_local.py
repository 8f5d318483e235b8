"""The same commands on this machine, on both of anyio's backends."""

from __future__ import annotations

import time
from pathlib import Path

import anyio
import pytest

from orchestrator import local
from orchestrator.commands import Command
from orchestrator.local import LocalTransport
from orchestrator.transport import Exited, NotSent, Signalled, Transport, Why
from tests.ssh.helpers import sh, unknown, until

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def here() -> Transport:
    return LocalTransport()


async def test_outputs_code_and_stdin(here: Transport) -> None:
    command = Command("", ("sh", "-c", "cat; echo err >&2; exit 7"), stdin=b"x" * 300_000)
    assert await here.run(command) == Exited(7, b"x" * 300_000, b"err\n")
    assert await here.run(Command("", ("cat",))) == Exited(0, b"", b"")
    assert await here.run(Command("", ("true",), stdin=b"x" * 300_000)) == Exited(0, b"", b"")


async def test_limit_and_signal(here: Transport) -> None:
    assert await here.run(Command("", ("sleep", "50"), limit=0.1)) == Exited(124, b"", b"")
    assert await here.run(sh("kill -9 $PPID")) == Signalled("KILL", b"", b"")


async def test_no_such_program(here: Transport) -> None:
    outcome = await here.run(Command("", ("/no/such",)))
    assert isinstance(outcome, Exited)
    assert outcome.code == 127


async def test_no_timeout_program(here: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert isinstance(await here.run(sh("true")), NotSent)
    async with here.follow(sh("true")) as lines:
        assert [line async for line in lines] == []


async def test_too_long(here: Transport) -> None:
    outcome = await here.run(Command("", ("head", "-c", "50000000", "/dev/zero")))
    assert len(unknown(outcome, Why.TOO_LONG).stdout) <= local.MOST_OUTPUT


async def test_a_daemon_does_not_hold_us(here: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "LINGER", 0.1)
    began = time.monotonic()
    assert await here.run(sh("sleep 3 & echo started")) == Exited(0, b"started\n", b"")
    assert time.monotonic() - began < 2


async def test_cancelled(here: Transport, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    async with anyio.create_task_group() as group:
        group.start_soon(here.run, sh(f"echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 50"))
        await until(pid.exists, "command started")
        group.cancel_scope.cancel()
    assert not (Path("/proc") / pid.read_text().strip()).exists()


async def test_follow(here: Transport) -> None:
    async with here.follow(sh("echo $$; echo two; exec sleep 50")) as lines:
        pid = await anext(lines)
        assert await anext(lines) == "two"
    assert not (Path("/proc") / pid).exists()
    async with here.follow(sh("printf 'a\\nb'")) as lines:
        assert [line async for line in lines] == ["a", "b"]
