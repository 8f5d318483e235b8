"""One connection to one node: how it is made, a command on it, and its end."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import asyncssh

from orchestrator.commands import Command, Effect, bounded
from orchestrator.ssh.dial import Proxy
from orchestrator.ssh.session import Collector, Follower, Puller, Session
from orchestrator.ssh.translate import FAILURES
from orchestrator.ssh.values import Target, Timing
from orchestrator.ssh.warm import Warm
from orchestrator.transport import NotSent, Outcome, Unknown, Why

SLOTS = 7            # and one for the warm shell; sshd's MaxSessions is 10, two are left for channels that leaked (S4)
CHANGING_SLOTS = 6   # of all; the rest is for READs: looking is possible while everything else hangs
REFUSED_WAITS = (0.02, 0.05, 0.1)  # seconds; sshd frees a session a moment after it has closed its channel

# READs are tied to their stdin, on which we send nothing: it ends when we say so, when the channel closes, and when the
# connection dies, with any sshd and any user, and then `timeout` (which is "$1" here) gets TERM, passes it on to all of
# the command, and follows with KILL. Signals through sshd do not reach a root login's command at all (`session.stop`).
# What changes a node is not tied: a broken link must not stop it half-way.
TIED = """exec 3<&0
"$@" </dev/null 3<&- & c=$!
{ read -r _ <&3; kill "$c"; } >/dev/null 2>&1 & w=$!
exec 3<&-
wait "$c"; r=$?
kill "$w" 2>/dev/null
exit "$r\""""
KILLED_AFTER = 2  # seconds; for a followed command


def tie(line: str) -> str:
    """`line` (already quoted), ended by the end of its stdin."""
    return f"sh -c {shlex.quote(TIED)} sh {line}"


class Link:
    """An open connection, its slots, and who is on it.

    A link is `spoiled` when a channel on it leaked: it takes no new command, and hangs up when the last one is through.
    """

    def __init__(
        self,
        target: Target,
        timing: Timing,
        connection: asyncssh.SSHClientConnection,
        proxy: Proxy | None,
        shell_refused: set[str],
    ) -> None:
        self.target = target
        self.spoiled = False
        self._timing = timing
        self._connection = connection
        self._proxy = proxy
        self._users = 0
        self._slots = anyio.Semaphore(SLOTS)
        self._changing = anyio.Semaphore(CHANGING_SLOTS)
        self._warm = Warm(timing, target.name, shell_refused, self._start, self._leave)

    @property
    def usable(self) -> bool:
        return not self.spoiled and not self._connection.is_closed()

    @property
    def idle(self) -> bool:
        return self._users == 0

    def spoil(self) -> None:
        """Take no new command. The ones under way go on."""
        self.spoiled = True

    def hang_up(self) -> None:
        """Close. Does not wait (`aclose` does)."""
        self._connection.close()
        if self._proxy is not None:
            self._proxy.hang_up()

    async def aclose(self) -> None:
        """Close and wait for the end, a bounded time even when cancelled."""
        with anyio.CancelScope(shield=True):
            self.hang_up()
            with anyio.move_on_after(self._timing.stop) as late:
                await self._connection.wait_closed()
            if late.cancelled_caught:
                self._connection.abort()
            if self._proxy is not None:
                await self._proxy.ended(self._timing.stop)

    @asynccontextmanager
    async def slot(self, effect: Effect) -> AsyncIterator[None]:
        """A place for a session of its own on this connection."""
        async with self._use(effect), self._slots:
            yield

    @asynccontextmanager
    async def _use(self, effect: Effect) -> AsyncIterator[None]:
        """Whoever leaves a spoiled link last closes it."""
        self._users += 1
        try:
            if effect is Effect.READ:
                yield
            else:
                async with self._changing:
                    yield
        finally:
            self._users -= 1
            if self.spoiled and self.idle:
                self.hang_up()

    async def run(self, command: Command) -> Outcome | None:
        """Run to its end. None when this link turned out to be of no use and nothing was sent on it."""
        async with self._use(command.effect):
            outcome = await self._in_shell(command)
            if outcome is not None:
                return outcome
            async with self._slots:
                outcome = await self._in_shell(command)  # while this one waited for a place, it may have become idle
                if outcome is not None:
                    return outcome
                for wait in (*REFUSED_WAITS, None):
                    outcome = await self._once(command)
                    if wait is None or not isinstance(outcome, NotSent):
                        return outcome
                    await anyio.sleep(wait)
        return None

    async def _in_shell(self, command: Command) -> Outcome | None:
        """Through the warm shell, if it is idle. None when nothing was sent."""
        return await self._warm.run(command) if self.usable and self._warm.takes(command) else None

    async def _once(self, command: Command) -> Outcome | None:
        if not self.usable:
            return None
        limit = command.limit + 5 + self._timing.answer  # `timeout -k 5` ends it on the node first
        scope = anyio.CancelScope(deadline=anyio.current_time() + self._timing.session)

        def opened() -> None:
            scope.deadline = anyio.current_time() + limit

        tied = command.effect is Effect.READ and command.stdin is None
        session = Collector(self._timing, opened, tied=tied)
        try:
            with scope:
                failed = await self._start(session, tie(command.line()) if tied else command.line(), command.stdin)
                if failed is not None or not session.may_have_started:
                    return failed
                await session.finished()
            if session.may_have_started:
                return session.outcome()
            self.spoil()  # sshd did not open a channel in time: nothing was sent, and nothing will be here
            return None
        finally:
            await self._leave(session)

    async def _start(
        self, session: Session, line: str, stdin: bytes | None = None
    ) -> NotSent | Unknown | None:
        """Open a channel and send `line`. None when it went out, or when the link is dead and nothing went out: the
        session knows which."""
        try:
            await self._connection.create_session(lambda: session, line, encoding=None)
        except asyncssh.ChannelOpenError as error:
            if session.closed.is_set():
                return Unknown(Why.LOST, str(session.lost or error.reason))
            if await self._warm.make_room():
                await anyio.sleep(REFUSED_WAITS[-1])
                return await self._start(session, line, stdin)
            session.closed.set()  # there is no channel to close
            await anyio.lowlevel.checkpoint()  # a connection that is just being lost is closed after this, see below
            if session.may_have_started or not self._connection.is_closed():
                return NotSent(Why.NO_SESSION, f"{self.target.name}: sshd refused a session: {error.reason}")
            return None
        except FAILURES as error:
            if session.may_have_started:
                return Unknown(Why.LOST, str(session.lost or error))
            self.spoil()
            return None
        if not session.tied:
            session.send(stdin)
        return None

    async def _leave(self, session: Session, longer: float = 0.0) -> None:
        """Whatever happened, cancellation too: end the command, close the channel; or else give the link up."""
        if session.closed.is_set() or self._connection.is_closed():
            return
        with anyio.CancelScope(shield=True):
            try:
                gone = await session.stop(self._timing.stop + longer)
            except OSError:
                gone = session.closed.is_set()
        if not gone:
            self.spoil()

    @staticmethod
    def follower() -> Follower:
        """What `start_lines` and `stop_lines` take."""
        return Follower()

    async def start_lines(self, command: Command, session: Follower) -> NotSent | Unknown | None:
        """Start a command to follow, in a slot that the caller holds. None when it runs, or when the link is dead and
        nothing was sent: the session knows which."""
        return await self._start_tied(bounded(KILLED_AFTER, 0, command.argv, old_node=self.target.legacy), session)

    def puller(self, command: Command, most: int) -> Puller:
        """What `start_bytes` and `stop_lines` take."""
        return Puller(most, command.limit + 5 + self._timing.answer)  # `timeout -k 5` ends it on the node first

    async def start_bytes(self, command: Command, session: Puller) -> NotSent | Unknown | None:
        """As `start_lines`, for a command with a limit."""
        return await self._start_tied(command.line(), session)

    async def _start_tied(self, line: str, session: Session) -> NotSent | Unknown | None:
        with anyio.move_on_after(self._timing.session):
            return await self._start(session, tie(line))
        self.spoil()
        return NotSent(Why.NO_SESSION, f"{self.target.name}: sshd did not open a session in time")

    async def stop_lines(self, session: Follower | Puller) -> None:
        """End a followed or pulled command, a bounded time even when cancelled."""
        await self._leave(session, KILLED_AFTER)
