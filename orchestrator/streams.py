"""`drbdsetup events2` of every node, followed for as long as a run lasts, as messages for the engine.

A stream that ends is opened again with a growing pause; the gap is reported (event None), since what happened in it was
not seen.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import TaskGroup
from attrs import frozen

from orchestrator.commands import Command
from orchestrator.probes.events2 import Event, apply, parse_line
from orchestrator.remote import Remote
from states.facts import Side

ARGV = ("drbdsetup", "events2", "--timestamps", "--statistics")
PAUSES = (0.5, 1.0, 2.0, 5.0)
"""Seconds before a broken stream is opened again; the last one from then on."""


@frozen
class EventLine:
    """One pushed line of one node; None: the stream broke."""

    node: str
    event: Event | None

    def fold(self, side: Side) -> Side:
        """The side after this line."""
        return side if self.event is None else apply(self.event, side)


class Streams:
    """Follows each node once it is asked to; all of them end with the task group."""

    def __init__(self, remote: Remote, group: TaskGroup, tell: Callable[[EventLine], Awaitable[None]]) -> None:
        self._remote = remote
        self._group = group
        self._tell = tell
        self._followed: set[str] = set()

    def follow(self, nodes: tuple[str, ...]) -> None:
        """Start following those of these nodes that are not followed yet."""
        for node in nodes:
            if node not in self._followed:
                self._followed.add(node)
                self._group.start_soon(self._run, node)

    async def _run(self, node: str) -> None:
        failures = 0
        while True:
            async with self._remote.transport.follow(Command(node, ARGV)) as lines:
                async for line in lines:
                    event = parse_line(line)
                    if event is not None:
                        failures = 0
                        await self._tell(EventLine(node, event))
            await self._tell(EventLine(node, None))
            await anyio.sleep(PAUSES[min(failures, len(PAUSES) - 1)])
            failures += 1
