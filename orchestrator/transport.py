"""How a command reaches a node, and the only four things that can come of it.

There is no boolean in here: a command that exited 0 has not thereby changed anything (look), and one whose connection
broke may have run, may be running, or may never have started (Unknown: look).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from enum import Enum
from typing import Protocol

from attrs import field, frozen

from orchestrator.commands import Command


class Why(Enum):
    """Why a command was not sent, or why its outcome is unknown."""

    UNREACHABLE = "unreachable"
    HOST_KEY = "host key"
    AUTHENTICATION = "authentication"
    NO_SESSION = "no session"        # sshd refused another channel
    LOST = "connection lost"
    TIMEOUT = "no answer in time"
    TOO_LONG = "too much output"


@frozen
class Exited:
    """The command ran to its end on the node and said `code`. 124 and 137: the far side's limit ended it.

    `span`: the node's uptime (s) before and after it, where the transport could tell: forks of its own included.
    """

    code: int
    stdout: bytes
    stderr: bytes
    span: tuple[float, float] | None = field(default=None, eq=False)


@frozen
class Signalled:
    """The command was ended by a signal on the node."""

    signal: str
    stdout: bytes
    stderr: bytes

    def __str__(self) -> str:
        return f"ended by signal {self.signal} on the node"


@frozen
class NotSent:
    """The command certainly never started."""

    why: Why
    detail: str

    def __str__(self) -> str:
        return f"{self.why.value}: {self.detail}"


@frozen
class Unknown:
    """The command may have run, may still be running, or may never have started."""

    why: Why
    detail: str
    stdout: bytes = b""

    def __str__(self) -> str:
        return f"{self.why.value}: {self.detail}"


Outcome = Exited | Signalled | NotSent | Unknown


class Followed(Protocol):
    """The lines of a followed command. After they ended, `why_ended` says why: None for the command's own end."""

    @property
    def why_ended(self) -> NotSent | Unknown | None:
        """None, too, while lines may still come."""
        ...

    def __aiter__(self) -> AsyncIterator[str]:
        """Itself."""
        ...

    async def __anext__(self) -> str:
        """The next line. Never raises for anything a network or a node can do."""
        ...


class Pulled(Protocol):
    """The bytes of a command's stdout, in pieces of any size. What is not asked for waits on the node: nothing is read ahead
    but a few MiB. When the iteration has ended, for whatever reason, `outcome` says how: only Exited(0) is all of it."""

    @property
    def outcome(self) -> Outcome | None:
        """None while bytes may still come. An Exited has no stdout (it was given out) and the end of stderr."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Itself."""
        ...

    async def __anext__(self) -> bytes:
        """Some bytes. Never raises for anything a network or a node can do."""
        ...


class Transport(Protocol):
    """Runs commands on nodes. Implementations: `orchestrator.ssh`, later a simulated one."""

    async def run(self, command: Command) -> Outcome:
        """Run to its end. Never raises for anything a network or a node can do."""
        ...

    def follow(self, command: Command) -> AbstractAsyncContextManager[Followed]:
        """Start a long-lived READ command and iterate over its lines. The iteration ends when the stream does, for
        whatever reason; leaving the context ends the command on the node."""
        ...

    def pull(self, command: Command, most: int) -> AbstractAsyncContextManager[Pulled]:
        """Start a READ command and take its stdout as bytes, at our own pace, within `command.limit` seconds. More than
        `most` bytes are Unknown(TOO_LONG). Leaving the context ends the command on the node, and so does the end of the
        connection."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...
