"""Addresses of a name, asked in a thread that nobody waits for.

The C library's resolver cannot be stopped: a name server that does not answer holds it for up to half a minute. anyio's own
threads are waited for at the end of the program, so SIGTERM would take as long.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress

import anyio


async def addresses(host: str, port: int) -> tuple[str, ...]:
    """The addresses of a host, the best first. Raises OSError: there is none, or nobody could say."""
    found: list[str] = []
    wrong: list[OSError] = []
    reading, writing = os.pipe()

    def ask() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.extend(dict.fromkeys(str(answer[4][0]) for answer in answers))
        except (OSError, UnicodeError) as error:  # UnicodeError: no name at all
            wrong.append(error if isinstance(error, OSError) else OSError(f"{host!r} is no name: {error}"))
        with suppress(BrokenPipeError):  # nobody waits any more
            os.write(writing, b".")
        os.close(writing)

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    try:
        await anyio.wait_readable(reading)
    finally:
        os.close(reading)
    if wrong:
        raise wrong[0]
    return tuple(found)
