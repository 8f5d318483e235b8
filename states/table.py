"""What a row of a state table says, and the paths through a table. Every machine in this package is a tuple of rows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from functools import cache
from typing import Any

from attrs import frozen

from states.goal import Direction, Do
from states.vocabulary import By


class On(Enum):
    """Which nodes a row's step goes to."""

    EACH = "each node that lacks it"    # a node takes it alone, judged by its own side's state
    LACKING = "the sides not trying"    # for the pair: every side that does not try to connect yet
    ONE = "one chosen node"
    OTHER = "the node that is not Primary"
    PRIMARIES = "every Primary"
    VICTIM = "the victim of a split brain"
    SURVIVOR = "the side whose data stays"
    NOBODY = "nobody"                   # the world moves


@frozen(eq=False)  # a row is itself: tables are looked up by their rows, often
class Row:
    """From `source`, `event` leads to `target`; `by` says who causes it.

    `step` is what we send when it is us. `when` picks between rows of one source (it never refuses); `rules` name the
    invariants that may refuse. `way`: the row belongs to going up or to going down only. `layers` must be Up on the
    step's node first. `deadline` (seconds) bounds an awaited row.
    """

    event: str
    source: Enum
    target: Enum
    by: By
    step: Do | None = None
    on: On = On.NOBODY
    when: Callable[[Any], bool] | None = None
    rules: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    deadline: float | None = None
    because: str = ""
    way: Direction | None = None

    def holds(self, view: object) -> bool:
        """This row is the one to take, as far as `view` shows."""
        return self.when is None or self.when(view)


@cache
def distances(table: tuple[Row, ...], goal: Enum, way: Direction) -> dict[Enum, int]:
    """How many rows lie between each state and `goal`, over rows that may be planned on. Unreachable states are absent."""
    back: dict[Enum, list[Enum]] = {}
    for row in table:
        if row.by is not By.FEARED and row.way in (None, way):
            back.setdefault(row.target, []).append(row.source)
    found = {goal: 0}
    queue = deque([goal])
    while queue:
        state = queue.popleft()
        for source in back.get(state, ()):
            if source not in found:
                found[source] = found[state] + 1
                queue.append(source)
    return found


def towards(table: tuple[Row, ...], state: Enum, goal: Enum, way: Direction, view: object, rows: tuple[Row, ...] = ()) -> Row | None:
    """The row to take next from `state` towards `goal`: of those that hold, the one whose target is nearest.

    A row that leads back to its own state (it changes what its `when` asks) is taken before any other.
    """
    return next((row for row in _ways(table, state, goal, way, rows or table) if row.holds(view)), None)


@cache
def _ways(table: tuple[Row, ...], state: Enum, goal: Enum, way: Direction, rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Those of `rows` that lead from `state` to `goal`, the best first."""
    far = distances(table, goal, way)
    found = [row for row in rows if row.source is state and row.by is not By.FEARED and row.way in (None, way) and row.target in far]
    return tuple(sorted(found, key=lambda row: (row.target is not state, far[row.target])))
