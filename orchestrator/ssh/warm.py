"""Which commands of a link go through its warm shell, and what becomes of the shell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from orchestrator.commands import Command
from orchestrator.ssh.session import Session
from orchestrator.ssh.shell import PRELUDE, START, Shell, fits
from orchestrator.ssh.values import Timing
from orchestrator.transport import NotSent, Outcome, Unknown

Start = Callable[[Session, str], Awaitable[NotSent | Unknown | None]]
Leave = Callable[[Session], Awaitable[None]]


class Warm:
    """A link's place for one warm shell: opened by the first command, used when idle, replaced when lost.

    `start` and `leave` are the link's. `refused` is where a node whose login shell gives us no /bin/sh is
    remembered for later links.
    """

    def __init__(self, timing: Timing, name: str, refused: set[str], start: Start, leave: Leave) -> None:
        self._timing = timing
        self._name = name
        self._refused = refused
        self._start = start
        self._leave = leave
        self._shell: Shell | None = None
        self._busy = False
        self._off = False  # on this link

    def takes(self, command: Command) -> bool:
        """Whether `run` may be tried now."""
        return not (self._busy or self._off or self._name in self._refused) and fits(command)

    async def run(self, command: Command) -> Outcome | None:
        """Run to its end. None when nothing was sent, and a session of its own may do better."""
        self._busy = True
        try:
            shell = await self._ready()
            return await self._use(shell, command) if shell is not None else None
        finally:
            self._busy = False

    async def make_room(self) -> bool:
        """sshd refused a session: give up an idle shell, for this link's life. True when there was one."""
        shell = self._shell
        if self._busy or shell is None:
            return False
        self._off, self._shell = True, None
        await self._leave(shell)
        return True

    async def _ready(self) -> Shell | None:
        """The shell, opened if need be."""
        old, self._shell = self._shell, None
        if old is not None and old.fresh:
            self._shell = old
            return old
        if old is not None:
            await self._leave(old)
        shell = Shell(self._timing, lambda: None)
        greeted = False
        try:
            with anyio.move_on_after(self._timing.session):
                if await self._start(shell, START) is not None or not shell.may_have_started:
                    return None
                greeted = await shell.greet(PRELUDE)
            if greeted:
                self._shell = shell
                return shell
            if shell.code is not None:
                self._refused.add(self._name)
            elif not shell.over:
                self._off = True
            return None
        finally:
            if not greeted:
                await self._leave(shell)

    async def _use(self, shell: Shell, command: Command) -> Outcome | None:
        try:
            with anyio.move_on_after(self._timing.session) as scope:
                if await shell.greet():
                    shell.give(command)
                    limit = command.limit + 5 + self._timing.answer  # `timeout -k 5` ends it on the node first
                    scope.deadline = anyio.current_time() + limit
                    await shell.finished()
            return shell.outcome() if shell.sent else None
        finally:
            if not shell.fresh:
                self._shell = None
                await self._leave(shell)
