"""Commands on this machine: the same Protocol as over SSH, for a node that drives itself and for tests.

The same far-side line is run, without a shell: `timeout -k 5 LIMIT argv`, in a session of its own. Knows nothing of
asyncio: runs on any anyio backend. A Command's `host` is not looked at.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import IO, Self

import anyio
import anyio.abc

from orchestrator.commands import Command
from orchestrator.ssh.lines import Splitter
from orchestrator.transport import Exited, NotSent, Outcome, Signalled, Unknown, Why

MOST_OUTPUT = 8 * 1024 * 1024  # bytes, stdout and stderr together
ANSWER = 5.0                   # seconds after the limit and its 5 s to KILL
STOP = 2.0                     # seconds from TERM to KILL for a command that we end
LINGER = 1.0                   # seconds after the exit for output that a daemon left behind still holds open
KILLED_AFTER = 2               # seconds, for a followed command


class _Pipe:
    """A pipe we read. Our own, because what anyio opens cannot be closed while a daemon still holds the other end."""

    def __init__(self) -> None:
        self._fd, self.far = os.pipe()
        os.set_blocking(self._fd, False)

    def started(self) -> None:
        """The child has its copy."""
        os.close(self.far)

    def close(self) -> None:
        os.close(self._fd)

    async def read(self) -> bytes:
        """Some bytes; none at the end."""
        await anyio.wait_readable(self._fd)
        return os.read(self._fd, 65536)


class _Child:
    """A child process in a session of its own, and the pipes from it."""

    def __init__(self, process: anyio.abc.Process, stdout: _Pipe, stderr: _Pipe) -> None:
        self.process = process
        self.stdout = stdout
        self.stderr = stderr

    @classmethod
    async def start(cls, argv: tuple[str, ...], *, stdin: bool, stderr: int | None = None) -> _Child:
        """`stderr`: where its stderr goes, if not into our pipe. Raises OSError."""
        source = subprocess.PIPE if stdin else subprocess.DEVNULL
        stdout, errors = _Pipe(), _Pipe()
        done = False
        try:
            process = await anyio.open_process(
                argv, stdin=source, stdout=stdout.far, stderr=errors.far if stderr is None else stderr, start_new_session=True
            )
            done = True
            return cls(process, stdout, errors)
        finally:
            for pipe in (stdout, errors):
                pipe.started()
                if not done:
                    pipe.close()

    async def feed(self, stdin: bytes) -> None:
        if self.process.stdin is not None:
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # ended before it read everything
                await self.process.stdin.send(stdin)
                await self.process.stdin.aclose()

    async def stop(self) -> None:
        """End what still runs, a bounded time even when cancelled: TERM, and KILL after STOP."""
        with anyio.CancelScope(shield=True):
            for number in (signal.SIGTERM, signal.SIGKILL):
                if self.process.returncode is None:
                    with suppress(ProcessLookupError):
                        os.killpg(self.process.pid, number)
                    with anyio.move_on_after(STOP):
                        await self.process.wait()
            if self.process.stdin is not None:
                with suppress(anyio.BrokenResourceError):
                    await self.process.stdin.aclose()
            self.stdout.close()
            self.stderr.close()


class _Output:
    """What a command said, up to MOST_OUTPUT bytes."""

    def __init__(self, child: _Child) -> None:
        self.stdout: list[bytes] = []
        self.stderr: list[bytes] = []
        self.size = 0
        self.too_long = False
        self._child = child

    async def collect(self, stdin: bytes | None) -> None:
        """Until the process has ended and its output is in, or too much was said."""
        reading = anyio.Event()
        async with anyio.create_task_group() as tasks:

            async def read() -> None:
                async with anyio.create_task_group() as both:
                    both.start_soon(self._read, self._child.stdout, self.stdout, tasks.cancel_scope)
                    both.start_soon(self._read, self._child.stderr, self.stderr, tasks.cancel_scope)
                reading.set()

            tasks.start_soon(read)
            if stdin is not None:
                tasks.start_soon(self._child.feed, stdin)
            await self._child.process.wait()
            seen = -1
            while not reading.is_set() and self.size != seen:
                seen = self.size
                with anyio.move_on_after(LINGER):
                    await reading.wait()
            tasks.cancel_scope.cancel()

    async def _read(self, pipe: _Pipe, into: list[bytes], enough: anyio.CancelScope) -> None:
        while chunk := await pipe.read():
            self.size += len(chunk)
            if self.size > MOST_OUTPUT:
                self.too_long = True
                enough.cancel()
                return
            into.append(chunk)


class LocalTransport:
    """Runs commands as child processes; implements `orchestrator.transport.Transport`."""

    async def run(self, command: Command) -> Outcome:
        """Run to its end. Never raises for anything the machine can do."""
        argv = ("timeout", "-k", "5", f"{command.limit:g}", *command.argv)
        try:
            child = await _Child.start(argv, stdin=command.stdin is not None)
        except OSError as error:
            return _not_started(error)
        output = _Output(child)
        try:
            with anyio.move_on_after(command.limit + 5 + ANSWER) as patience:
                await output.collect(command.stdin)
            stdout, stderr = b"".join(output.stdout), b"".join(output.stderr)
            if output.too_long:
                why = f"more than {MOST_OUTPUT} bytes of output; the command was ended"
                return Unknown(Why.TOO_LONG, why, stdout)
            code = child.process.returncode
            if patience.cancelled_caught or code is None:
                return Unknown(Why.TIMEOUT, "no end of the command within its limit and ours", stdout)
            return _ended(code, stdout, stderr)
        finally:
            await child.stop()

    @asynccontextmanager
    async def follow(self, command: Command) -> AsyncIterator[LocalLines]:
        """Iterate over a long-lived READ command's lines; `command.limit` is not used."""
        try:
            argv = ("timeout", "-k", str(KILLED_AFTER), "0", *command.argv)
            child = await _Child.start(argv, stdin=False, stderr=subprocess.DEVNULL)
        except OSError as error:
            yield LocalLines(None, _not_started(error))
            return
        try:
            yield LocalLines(child, None)
        finally:
            await child.stop()

    @asynccontextmanager
    async def pull(self, command: Command, most: int) -> AsyncIterator[LocalBytes]:
        """Take a READ command's stdout as bytes, at our own pace."""
        argv = ("timeout", "-k", "5", f"{command.limit:g}", *command.argv)
        with tempfile.TemporaryFile() as complaint:
            try:
                child = await _Child.start(argv, stdin=False, stderr=complaint.fileno())
            except OSError as error:
                yield LocalBytes(None, most, command.limit, complaint, _not_started(error))
                return
            try:
                yield LocalBytes(child, most, command.limit, complaint, None)
            finally:
                await child.stop()

    async def aclose(self) -> None:
        """Nothing is kept open."""


class LocalLines(AsyncIterator[str]):
    """The lines of a followed command; `why_ended` as in `orchestrator.ssh`."""

    def __init__(self, child: _Child | None, why: NotSent | None) -> None:
        self._child = child
        self._splitter = Splitter()
        self._waiting: deque[str] = deque()
        self.why_ended: NotSent | Unknown | None = why

    async def __anext__(self) -> str:
        while not self._waiting:
            if self._child is None:
                raise StopAsyncIteration
            if data := await self._child.stdout.read():
                self._waiting.extend(self._splitter.feed(data))
            else:
                self._child = None
                self._waiting.extend(self._splitter.end())
        return self._waiting.popleft()


class LocalBytes:
    """The stdout of a pulled command; implements `orchestrator.transport.Pulled`."""

    def __init__(self, child: _Child | None, most: int, limit: float, complaint: IO[bytes], failed: Outcome | None) -> None:
        self._child = child
        self._left = most
        self._most = most
        self._deadline = anyio.current_time() + limit + 5 + ANSWER
        self._complaint = complaint
        self.outcome = failed

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._child is None or self.outcome is not None:
            raise StopAsyncIteration
        data = b""
        with anyio.CancelScope(deadline=self._deadline) as patience:
            data = await self._child.stdout.read()
            if not data:
                await self._child.process.wait()
        self._left -= len(data)
        if data and self._left >= 0:
            return data
        self.outcome = self._end(late=patience.cancelled_caught)
        raise StopAsyncIteration

    def _end(self, *, late: bool) -> Outcome:
        code = self._child.process.returncode if self._child is not None else None
        if self._left < 0:
            return Unknown(Why.TOO_LONG, f"more than the {self._most} bytes that were expected; the command was ended")
        if late or code is None:
            return Unknown(Why.TIMEOUT, "no end of the stream within its limit and ours")
        self._complaint.seek(0)
        return _ended(code, b"", self._complaint.read()[-4000:])


def _not_started(error: OSError) -> NotSent:
    return NotSent(Why.NO_SESSION, f"this machine could not start `timeout` (coreutils): {error.strerror or error}")


def _ended(code: int, stdout: bytes, stderr: bytes) -> Outcome:
    if code >= 0:
        return Exited(code, stdout, stderr)
    return Signalled(signal.Signals(-code).name.removeprefix("SIG"), stdout, stderr)
