"""The one place that touches `transitions`: it judges single moves, synchronously, and does no work of its own.

Used as the measurements taught: no model decoration, no auto transitions, no callbacks (a failed callback would leave
the model saying Primary), Enum states, and the triggered event's own verdict instead of a return value.
"""

from __future__ import annotations

from enum import Enum
from functools import cache
from typing import Any

from transitions import Machine, MachineError

from states import layer, node, recovery, resource
from states.table import Row
from states.vocabulary import By, Layer, Node, Recovery, Resource

TABLES: dict[type[Enum], tuple[Row, ...]] = {
    Resource: resource.TABLE, Recovery: recovery.TABLE, Layer: layer.TABLE, Node: node.TABLE,
}


class UnlawfulMoveError(Exception):
    """A machine was asked for a move its table does not have."""

    def __init__(self, state: Enum, event: str) -> None:
        super().__init__(f"{type(state).__name__} has no event {event!r} in state {state.value}")
        self.state = state
        self.event = event


class _Holder:
    """What `transitions` moves: a state and nothing else."""

    __slots__ = ("state",)

    def __init__(self, state: Enum) -> None:
        self.state = state


@cache
def _machine(states: type[Enum]) -> Any:
    rows = [{"trigger": row.event, "source": row.source, "dest": row.target} for row in TABLES[states]]
    return Machine(
        model=None, states=states, transitions=rows, initial=next(iter(states)), auto_transitions=False, send_event=True
    )


def advance(state: Enum, event: str) -> Enum:
    """Where `event` leads from `state`. Raises UnlawfulMoveError if the table has no such row."""
    holder = _Holder(state)
    machine = _machine(type(state))
    if event not in machine.events:
        raise UnlawfulMoveError(state, event)
    try:
        machine.events[event].trigger(holder)
    except MachineError as error:
        raise UnlawfulMoveError(state, event) from error
    return holder.state


def lawful(before: Enum, after: Enum, *, by_us: bool = True) -> str | None:
    """The event that explains a move that was seen; "" if nothing moved, None if no row of the table does. Not `by_us`: nobody is
    known to act, so a row that the world takes explains it better, where there is one."""
    if before is after:
        return ""
    rows = [row for row in TABLES[type(before)] if row.source is before and row.target is after]
    unasked = [row for row in rows if row.by is not By.US]
    found = rows if by_us else unasked or rows
    return found[0].event if found else None
