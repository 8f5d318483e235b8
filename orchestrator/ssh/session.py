"""One command's channel: what came back on it, and how the command is stopped."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import anyio
import asyncssh

from orchestrator.ssh.lines import Splitter
from orchestrator.ssh.values import MEBIBYTE, Timing
from orchestrator.transport import Exited, Outcome, Signalled, Unknown, Why

Channel = asyncssh.SSHClientChannel[bytes]


class Session(asyncssh.SSHClientSession[bytes]):
    """The callbacks asyncssh makes for one channel. `connection_made` comes when sshd has confirmed the channel and
    immediately before the exec request is sent (asyncssh channel.py, `SSHClientChannel.create`): before it, the command
    certainly never started; after it, it may have.
    """

    def __init__(self, on_open: Callable[[], None], *, tied: bool) -> None:
        self.tied = tied
        self.channel: Channel | None = None
        self.code: int | None = None
        self.signal: str | None = None
        self.lost: Exception | None = None
        self.closed = anyio.Event()
        self.settled = anyio.Event()  # exit known, or closed, or no more is wanted
        self.received = 0
        self.discarding = False
        self._on_open = on_open

    @property
    def may_have_started(self) -> bool:
        return self.channel is not None

    def connection_made(self, chan: Channel) -> None:
        self.channel = chan
        self._on_open()

    def exit_status_received(self, status: int) -> None:
        self.code = status
        self.settled.set()

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        self.signal = signal
        self.settled.set()

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        self.received += len(data)
        if not self.discarding:
            self.take(data, error=datatype is not None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = exc
        self.closed.set()
        self.settled.set()

    def take(self, data: bytes, *, error: bool) -> None:
        """Keep `data`, which came on stdout, or with `error` on stderr."""
        raise NotImplementedError

    def eof_received(self) -> bool:
        return True  # asyncssh would end the command's stdin in answer, and a tied command with it

    def send(self, stdin: bytes | None = None) -> None:
        """All of the command's stdin, and its end: a command never waits for a terminal (S17). Of a tied command, the
        end comes later: see `stop`."""
        if self.channel is None or self.channel.is_closing():
            return
        with suppress(OSError):  # the command ended first; its outcome says so
            if stdin:
                self.channel.write(stdin)
            self.channel.write_eof()

    async def stop(self, grace: float) -> bool:
        """End the command if it may still run, and close the channel; True when the channel is really gone (S6).

        A tied command ends because its stdin does. The others get TERM, which is a courtesy: sshd refuses it to every
        root login (OpenSSH 9.2: "session signalling requires privilege separation"), before 7.9 to all, and with
        forced commands (S7); what bounds them is the far side's `timeout`. Call it shielded. Raises OSError.
        """
        if self.channel is None:
            return False  # asked for, not yet confirmed: it will be opened, and nobody will close it
        self.discarding = True
        if self.code is None and self.signal is None:
            if self.tied:
                self.send()
            else:
                self.channel.send_signal("TERM")
            self.channel.resume_reading()  # the close comes after the data
            with anyio.move_on_after(grace):
                await self.settled_or_closed()
        ended = self.code is not None or self.signal is not None
        self.channel.close()
        if ended:  # sshd answers the close at once; while the command runs it does not
            with anyio.move_on_after(grace):
                await self.closed.wait()
        return self.closed.is_set()

    async def settled_or_closed(self) -> None:
        """Until the channel closes, or the command's end is known (its orphans may hold the channel open)."""
        while not self.closed.is_set() and self.code is None and self.signal is None:
            self.settled = anyio.Event()
            await self.settled.wait()


class Collector(Session):
    """Collects a command's output, up to `timing.most_output` bytes, then stops reading (S13)."""

    def __init__(self, timing: Timing, on_open: Callable[[], None], *, tied: bool) -> None:
        super().__init__(on_open, tied=tied)
        self.too_long = False
        self._timing = timing
        self._stdout: list[bytes] = []
        self._stderr: list[bytes] = []

    def take(self, data: bytes, *, error: bool) -> None:
        if self.received > self._timing.most_output:
            self.too_long = self.discarding = True
            self.settled.set()
        else:
            (self._stderr if error else self._stdout).append(data)

    async def finished(self) -> None:
        """Until the outcome is known: the channel closed, or too much was said, or the command exited and then nothing
        came for `linger` (a daemon it started holds its stdout; sshd keeps the channel open for it)."""
        await self.settled.wait()
        while not self.closed.is_set() and not self.too_long:
            seen = self.received
            with anyio.move_on_after(self._timing.linger):
                await self.closed.wait()
            if self.received == seen:
                return

    def outcome(self) -> Outcome:
        """What the channel tells, after `finished` or when time is up."""
        stdout, stderr = b"".join(self._stdout), b"".join(self._stderr)
        if self.too_long:
            most = self._timing.most_output
            return Unknown(Why.TOO_LONG, f"more than {most} bytes of output; the command was ended", stdout)
        if self.lost is not None:  # also after an exit code: what it said may be cut short
            return Unknown(Why.LOST, str(self.lost) or type(self.lost).__name__, stdout)
        if self.signal is not None:
            return Signalled(self.signal, stdout, stderr)
        if self.code is not None:
            return Exited(self.code, stdout, stderr)
        if self.closed.is_set():  # S1: neither a code nor a signal is not success
            return Unknown(Why.LOST, "the session ended without saying how the command ended", stdout)
        return Unknown(Why.TIMEOUT, "no news of the command within its limit and ours", stdout)


class Follower(Session):
    """A command's lines as they come; stops reading when `MOST_WAITING` of them wait, and goes on at half of that."""

    MOST_WAITING = 1000

    def __init__(self) -> None:
        super().__init__(lambda: None, tied=True)
        self.waiting: deque[str] = deque()
        self.complaint = b""
        self._splitter = Splitter()
        self._news = anyio.Event()

    def take(self, data: bytes, *, error: bool) -> None:
        if error:
            self.complaint = (self.complaint + data)[-1000:]
            return
        self.waiting.extend(self._splitter.feed(data))
        if len(self.waiting) > self.MOST_WAITING and self.channel is not None:
            self.channel.pause_reading()
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.waiting.extend(self._splitter.end())
        self._news.set()

    async def next_line(self) -> str | None:
        """The next line; None when the stream has ended and every line was given."""
        while not self.waiting:
            if self.closed.is_set():
                return None
            self._news = anyio.Event()
            await self._news.wait()
        line = self.waiting.popleft()
        if len(self.waiting) == self.MOST_WAITING // 2 and self.channel is not None:
            self.channel.resume_reading()
        return line


class Puller(Session):
    """A command's stdout as bytes; stops reading while `MOST_WAITING` bytes of it wait. `most`: no more than so many in all;
    `limit`: nor later than so many seconds after it was sent."""

    MOST_WAITING = 4 * MEBIBYTE

    def __init__(self, most: int, limit: float) -> None:
        super().__init__(self._sent, tied=True)
        self.complaint = b""
        self._limit = limit
        self._deadline = math.inf
        self.too_long = False
        self._most = most
        self._given = 0
        self._waiting: list[bytes] = []
        self._size = 0
        self._news = anyio.Event()

    def _sent(self) -> None:
        self._deadline = anyio.current_time() + self._limit

    def take(self, data: bytes, *, error: bool) -> None:
        if error:
            self.complaint = (self.complaint + data)[-4000:]
            return
        self._waiting.append(data)
        self._size += len(data)
        self.too_long = self._given + self._size > self._most
        if self._size > self.MOST_WAITING and self.channel is not None:
            self.channel.pause_reading()
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._news.set()

    async def next_bytes(self) -> bytes:
        """All that waits; none when the stream has ended, too much was said, or time is up."""
        with anyio.CancelScope(deadline=self._deadline):
            while not self._waiting and not self.closed.is_set():
                self._news = anyio.Event()
                await self._news.wait()
        if self.too_long:
            return b""
        data, self._waiting, self._size = b"".join(self._waiting), [], 0
        self._given += len(data)
        if len(data) > self.MOST_WAITING and self.channel is not None:
            self.channel.resume_reading()  # calls `take` at once with what it held back, which may pause again
        return data

    def outcome(self) -> Outcome:
        """What the channel tells, after the last bytes or when time is up."""
        if self.too_long:
            return Unknown(Why.TOO_LONG, f"more than the {self._most} bytes that were expected; the command was ended")
        if self.lost is not None:
            return Unknown(Why.LOST, str(self.lost) or type(self.lost).__name__)
        if self.signal is not None:
            return Signalled(self.signal, b"", self.complaint)
        if not self.closed.is_set():
            return Unknown(Why.TIMEOUT, "no end of the stream within its limit and ours")
        if self.code is None:
            return Unknown(Why.LOST, "the session ended without saying how the command ended")
        return Exited(self.code, b"", self.complaint)
