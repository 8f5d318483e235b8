"""/metrics, /healthz and /readyz for whoever may ask: GET only, one request a connection, and everything bounded.

h11 reads and writes HTTP, anyio the sockets. A client that is slow, silent, or talks nonsense is cut off; more of them than
MOST at once are turned away. None of them can hold up anything else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import anyio
import h11
from anyio import to_thread
from anyio.abc import SocketAttribute, SocketStream
from attrs import frozen

from orchestrator.supervisor.metrics import Board

MOST = 32
"""Connections at once."""
PATIENCE = 10.0
"""Seconds for one request and its answer."""
KEPT = 1.0
"""Seconds for which a page of metrics is handed out again: whoever asks more often gets the same."""
AGAIN = (0.5, 1.0, 2.0, 5.0)
"""Seconds until the address is tried again while it cannot be had."""
TEXT = b"text/plain; version=0.0.4; charset=utf-8"
PLAIN = b"text/plain; charset=utf-8"


@frozen
class Page:
    """An answer."""

    status: int
    body: bytes
    kind: bytes = PLAIN


NOT_FOUND = Page(404, b"/metrics, /healthz, /readyz\n")
NOT_ALLOWED = Page(405, b"GET or HEAD\n")


class Pages:
    """Serves one board on one address. `clock`: seconds since the epoch. `address`: where it listens, None while it cannot."""

    def __init__(self, listen: str, board: Board, clock: Callable[[], float], log: Any) -> None:
        self.listen = listen
        self.address: tuple[str, int] | None = None
        self._board = board
        self._clock = clock
        self._log = log
        self._open = 0
        self._making = anyio.Lock()
        self._made: tuple[float, Page] = (-math.inf, NOT_FOUND)

    async def run(self) -> None:
        """Until cancelled. An address that cannot be had (yet) is tried again, and said."""
        host, _, port = self.listen.rpartition(":")
        failures = 0
        while True:
            try:
                listener = await anyio.create_tcp_listener(local_host=host.strip("[]"), local_port=int(port))
                async with listener:
                    found = listener.extra(SocketAttribute.local_address)  # noqa: S610 - anyio's word, not Django's
                    self.address = (str(found[0]), int(found[1]))
                    self._log.info("listening", address=self.listen)
                    failures = 0
                    await listener.serve(self._connected)
            except OSError as error:
                self.address = None
                pause = AGAIN[min(failures, len(AGAIN) - 1)]
                if not failures:
                    self._log.warning("not_listening", address=self.listen, seen=str(error), remedy="it is tried again; [supervise] listen")
                failures += 1
                await anyio.sleep(pause)

    async def _connected(self, stream: SocketStream) -> None:
        async with stream:
            if self._open >= MOST:
                return
            self._open += 1
            try:
                with anyio.move_on_after(PATIENCE):
                    await self._talk(stream)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
                return  # it went away: nobody is there to be told
            finally:
                self._open -= 1

    async def _talk(self, stream: SocketStream) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=8192)
        try:
            request = await _request(connection, stream)
            if request is None:
                return
            page = await self.page(request.target.decode("ascii", "replace"), request.method)
        except h11.RemoteProtocolError as error:
            page, request = Page(error.error_status_hint, b"that is no HTTP request\n"), None
        head = request is not None and request.method == b"HEAD"
        headers = [(b"Content-Type", page.kind), (b"Content-Length", b"%d" % len(page.body)), (b"Connection", b"close"),
                   (b"Cache-Control", b"no-store")]
        body = b"" if head else page.body
        parts: list[h11.Event] = [h11.Response(status_code=page.status, headers=headers), h11.Data(body), h11.EndOfMessage()]
        await stream.send(b"".join([connection.send(part) or b"" for part in parts]))

    async def page(self, target: str, method: bytes = b"GET") -> Page:
        """What is answered."""
        path = target.partition("?")[0]
        if path not in ("/metrics", "/healthz", "/readyz"):
            return NOT_FOUND
        if method not in (b"GET", b"HEAD"):
            return NOT_ALLOWED
        if path == "/metrics":
            return await self._metrics()
        wrong = self._board.stuck(self._clock()) if path == "/healthz" else self._board.unready()
        return Page(503, "".join(f"{line}\n" for line in wrong).encode()) if wrong else Page(200, b"ok\n")

    async def _metrics(self) -> Page:
        async with self._making:
            now: float = anyio.current_time()
            at, page = self._made
            if now - at >= KEPT:
                page = Page(200, await to_thread.run_sync(self._board.text, abandon_on_cancel=True), TEXT)
                self._made = (anyio.current_time(), page)
            return page


async def _request(connection: h11.Connection, stream: SocketStream) -> h11.Request | None:
    """The request, without its body; None if the client left before there was one. Raises h11.RemoteProtocolError."""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            return event
        if event is h11.NEED_DATA:
            try:
                connection.receive_data(await stream.receive(4096))
            except anyio.EndOfStream:
                connection.receive_data(b"")
        else:
            return None
