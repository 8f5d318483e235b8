"""A wire between a client and an sshd on this machine, that can hold answers back, lose them, break, and fall silent."""

from __future__ import annotations

import asyncio
import math
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from attrs import define, field

from fixtures.sshd import LOCALHOST

SIZE = 65536  # bytes read at once
NO_LINGER = struct.pack("ii", 1, 0)  # socket(7), SO_LINGER: on, 0 s. Closing then sends RST, not FIN


@define(eq=False)
class _Pair:
    """One connection: the client's side and the server's."""

    sides: list[asyncio.StreamWriter] = field(factory=list)
    deaf: bool = False

    def reset(self) -> None:
        for side in self.sides:
            sock = side.get_extra_info("socket")
            if sock.fileno() >= 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
                side.transport.abort()


class Relay:
    """TCP from `port` to the server's port. `held`: bytes that came from the server and are held back.

        async with Relay.to(server.port) as relay:
            ...relay.port...
    """

    def __init__(self, upstream: int) -> None:
        self.port = 0
        self.held = 0
        self._upstream = upstream
        self._pairs: list[_Pair] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._answering = asyncio.Event()
        self._speaking = asyncio.Event()
        self._answering.set()
        self._speaking.set()

    @classmethod
    @asynccontextmanager
    async def to(cls, upstream: int) -> AsyncIterator[Self]:
        """A relay that listens; everything it started has ended afterwards."""
        relay = cls(upstream)
        listener = await asyncio.start_server(relay._carry, LOCALHOST, 0)
        relay.port = listener.sockets[0].getsockname()[1]
        try:
            yield relay
        finally:
            listener.close()
            relay.reset()
            relay.speak()
            await asyncio.gather(*relay._tasks)
            await listener.wait_closed()

    def hold(self) -> None:
        """Keep back what the server says from now on; what the client says still passes."""
        self.held = 0
        self._answering.clear()

    def release(self) -> None:
        """Pass on what was held back."""
        self._answering.set()

    def lose(self) -> None:
        """The server's words on the connections there are now never arrive, the held ones neither; an end still does."""
        for pair in self._pairs:
            pair.deaf = True
        self.release()

    def fall_silent(self) -> None:
        """Pass nothing on in either direction, and say so to nobody. New connections are taken, and are as silent."""
        self._speaking.clear()

    def speak(self) -> None:
        """The silence ends: what both sides said meanwhile arrives now, late, as TCP sends again what was not answered."""
        self._speaking.set()

    def reset(self) -> None:
        """RST to both ends of every connection there is now."""
        for pair in self._pairs:
            pair.reset()
        self.release()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        pair = _Pair([writer])
        self._tasks.add(task)
        self._pairs.append(pair)
        try:
            await self._speaking.wait()
            answers, server = await asyncio.open_connection(LOCALHOST, self._upstream)
            pair.sides.append(server)
            async with anyio.create_task_group() as both:
                for source, sink in ((reader, server), (answers, writer)):
                    said, heard = anyio.create_memory_object_stream[bytes](math.inf)
                    both.start_soon(self._listen, pair, source, said, sink is writer)
                    both.start_soon(self._pass_on, pair, sink, heard, sink is writer)
        except ConnectionRefusedError:
            pair.reset()
        finally:
            self._tasks.discard(task)
            self._pairs.remove(pair)
            for side in pair.sides:
                side.close()

    async def _listen(self, pair: _Pair, source: asyncio.StreamReader, said: MemoryObjectSendStream[bytes], answers: bool) -> None:
        async with said:
            try:
                while data := await source.read(SIZE):
                    if answers and not self._answering.is_set():
                        self.held += len(data)
                    await said.send(data)
            except (OSError, anyio.BrokenResourceError):  # one end broke: so does the other
                pair.reset()

    async def _pass_on(self, pair: _Pair, sink: asyncio.StreamWriter, heard: MemoryObjectReceiveStream[bytes], answers: bool) -> None:
        async with heard:
            try:
                async for data in heard:
                    await self._may_pass(answers)
                    if not (answers and pair.deaf):
                        sink.write(data)
                        await sink.drain()
                await self._may_pass(answers)
                sink.write_eof()
            except OSError:
                pair.reset()

    async def _may_pass(self, answers: bool) -> None:
        if answers:
            await self._answering.wait()
        await self._speaking.wait()
