"""When each node is looked at: not twice at once, not too often, and never not at all."""

from __future__ import annotations

import math

import anyio
from attrs import define, field

AGAIN = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds until a node is looked at again on which something is under way that announces nothing; each time longer."""
SPACING = 0.3
"""Seconds between the end of a look and the beginning of the next, whatever happens meanwhile."""


@define
class Looks:
    """The timetable. `every`: seconds between looks at a node on which nothing happens."""

    every: float
    _due: dict[str, float] = field(factory=dict)
    _ended: dict[str, float] = field(factory=dict)
    _under_way: set[str] = field(factory=set)
    _times: dict[str, int] = field(factory=dict)

    def want(self, node: str, within: float = 0.0, spacing: float = SPACING) -> None:
        """A look at this node is to begin within so many seconds, though not sooner than `spacing` after the end of the last."""
        at = max(anyio.current_time() + within, self._ended.get(node, -math.inf) + spacing)
        self._due[node] = min(self._due.get(node, math.inf), at)

    def ready(self) -> tuple[str, ...]:
        """Nodes whose time has come; they count as being looked at from now on."""
        now = anyio.current_time()
        found = tuple(node for node, at in self._due.items() if at <= now and node not in self._under_way)
        for node in found:
            del self._due[node]
        self._under_way.update(found)
        return found

    def came(self, node: str, *, settled: bool) -> None:
        """A look has ended. Not `settled`: something there is on its way, and will not say when it has arrived."""
        self._under_way.discard(node)
        self._ended[node] = anyio.current_time()
        times = self._times[node] = 0 if settled else self._times.get(node, -1) + 1
        self.want(node, self.every if settled else AGAIN[min(times, len(AGAIN) - 1)])

    def moved(self, node: str) -> None:
        """Something has moved there: it is looked at soon again, if need be."""
        self._times.pop(node, None)

    def forget(self, node: str) -> None:
        """It cannot be reached: nobody asks it until it can."""
        self._due.pop(node, None)

    @property
    def next(self) -> float:
        """When the next one is due."""
        return min((at for node, at in self._due.items() if node not in self._under_way), default=math.inf)
