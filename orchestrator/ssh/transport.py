"""`SshTransport`: commands to nodes over one kept connection each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

import anyio
from attrs import evolve

from orchestrator.commands import Command
from orchestrator.ssh import dial, library
from orchestrator.ssh.values import Identity, Target, Timing
from orchestrator.transport import NotSent, Outcome, Unknown, Why

if TYPE_CHECKING:
    from orchestrator.ssh.connect import Connector
    from orchestrator.ssh.link import Link
    from orchestrator.ssh.session import Follower, Puller

HANDSHAKES = 8  # at once, over all nodes: they may share a jump host, whose sshd drops at random above 10 (S9)


def no_jitter() -> float:
    """For tests, and for a cluster of two."""
    return 0.0


class _Node:
    """One node: its connection if there is one, and those that are being left."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.lock = anyio.Lock()
        self.current: Link | None = None
        self.left: list[Link] = []
        self.attempts = 0
        self.failure: NotSent | None = None

    @property
    def link(self) -> Link | None:
        return self.current if self.current is not None and self.current.usable else None

    async def leave_current(self) -> None:
        """Set an unusable link aside, and forget those that are through."""
        if self.current is not None:
            self.current.spoil()
            self.left.append(self.current)
            self.current = None
        for link in [link for link in self.left if link.idle]:
            self.left.remove(link)
            await link.aclose()


class Lines(AsyncIterator[str]):
    """The lines of a followed command; implements `orchestrator.transport.Followed`."""

    def __init__(self, session: Follower | None, why: NotSent | Unknown | None) -> None:
        self._session = session
        self.why_ended = why

    async def __anext__(self) -> str:
        if self._session is None:
            raise StopAsyncIteration
        line = await self._session.next_line()
        if line is None:
            if self._session.lost is not None:
                self.why_ended = Unknown(Why.LOST, str(self._session.lost))
            raise StopAsyncIteration
        return line


class Bytes:
    """The stdout of a pulled command; implements `orchestrator.transport.Pulled`."""

    def __init__(self, session: Puller | None, failed: Outcome | None) -> None:
        self._session = session
        self.outcome = failed

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._session is None or self.outcome is not None:
            raise StopAsyncIteration
        data = await self._session.next_bytes()
        if not data:
            self.outcome = self._session.outcome()
            raise StopAsyncIteration
        return data


def _as_known_there(command: Command, target: Target) -> Command:
    """A node with an sshd of 5.3 has coreutils of that time."""
    return evolve(command, old_node=True) if target.legacy else command


class SshTransport:
    """Runs commands on nodes over SSH; implements `orchestrator.transport.Transport`.

    Each node has one connection, made by the first command (concurrent first commands share it), kept, and replaced
    when it died or a channel on it leaked. A command is sent at most once: it is tried on a second connection only when
    the first certainly never carried it. `jitter` gives seconds to wait before a node is connected to again.
    """

    def __init__(
        self,
        targets: Iterable[Target],
        identity: Identity,
        timing: Timing | None = None,
        jitter: Callable[[], float] = no_jitter,
    ) -> None:
        self._nodes = {target.name: _Node(target) for target in targets}
        self._identity = identity
        self._timing = timing or Timing()
        self._jitter = jitter
        self._handshakes = anyio.Semaphore(HANDSHAKES)
        self._connector: Connector | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def run(self, command: Command) -> Outcome:
        """Run to its end. Never raises for anything a network or a node can do; KeyError for a host never declared."""
        node = self._nodes[command.host]
        command = _as_known_there(command, node.target)
        refused: Outcome | None = None
        for _ in range(2):  # the second time only when nothing was sent the first time
            link = await self._link(node)
            if isinstance(link, NotSent):
                return link
            refused = await link.run(command)
            if refused is not None:
                return refused
        return self._gave_no_session(node)

    @asynccontextmanager
    async def follow(self, command: Command) -> AsyncIterator[Lines]:
        """Iterate over a long-lived READ command's lines; `command.limit` is not used. Leaving ends the command on the
        node (TERM, KILL 2 s later), and so does the end of the connection."""
        node = self._nodes[command.host]
        for _ in range(2):
            link = await self._link(node)
            if isinstance(link, NotSent):
                yield Lines(None, link)
                return
            async with link.slot(command.effect):
                session = link.follower()
                try:
                    failed = await link.start_lines(command, session)
                    if failed is not None or session.may_have_started:
                        yield Lines(None if failed else session, failed)
                        return
                finally:
                    await link.stop_lines(session)
        yield Lines(None, self._gave_no_session(node))

    @asynccontextmanager
    async def pull(self, command: Command, most: int) -> AsyncIterator[Bytes]:
        """Take a READ command's stdout as bytes, at our own pace. Leaving ends the command on the node (TERM, KILL 5 s
        later), and so does the end of the connection."""
        node = self._nodes[command.host]
        command = _as_known_there(command, node.target)
        for _ in range(2):
            link = await self._link(node)
            if isinstance(link, NotSent):
                yield Bytes(None, link)
                return
            async with link.slot(command.effect):
                session = link.puller(command, most)
                try:
                    failed = await link.start_bytes(command, session)
                    if failed is not None or session.may_have_started:
                        yield Bytes(session, failed)
                        return
                finally:
                    await link.stop_lines(session)
        yield Bytes(None, self._gave_no_session(node))

    async def connect(self, host: str) -> NotSent | None:
        """Make the connection now, for a command that will come: None when it is there. For start-up, which can so
        overlap the nodes' handshakes with its other work, and for preflight checks."""
        link = await self._link(self._nodes[host])
        return link if isinstance(link, NotSent) else None

    async def aclose(self) -> None:
        """Close every connection, a bounded time even when cancelled. Commands under way become Unknown."""
        async with anyio.create_task_group() as closing:
            for node in self._nodes.values():
                links = [*node.left, *([node.current] if node.current else [])]
                node.left, node.current = [], None
                for link in links:
                    link.spoil()
                    closing.start_soon(link.aclose)

    @staticmethod
    def _gave_no_session(node: _Node) -> NotSent:
        return NotSent(Why.NO_SESSION, f"{node.target.name}: connected twice, but no session was opened in time")

    async def _link(self, node: _Node) -> Link | NotSent:
        """The node's connection. Those who come while one is being made share what becomes of it, failure too."""
        if node.link is not None:
            return node.link
        seen = node.attempts
        async with node.lock:
            if node.link is not None:
                return node.link
            if node.attempts != seen and node.failure is not None:
                return node.failure
            await node.leave_current()
            made = await self._connect(node)
            node.attempts += 1
            if isinstance(made, NotSent):
                node.failure = made
            else:
                node.current, node.failure = made, None
            return made

    async def _connect(self, node: _Node) -> Link | NotSent:
        """Attempts, while sshd hangs up on us before authentication; one attempt for every other failure."""
        if node.attempts:
            await anyio.sleep(self._jitter())
        failure = ""
        for attempt in range(self._timing.retries + 1):
            if attempt:
                await anyio.sleep(self._timing.retry_wait * 2 ** (attempt - 1) + self._jitter())
            async with self._handshakes:
                made = await self._attempt(node.target)
            if not isinstance(made, Exception):
                return made
            failure = str(made)
        return NotSent(
            Why.UNREACHABLE,
            f"{node.target.name}: sshd hung up before login, {self._timing.retries + 1} times: {failure} "
            "(too many logins at once? see MaxStartups there)",
        )

    async def _attempt(self, target: Target) -> Link | NotSent | Exception:
        try:
            with anyio.fail_after(self._timing.connect):
                dialled = await dial.dial(target)
        except OSError as error:  # TimeoutError is one
            return self._library().unreachable(target, error)
        return await self._library().link(target, dialled)

    def _library(self) -> Connector:
        if self._connector is None:
            self._connector = library.load().Connector(self._identity, self._timing)
        return self._connector
