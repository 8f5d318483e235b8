"""One cell of the matrix: a real sshd behind a relay, one operation, its journal, and the files that witness what it did.

The operation appends a line to `started`, waits at a gate (a named pipe), and appends a line to `ended`: so every start
and every end is counted, and it can be caught while it runs. A DESTRUCTIVE one goes through the project's own lease,
lock and claim (`act.sh`), with nothing changed in them but the folder they keep their state in.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from attrs import define, field, frozen

from fixtures.sshd import LOCALHOST, READY, Sshd
from orchestrator.commands import Command, Effect
from orchestrator.drbd import steps
from orchestrator.journal import Intent, Journal, JournalError, open_intents, read
from orchestrator.lease import TTL
from orchestrator.probes import look
from orchestrator.ssh import Identity, SshTransport, Target, Timing
from orchestrator.transport import Exited, NotSent, Outcome, Signalled, Unknown
from tests.ssh.helpers import until
from tests.ssh.relay import Relay
from tests.unit.test_journal import file_size_limit

NODE = "a"
OP = "run-001-witness-r0"
HOLDER = "0:1:1"
STATE = "/var/lib/orchestrate"
LIMIT = 15.0  # seconds, on the far side
PROMISED = 10.0  # seconds in which every outcome must be there, on a busy machine
ROOM = 40  # bytes that still fit on the full disk: a record is torn there
DAY = 86_400.0

# what `timeout` runs; the gate is read byte by byte, so every reader takes one line
ACTION = """action() {
	printf '%s\\n' $$ >>{folder}/started
	read -r _ <{folder}/gate
	printf '%s\\n' $$ >>{folder}/ended
}"""
# a node whose login gives us no shell to keep warm: every command has a session of its own
NO_SHELL = 'ForceCommand case "$SSH_ORIGINAL_COMMAND" in "exec /bin/sh") exit 1;; *) eval "$SSH_ORIGINAL_COMMAND";; esac'


class WallClock:
    """Seconds since the epoch, on a clock that somebody sets."""

    def __init__(self) -> None:
        self._real = time.time
        self._ahead = 0.0

    def __call__(self) -> float:
        return self._real() + self._ahead

    def jump(self, seconds: float) -> None:
        self._ahead += seconds

    @contextmanager
    def rule(self) -> Iterator[None]:
        """This process's own wall clock is this one."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(time, "time", self)
            patch.setattr(time, "time_ns", lambda: int(self() * 1e9))
            yield


@frozen
class Sent:
    """What one send came to. `outcome` is None when the intent could not be journalled, and so nothing was sent;
    `recorded`: the outcome is in the journal."""

    outcome: Outcome | None
    recorded: bool

    @property
    def kind(self) -> str:
        journal = "" if self.recorded else "; JournalError"
        match self.outcome:
            case None:
                return "not sent; JournalError"
            case Exited(code):
                return f"Exited {code}{journal}"
            case Signalled(name):
                return f"Signalled {name}{journal}"
            case NotSent(why):
                return f"NotSent, {why.value}{journal}"
            case Unknown(why):
                return f"Unknown, {why.value}{journal}"


@define(eq=False)
class Cell:
    """Server, relay, transport, journal, and the one operation."""

    folder: Path
    effect: Effect
    server: Sshd
    relay: Relay
    nodes: SshTransport
    clock: WallClock
    held: AsyncExitStack
    """What a fault holds, until it is healed."""
    disk_full: bool = False
    sends: int = 0
    old: list[int] = field(factory=list)
    """The server's sessions when the fault struck."""
    _gate: int = -1

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path, effect: Effect, timing: Timing, *options: str) -> AsyncIterator[Cell]:
        """Everything is up, and the connection is made; all of it has ended afterwards."""
        bin_folder = folder / "bin"
        bin_folder.mkdir()
        date = bin_folder / "date"  # nothing of ours may ask a node for the time of day
        date.write_text(f"#!/bin/sh\n: >{folder}/date-asked\nexit 1\n")
        date.chmod(0o755)
        env = {"PATH": f"{bin_folder}:/usr/sbin:/usr/bin:/sbin:/bin"}
        os.mkfifo(folder / "gate")
        async with AsyncExitStack() as held:
            with ExitStack() as opened:
                server = opened.enter_context(Sshd.start(folder / "sshd", *options, env=env))
                clock = WallClock()
                opened.enter_context(clock.rule())
                async with Relay.to(server.port) as relay:
                    target = Target(NODE, LOCALHOST, relay.port, server.user)
                    nodes = SshTransport([target], Identity(server.known_hosts, server.client_key), timing)
                    cell = cls(folder, effect, server, relay, nodes, clock, held)
                    cell._gate = os.open(folder / "gate", os.O_RDWR | os.O_NONBLOCK)  # so that no reader waits for a writer
                    opened.callback(os.close, cell._gate)
                    cell.trust()
                    async with nodes:
                        yield cell

    def trust(self) -> None:
        """The host key that the server has now is the known one."""
        self.server.known_hosts.write_text(self.server.known_line(self.relay.port))

    # -- the operation -----------------------------------------------------------------------------------------------

    def command(self) -> Command:
        folder = shlex.quote(str(self.folder))
        lines = [ACTION.replace("{folder}", folder)]
        if self.effect is Effect.DESTRUCTIVE:
            call = shlex.join(("act", "witness:r0:a", HOLDER, "1", "once", OP, "witness", "r0", "action"))
            lines = [self._ours(look.SCRIPT), self._ours(steps.SCRIPT), *lines, f"lease_take {HOLDER} {TTL} -", call]
        else:
            lines.append("action")
        return Command(NODE, ("sh", "-c", "\n".join(lines)), self.effect, LIMIT, OP)

    def _ours(self, script: str) -> str:
        assert STATE in script
        return script.replace(STATE, str(self.folder / "state"))

    async def send(self) -> Sent:
        """As the executor: intent on disk, send, outcome on disk."""
        self.sends += 1
        with Journal(self.journal, self.clock) as journal:
            try:
                self._write(journal, {"kind": "intent", "op": OP, "key": "witness:r0:a", "node": NODE})
            except JournalError:
                return Sent(None, recorded=False)
            began = time.monotonic()
            outcome = await self.nodes.run(self.command())
            assert time.monotonic() - began < PROMISED, outcome
            try:
                self._write(journal, {"kind": "outcome", "op": OP, "key": "witness:r0:a", "said": type(outcome).__name__})
            except JournalError:
                return Sent(outcome, recorded=False)
        return Sent(outcome, recorded=True)

    def _write(self, journal: Journal, record: dict[str, str]) -> None:
        if not self.disk_full:
            journal.write(record)
            return
        with file_size_limit(self.journal.stat().st_size + ROOM):  # only here: nothing else of this process may meet it
            journal.write(record)

    @property
    def journal(self) -> Path:
        return self.folder / "journal"

    def intents(self) -> tuple[Intent, ...]:
        """Those that the next run would find open."""
        return open_intents(read(self.journal))

    # -- what it did, seen from beside it ------------------------------------------------------------------------------

    def open_gate(self) -> None:
        """Every start from now on may end, the waiting one too."""
        os.write(self._gate, b"go\n" * 8)

    def starts(self) -> list[int]:
        """The process of every start that was made."""
        return self._pids("started")

    def ends(self) -> list[int]:
        """The process of every start that came to its end."""
        return self._pids("ended")

    def _pids(self, name: str) -> list[int]:
        path = self.folder / name
        return [int(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")] if path.exists() else []

    async def gone(self) -> None:
        """Until no process of the operation is left."""
        await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in self.starts()), "the operation's processes are gone")

    async def old_sessions_gone(self) -> None:
        """Until the server has nothing more to say or do on the connections that the fault struck."""
        await until(lambda: not set(self.old) & set(self.server.sessions()), "the server's old sessions are gone")

    async def look(self) -> str:
        """A fresh look, again until one arrives, as the engine does: the node's claims, and the lines of `ended`."""
        script = f"{self._ours(look.SCRIPT)}\nlook_claims\nsay ended\n[ -e {self.folder}/ended ] && copy {self.folder}/ended || :"
        end = time.monotonic() + READY
        while True:
            outcome = await self.nodes.run(Command(NODE, ("sh", "-c", script), Effect.READ, LIMIT))
            if isinstance(outcome, Exited):
                assert outcome.code == 0, outcome
                text = outcome.stdout.decode()
                assert [int(line) for line in text.rpartition("==ended\n")[2].split()] == self.ends(), text
                return text
            assert time.monotonic() < end, outcome
