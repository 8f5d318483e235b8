"""The matrix over real sshds: what goes wrong x when x what the command may do; and how to run it many times over.

    python -m tests.ssh.matrix --times 20     the table, and how often each cell came to what

The cells are tests (`test_matrix.py`). What is nearest where a cell makes no sense as such:

    max-sessions    before: the only session is another command's. running, exited: this command has the only one, and
                    another command asks for a second
    max-startups    matters to new connections only, so the connection is reset too; what hangs holds the only place
    host-key        as max-startups: the connection is reset, and the server that answers then shows another key
    journal-full    before: the intent cannot be written. running, exited: the outcome cannot
    clock-jump      400 days ahead at the moment, 800 days back before the operation is sent again: this process's own
                    time.time, the journal's clock with it; and a node on which `date` is a program that tells
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import Enum
from pathlib import Path

import anyio
import pytest
from attrs import define, evolve, field, frozen

from fixtures.sshd import LOCALHOST, wait_for
from orchestrator.commands import Effect
from orchestrator.ssh import Timing
from orchestrator.transport import Exited, Outcome, Why
from tests.ssh.cell import DAY, Cell
from tests.ssh.helpers import not_sent, sh, until


class Moment(Enum):
    """When the fault strikes. EXITED: the operation has ended, and the news of it is still on its way."""

    BEFORE = "before"
    RUNNING = "running"
    EXITED = "exited"


PATIENT = Timing(connect=3, login=5, session=5, keepalive=30, answer=1, stop=0.2, linger=0.2, retries=1, retry_wait=0.05)
WATCHFUL = evolve(PATIENT, keepalive=0.2, keepalive_count=3)  # where only silence tells: 0.8 s
IMPATIENT = evolve(WATCHFUL, login=1.5)  # where new connections are silent too

LOST = "Unknown, connection lost"
RAN = "Exited 0"


async def nothing(cell: Cell) -> None:
    """Nothing to heal."""


@frozen
class Fault:
    """`strike` makes it, `heal` ends it. `kinds`: what a send comes to, by moment. `cuts`: the answer under way is lost."""

    name: str
    kinds: tuple[str, str, str]
    strike: Callable[[Cell, Moment], Awaitable[None]]
    heal: Callable[[Cell], Awaitable[None]] = nothing
    cuts: bool = True
    timing: Timing = PATIENT
    options: tuple[str, ...] = ()
    until_healed: Why | None = None
    """Why a new command is not sent either, before it is healed (`before`: always; later: if it cuts)."""

    def kind(self, moment: Moment) -> str:
        return self.kinds[list(Moment).index(moment)]

    def __str__(self) -> str:
        return self.name


async def kill(cell: Cell, moment: Moment) -> None:
    cell.relay.lose()
    cell.server.signal_sessions(signal.SIGKILL)


async def stop(cell: Cell, moment: Moment) -> None:
    cell.server.signal_sessions(signal.SIGSTOP)
    cell.relay.lose()


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


async def end_stopped(cell: Cell) -> None:
    """It stays stopped: commands go on through new connections. Then somebody ends it by hand."""
    await cell.look()
    _signal(cell.old, signal.SIGKILL)


async def go_on(cell: Cell) -> None:
    _signal(cell.old, signal.SIGCONT)


async def reset(cell: Cell, moment: Moment) -> None:
    cell.relay.reset()


async def fall_silent(cell: Cell, moment: Moment) -> None:
    cell.relay.fall_silent()
    cell.relay.release()  # into the silence


async def speak(cell: Cell) -> None:
    cell.relay.speak()


async def take_the_session(cell: Cell, moment: Moment) -> None:
    """Before: another command has the connection's only session. Later: the operation has it, another command asks."""
    if moment is Moment.BEFORE:
        lines = await cell.held.enter_async_context(cell.nodes.follow(sh("echo there; exec sleep 20")))
        assert await anext(lines) == "there"
    elif moment is Moment.RUNNING:
        not_sent(await cell.nodes.run(sh("true")), Why.NO_SESSION, "refused")
    else:  # its refusal comes behind the operation's answer, with which the session becomes free
        held = cell.relay.held
        outcomes: list[Outcome] = []

        async def other() -> None:
            outcomes.append(await cell.nodes.run(sh("echo other")))

        async with anyio.create_task_group() as group:
            group.start_soon(other)
            await until(lambda: cell.relay.held > held, "sshd refused")
            cell.relay.release()
        if outcomes != [Exited(0, b"other\n", b"")]:
            not_sent(outcomes[0], Why.NO_SESSION, "refused")


async def drop_held(cell: Cell) -> None:
    await cell.held.aclose()


async def hang_in_login(cell: Cell, moment: Moment) -> None:
    """Somebody connects and says nothing: that is the one unauthenticated connection that may be."""
    hanging: list[socket.socket] = []

    def greeted() -> bool:
        hanging.append(cell.held.enter_context(socket.create_connection((LOCALHOST, cell.server.port), timeout=5)))
        with suppress(ConnectionResetError):  # the place of the connection before it is not free yet
            return hanging[-1].recv(100).startswith(b"SSH-")
        return False

    wait_for(greeted, "sshd greets")
    cell.relay.reset()


async def stop_hanging(cell: Cell) -> None:
    await cell.held.aclose()
    await until(lambda: not cell.server.sessions(), "the place is free")


async def change_host_key(cell: Cell, moment: Moment) -> None:
    cell.server.reload_host_key()
    cell.relay.reset()


async def trust_it(cell: Cell) -> None:
    cell.trust()


async def fill_disk(cell: Cell, moment: Moment) -> None:
    cell.disk_full = True


async def make_room(cell: Cell) -> None:
    cell.disk_full = False


async def jump_ahead(cell: Cell, moment: Moment) -> None:
    cell.clock.jump(400 * DAY)


async def jump_back(cell: Cell) -> None:
    cell.clock.jump(-800 * DAY)


FAULTS = (
    Fault("killed", (RAN, LOST, LOST), kill),
    Fault("stopped", (RAN, LOST, LOST), stop, end_stopped, timing=WATCHFUL),
    Fault("continued", (RAN, LOST, LOST), stop, go_on, timing=WATCHFUL),
    Fault("reset", (RAN, LOST, LOST), reset),
    Fault("half-open", ("NotSent, unreachable", LOST, LOST), fall_silent, speak, timing=IMPATIENT),
    Fault("max-sessions", ("NotSent, no session", RAN, RAN), take_the_session, drop_held, cuts=False,
          options=("MaxSessions 1",), until_healed=Why.NO_SESSION),
    Fault("max-startups", ("NotSent, unreachable", LOST, LOST), hang_in_login, stop_hanging,
          options=("MaxStartups 1",), until_healed=Why.UNREACHABLE),
    Fault("host-key", ("NotSent, host key", LOST, LOST), change_host_key, trust_it, until_healed=Why.HOST_KEY),
    Fault("journal-full", ("not sent; JournalError", f"{RAN}; JournalError", f"{RAN}; JournalError"), fill_disk, make_room, cuts=False),
    Fault("clock-jump", (RAN, RAN, RAN), jump_ahead, jump_back, cuts=False),
)  # fmt: skip


@define
class Tally:
    """A pytest plugin: what every cell came to, in how many runs."""

    kinds: defaultdict[str, Counter[str]] = field(factory=lambda: defaultdict(Counter))
    bad: list[str] = field(factory=list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.bad.append(report.nodeid)
        if report.when == "call":
            for name, value in report.user_properties:
                if name.startswith("cell "):
                    self.kinds[name.removeprefix("cell ")][str(value)] += 1

    def table(self) -> str:
        rows = []
        for fault in FAULTS:
            for path in PATHS:
                for effect in Effect:
                    cells = [self.kinds.get(cell_id(fault, moment, effect, path), Counter()) for moment in Moment]
                    if any(cells):
                        words = (", ".join(f"{kind} x{count}" for kind, count in cell.items()) for cell in cells)
                        name = f"{fault} {effect.value} ({path})"
                        rows.append(f"{name:36}" + "".join(f"{word:36}" for word in words).rstrip())
        return "\n".join((f"{'':36}" + "".join(f"{moment.value:36}" for moment in Moment).rstrip(), *rows))


PATHS = ("shell", "session")
"""Through the link's warm shell, or in a session of its own."""
EVERYTHING = "ORCHESTRATE_SSH_MATRIX_EVERYTHING"
"""Environment: if set, every fault meets both paths, and not only `reset` the second."""


def cell_id(fault: Fault, moment: Moment, effect: Effect, path: str) -> str:
    """As in `half-open-running-destructive`; the shell is what is used where nothing is said."""
    return f"{fault}-{moment.value}-{effect.value}" + ("" if path == PATHS[0] else f"-{path}")


QUIET = ("-q", "--no-header", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.ssh.matrix", description="the SSH matrix, many times over")
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--everything", action="store_true", help="every fault in both paths, not only one of them in the second")
    parser.add_argument("-k", default="", help="only the cells whose names have this in them, as pytest's -k")
    chosen = parser.parse_args()
    if chosen.everything:
        os.environ[EVERYTHING] = "1"
    tally, took = Tally(), []
    for number in range(chosen.times):
        began = time.monotonic()
        code = pytest.main([*QUIET, "-k", chosen.k, str(Path(__file__).with_name("test_matrix.py"))], plugins=[tally])
        took.append(time.monotonic() - began)
        print(f"pass {number + 1} of {chosen.times}: {took[-1]:.1f} s, {'passed' if code == 0 else f'pytest said {code}'}", flush=True)
        if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            return int(code)
    print(tally.table())
    print(f"{sum(map(Counter.total, tally.kinds.values()))} cells in {chosen.times} passes of {min(took):.1f}-{max(took):.1f} s; ", end="")
    print(f"{len(tally.bad)} failed" + "".join(f"\n  {name}" for name in tally.bad))
    return 1 if tally.bad else 0


if __name__ == "__main__":
    sys.exit(main())
