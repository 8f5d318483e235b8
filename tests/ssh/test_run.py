"""A command that runs: what comes back, how it is bounded, and how it is ended."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from fixtures.sshd import Sshd
from orchestrator.commands import Command, Effect
from orchestrator.transport import Exited, Outcome, Signalled, Why
from tests.ssh.helpers import PATIENT, QUICK, left, not_sent, sh, transport, unknown, until

pytestmark = pytest.mark.anyio
EFFECTS = [Effect.READ, Effect.DESTRUCTIVE]
NASTY = ("a b", "$HOME", "`id`", "it's", '"', "\\", "*", "", "-n", "a\nb", "ü", ";", "#", "~")


@pytest.mark.parametrize("effect", EFFECTS)
async def test_outputs_and_code(sshd: Sshd, effect: Effect) -> None:
    async with transport(sshd) as nodes:
        assert await nodes.run(sh("echo out; echo err >&2; exit 7", effect)) == Exited(7, b"out\n", b"err\n")


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("stdin", [b"", b"some", bytes(range(256)) * 4000])
async def test_stdin(sshd: Sshd, effect: Effect, stdin: bytes) -> None:
    async with transport(sshd) as nodes:
        assert await nodes.run(Command("a", ("cat",), effect, stdin=stdin)) == Exited(0, stdin, b"")


@pytest.mark.parametrize("effect", EFFECTS)
async def test_without_stdin_nothing_is_waited_for(sshd: Sshd, effect: Effect) -> None:
    async with transport(sshd) as nodes:
        assert await nodes.run(Command("a", ("cat",), effect)) == Exited(0, b"", b"")


@pytest.mark.parametrize("effect", EFFECTS)
async def test_arguments_arrive_as_they_are(sshd: Sshd, effect: Effect) -> None:
    async with transport(sshd) as nodes:
        outcome = await nodes.run(Command("a", ("printf", "%s\\0", *NASTY), effect))
    assert outcome == Exited(0, "".join(f"{word}\0" for word in NASTY).encode(), b"")


@pytest.mark.parametrize("effect", EFFECTS)
async def test_the_far_side_ends_it_at_the_limit(sshd: Sshd, effect: Effect) -> None:
    async with transport(sshd) as nodes:
        assert await nodes.run(Command("a", ("sleep", "100"), effect, limit=0.1)) == Exited(124, b"", b"")


async def test_a_command_may_close_its_output_and_go_on(sshd: Sshd) -> None:
    async with transport(sshd) as nodes:
        assert await nodes.run(sh("exec >&- 2>&-; sleep 0.2; exit 9")) == Exited(9, b"", b"")


async def test_a_signal_is_told(sshd: Sshd) -> None:
    async with transport(sshd) as nodes:
        assert await nodes.run(sh("kill -9 $PPID", Effect.DESTRUCTIVE)) == Signalled("KILL", b"", b"")


async def test_a_daemon_that_keeps_the_output_open_does_not_hold_us(sshd: Sshd) -> None:
    async with transport(sshd, QUICK) as nodes:
        began = time.monotonic()
        outcome = await nodes.run(sh("sleep 4 & echo started"))
        assert outcome == Exited(0, b"started\n", b"")
        assert time.monotonic() - began < 3
        assert await nodes.run(sh("true")) == Exited(0, b"", b"")


async def test_too_much_output(sshd: Sshd) -> None:
    async with transport(sshd) as nodes:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        outcome = await nodes.run(Command("a", ("head", "-c", "50000000", "/dev/zero")))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert len(unknown(outcome, Why.TOO_LONG).stdout) <= PATIENT.most_output
        assert grown < 40_000, f"{grown} kB"
        assert await nodes.run(sh("echo next")) == Exited(0, b"next\n", b"")


async def test_thirty_at_once_on_one_connection(new_sshd: Callable[..., Sshd]) -> None:
    server = new_sshd()
    outcomes: dict[int, Outcome] = {}
    async with transport(server) as nodes:

        async def one(number: int) -> None:
            effect = EFFECTS[number % 2]
            outcomes[number] = await nodes.run(Command("a", ("echo", str(number)), effect))

        async with anyio.create_task_group() as group:
            for number in range(30):
                group.start_soon(one, number)
    assert outcomes == {number: Exited(0, f"{number}\n".encode(), b"") for number in range(30)}
    assert server.log().count("Accepted publickey") == 1


async def test_reads_find_a_place_when_changes_hang(new_sshd: Callable[..., Sshd]) -> None:
    server = new_sshd()
    async with transport(server, QUICK) as nodes, anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(nodes.run, sh("exec sleep 50", Effect.IDEMPOTENT))
        await until(lambda: len(server.commands()) >= 12, "six commands, each timeout and sleep")
        assert await nodes.run(sh("echo look")) == Exited(0, b"look\n", b"")
        group.cancel_scope.cancel()


@pytest.mark.parametrize("effect", EFFECTS)
async def test_cancelled(new_sshd: Callable[..., Sshd], effect: Effect, tmp_path: Path) -> None:
    server = new_sshd()
    pid = tmp_path / "pid"
    async with transport(server, QUICK) as nodes:
        command = sh(f"echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 300", effect, limit=2)
        async with anyio.create_task_group() as group:
            group.start_soon(nodes.run, command)
            await until(pid.exists, "command started")
            process = Path("/proc") / pid.read_text().strip()
            began = time.monotonic()
            group.cancel_scope.cancel()
        assert time.monotonic() - began < QUICK.stop + 0.5
        if effect is not Effect.READ and os.geteuid() == 0:
            assert process.exists(), "sshd passes no signal to root's commands; the far side's limit ends it"
        else:
            await until(lambda: not process.exists(), "nothing left on the node")
        assert await nodes.run(sh("echo next")) == Exited(0, b"next\n", b"")
        await until(lambda: not process.exists(), "ended by the far side's limit")
    reconnected = server.log().count("Accepted publickey") == 2
    assert reconnected == (effect is not Effect.READ and os.geteuid() == 0)


async def test_a_read_that_ignores_term_costs_the_connection(new_sshd: Callable[..., Sshd], tmp_path: Path) -> None:
    server = new_sshd()
    mark = tmp_path / "started"
    async with transport(server, QUICK) as nodes:
        async with anyio.create_task_group() as group:
            group.start_soon(nodes.run, sh(f"trap '' TERM; touch {mark}; while :; do sleep 0.1; done"))
            await until(mark.exists, "command started")
            group.cancel_scope.cancel()
        assert await nodes.run(sh("echo next")) == Exited(0, b"next\n", b"")
        assert server.log().count("Accepted publickey") == 2
        await until(lambda: not left(server), "timeout -k kills it after 5 s")


async def test_cancelled_while_the_session_opens(new_sshd: Callable[..., Sshd]) -> None:
    server = new_sshd()
    async with transport(server, QUICK) as nodes:
        assert await nodes.connect("a") is None
        server.signal_sessions(signal.SIGSTOP)
        with anyio.move_on_after(0.05):
            await nodes.run(sh("echo never"))
        server.signal_sessions(signal.SIGCONT)
        assert await nodes.run(sh("echo next")) == Exited(0, b"next\n", b"")


async def test_undeclared_host(sshd: Sshd) -> None:
    async with transport(sshd) as nodes:
        with pytest.raises(KeyError):
            await nodes.run(Command("b", ("true",)))


async def test_first_users_share_one_failure(new_sshd: Callable[..., Sshd]) -> None:
    server = new_sshd()
    server.down()
    outcomes: list[Outcome] = []
    async with transport(server) as nodes:

        async def one() -> None:
            outcomes.append(await nodes.run(sh("true")))

        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(one)
    for outcome in outcomes:
        not_sent(outcome, Why.UNREACHABLE)
    assert len({id(outcome) for outcome in outcomes}) == 1
