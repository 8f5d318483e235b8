"""The socket under an SSH connection: TCP, or one end of a proxy command.

We open it ourselves because asyncssh's own proxy mixes the command's stderr into the protocol and never waits for the
process (asyncssh 2.24.1, connection.py, `_ProxyCommandTunnel`), and because a socket that is open before asyncssh is
imported lets the node's sshd start meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import socket
import tempfile
from contextlib import suppress
from typing import IO

import anyio
import anyio.abc

from orchestrator.ssh.values import Target

SAID = 1000  # bytes of a proxy command's stderr that go into a message


class Proxy:
    """A running proxy command: a session of its own (no terminal, no Ctrl-C), its stderr kept in an unnamed file."""

    def __init__(self, process: anyio.abc.Process, line: str, said: IO[bytes]) -> None:
        self._process = process
        self._line = line
        self._said = said

    def hang_up(self) -> None:
        """Ask it to end. Does not wait."""
        self._signal(signal.SIGTERM)

    async def ended(self, within: float) -> None:
        """Wait for its end; after `within` seconds end it by force."""
        with anyio.move_on_after(within):
            await self._process.wait()
        if self._process.returncode is None:
            self._signal(signal.SIGKILL)
            with anyio.move_on_after(within):
                await self._process.wait()
        self._said.close()

    async def story(self) -> str:
        """What became of it, for a message. Waits a moment for a process that is just ending."""
        with anyio.move_on_after(0.5):
            await self._process.wait()
        code = self._process.returncode
        self._said.seek(0, os.SEEK_END)
        self._said.seek(max(0, self._said.tell() - SAID))
        words = " ".join(self._said.read().decode(errors="replace").split())
        fate = "is still running" if code is None else f"ended with {code}"
        return f"proxy command {self._line!r} {fate}" + (f": {words}" if words else "")

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):  # gone between the look and the signal
                os.killpg(self._process.pid, number)


def expand(command: str, target: Target) -> str:
    """%h, %p, %r and %% in a proxy command, as in ssh_config(5); values are quoted for the shell."""
    values = {"%": "%", "h": shlex.quote(target.address), "p": str(target.port), "r": shlex.quote(target.user)}
    first, *rest = command.replace("%%", "%\0").split("%")
    return first + "".join(
        "%" + part[1:] if part[:1] == "\0" else values.get(part[:1], "%" + part[:1]) + part[1:] for part in rest
    )


async def tcp(target: Target) -> socket.socket:
    """A connected socket. Tries the addresses of a name in the resolver's order. Raises OSError."""
    try:
        found = socket.getaddrinfo(
            target.address, target.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        )
    except socket.gaierror:  # a name, not an address: ask the resolver, in a thread
        found = await asyncio.get_running_loop().getaddrinfo(target.address, target.port, type=socket.SOCK_STREAM)
    failures: list[OSError] = []
    for family, kind, protocol, _name, address in found:
        sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, address)
        except OSError as failure:
            sock.close()
            failures.append(failure)
        except BaseException:  # cancellation: nothing may leak; passed on
            sock.close()
            raise
        else:
            return sock
    raise failures[0] if failures else OSError(f"{target.address} has no address")


async def proxy(target: Target) -> tuple[socket.socket, Proxy]:
    """Our end of a socket whose other end is the proxy command's stdin and stdout. Raises OSError."""
    line = expand(target.proxy_command or "", target)
    ours, theirs = socket.socketpair()
    said = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
    done = False
    try:
        process = await anyio.open_process(
            ["/bin/sh", "-c", f"exec {line}"],
            stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=said.fileno(), start_new_session=True,
        )
        done = True
    finally:
        theirs.close()
        if not done:
            ours.close()
            said.close()
    ours.setblocking(False)
    return ours, Proxy(process, line, said)


Dialled = tuple[socket.socket, Proxy | None]


async def dial(target: Target) -> Dialled:
    """The socket for `target`, and the proxy command behind it if it has one. Raises OSError."""
    if target.proxy_command:
        return await proxy(target)
    return await tcp(target), None
