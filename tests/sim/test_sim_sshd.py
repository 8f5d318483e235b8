"""Simulated nodes behind real SSH: what comes back is what a node's sshd would give, and adversity looks like adversity."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import asyncssh
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.sim.sessions import words_of
from fixtures.sim.sshd import NodeSshd
from fixtures.sim.stage import Staging, stage
from fixtures.sim.world import World
from orchestrator.cli.common import journal_path, look_at_all, reaching, wall_clock
from orchestrator.commands import Command, Effect
from orchestrator.config import Config, load
from orchestrator.engine import Engine
from orchestrator.journal import Journal
from orchestrator.lease import holder
from orchestrator.ssh import Identity, SshTransport, Target, Timing
from orchestrator.ssh.shell import START
from orchestrator.streams import ARGV
from orchestrator.transport import Exited, NotSent, Outcome, Unknown, Why
from orchestrator.watch import Silent
from states.goal import Direction, Ledger, Reached
from states.pair import Pair
from states.resource import classify
from states.vocabulary import Resource

pytestmark = pytest.mark.anyio
QUICK = Staging(cells=8, cell=0.01, fork=0.0005)
ONE, TWO = "linux-nas01", "linux-nas02"
Run = Callable[[Command], Awaitable[Outcome]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def nodes(folder: Path) -> AsyncIterator[tuple[Config, World, tuple[NodeSshd, NodeSshd]]]:
    """A blank pair in this process."""
    async with anyio.create_task_group() as group:
        (path, world, sshds), = await stage(folder, QUICK, group)
        yield load(path), world, sshds
        group.cancel_scope.cancel()


@asynccontextmanager
async def reached(config: Config, user: str = "root") -> AsyncIterator[SshTransport]:
    """The nodes over SSH that loses patience soon."""
    targets = [Target(name, node.address, node.port, user) for name, node in config.node.items()]
    identity = Identity(config.file(config.ssh.known_hosts), config.file(config.ssh.key))
    async with SshTransport(targets, identity, Timing(keepalive=0.3, login=2.0)) as transport:
        yield transport


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - the world has no bell for everything
            await anyio.sleep(0.01)


@given(st.lists(st.text(), min_size=1))
def test_a_plain_command_is_read_as_it_was_quoted(argv: list[str]) -> None:
    line = shlex.join(argv)
    if "=" in argv[0]:
        assert words_of(line) in (None, tuple(argv))
    else:
        assert words_of(line) == tuple(argv)


@pytest.mark.parametrize("line", [
    "a | b", "a; b", "a && b", "echo $x", 'echo "$x"', "a > b", "x=1 a", "echo `a`", "echo 'open", "a *", "(a)",
])
def test_what_needs_a_shell_is_not_read_as_a_plain_command(line: str) -> None:
    assert words_of(line) is None


async def test_up_reaches_its_goal_over_real_ssh(tmp_path: Path) -> None:
    async with nodes(tmp_path) as (config, world, _), reaching(config) as remote:
        with Journal(journal_path(config), wall_clock) as journal:
            engine = Engine(remote, journal, config.goal(Direction.UP), holder(), "run", Silent())
            assert isinstance(await engine.run(), Reached)
        facts = await look_at_all(remote)
        assert classify(Pair.of(facts, config.wanted("r0"), Ledger())) is Resource.DUAL_PRIMARY
        assert all(half.primary for half in world.drbd.volumes[0].pair.halves)
        assert not [what for machine in world.machines for what in machine.unknown]


@pytest.mark.parametrize("effect", [Effect.READ, Effect.IDEMPOTENT])
async def test_code_and_both_streams_come_back(tmp_path: Path, effect: Effect) -> None:
    command = Command(ONE, ("sh", "-c", "printf '%s' \"$1\"; printf '}\\n' >&2; exit 3", "sh", "it's\n}\n"), effect)
    async with nodes(tmp_path) as (config, _, _), reached(config) as transport:
        both: list[Outcome] = []

        async def run() -> None:
            both.append(await transport.run(command))

        async with anyio.create_task_group() as group:  # one in the warm shell, the other in a session of its own
            group.start_soon(run)
            group.start_soon(run)
        assert both == [Exited(3, b"it's\n}\n", b"}\n")] * 2
        spans = [outcome.span is not None for outcome in both if isinstance(outcome, Exited)]
        assert sorted(spans) == [False, True]


async def test_what_is_not_modelled_is_said(tmp_path: Path) -> None:
    async with nodes(tmp_path) as (config, world, _), reached(config) as transport:
        outcome = await transport.run(Command(ONE, ("sh", "-c", "select x in 1 2; do echo; done")))
        assert isinstance(outcome, Exited)
        assert (outcome.code, b"not modelled" in outcome.stderr) == (2, True)
        assert len(world.machines[0].unknown) == 1
        assert await transport.run(Command(ONE, ("hostname", "--nonsense"))) != Exited(0, b"", b"")
        assert isinstance(await transport.run(Command(ONE, ("no-such-tool",))), Exited)


async def test_events_come_as_they_happen_and_stop_when_the_client_leaves(tmp_path: Path) -> None:
    async with nodes(tmp_path) as (config, world, _), reached(config) as transport:
        world.machines[0].load("drbd")
        async with transport.follow(Command(ONE, ARGV)) as lines:
            assert (await anext(lines)).endswith("exists -")
            world.machines[0].files.write("/etc/drbd.d/r0.res", "")
            await transport.run(Command(ONE, ("drbdsetup", "new-resource", "r0"), Effect.IDEMPOTENT))
            assert "create resource name:r0" in await anext(lines)
        assert isinstance(await transport.run(Command(ONE, ("true",))), Exited)


async def test_a_power_cut_loses_the_command_and_a_boot_answers_anew(tmp_path: Path) -> None:
    async with nodes(tmp_path) as (config, world, sshds), reached(config) as transport:
        port = sshds[0].port
        before = await transport.run(Command(ONE, ("cat", "/proc/sys/kernel/random/boot_id")))
        found: list[Outcome] = []

        async def run() -> None:
            found.append(await transport.run(Command(ONE, ("sleep", "20"), Effect.IDEMPOTENT)))

        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await until(lambda: any(job.node == 0 for job in world.jobs))
            world.power_off(0)
        assert [(type(outcome), outcome.why) for outcome in found if isinstance(outcome, Unknown)] == [(Unknown, Why.LOST)]
        dead = await transport.run(Command(ONE, ("true",)))
        assert isinstance(dead, NotSent)
        assert dead.why is Why.UNREACHABLE
        assert isinstance(await transport.run(Command(TWO, ("true",))), Exited)
        world.power_on(0)
        await until(lambda: sshds[0].wire.listening)
        after = await transport.run(Command(ONE, ("cat", "/proc/sys/kernel/random/boot_id")))
        assert isinstance(after, Exited)
        assert after != before
        assert sshds[0].port == port


async def test_a_cut_cable_is_silence(tmp_path: Path) -> None:
    async with nodes(tmp_path) as (config, _, sshds), reached(config) as transport:
        assert isinstance(await transport.run(Command(ONE, ("true",))), Exited)
        sshds[0].cut()
        lost = await transport.run(Command(ONE, ("true",), Effect.IDEMPOTENT))
        silent = await transport.run(Command(ONE, ("true",)))
        assert isinstance(lost, NotSent | Unknown)
        assert isinstance(silent, NotSent)
        sshds[0].heal()
        assert isinstance(await transport.run(Command(ONE, ("true",))), Exited)


@pytest.mark.parametrize(("effect", "goes_on"), [(Effect.READ, False), (Effect.IDEMPOTENT, True)])
async def test_a_read_ends_with_its_client_and_a_change_goes_on(tmp_path: Path, effect: Effect, goes_on: bool) -> None:
    async with nodes(tmp_path) as (config, world, _):
        async with reached(config) as transport, anyio.create_task_group() as group:
            script = "sleep 0.7; printf done >/root/done"
            group.start_soon(transport.run, Command(ONE, ("sh", "-c", script), effect))
            await until(lambda: bool(world.jobs))
            group.cancel_scope.cancel()
        await until(lambda: not world.jobs)
        assert world.machines[0].files.exists("/root/done") is goes_on


async def test_only_root_with_the_key_gets_in(tmp_path: Path) -> None:
    async with nodes(tmp_path) as (config, _, _), reached(config, user="somebody") as transport:
        outcome = await transport.run(Command(ONE, ("true",)))
        assert isinstance(outcome, NotSent)
        assert outcome.why is Why.AUTHENTICATION


@pytest.mark.parametrize("said", [b"ls\n", b"x"])
async def test_a_shell_that_is_fed_something_else_ends(tmp_path: Path, said: bytes) -> None:
    async with nodes(tmp_path) as (config, _, sshds):
        trust = {"known_hosts": str(config.file(config.ssh.known_hosts)), "client_keys": [str(config.file(config.ssh.key))]}
        async with asyncssh.connect("127.0.0.1", sshds[0].port, username="root", config=None, **trust) as link:
            done = await link.run(START, input=said, encoding=None)
            assert done.exit_status == 2
