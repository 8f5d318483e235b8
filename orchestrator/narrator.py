"""What a run tells of the machines it watches: every move, with the row that explains it, and how a resync gets on."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum
from typing import Any

import anyio

from orchestrator.watch import Watch
from states.facts import ClusterFacts
from states.goal import Goal, Ledger, Wanted
from states.machines import lawful
from states.pair import Pair
from states.progress import Progress
from states.resource import HEALTHY, classify
from states.vocabulary import Layer, Resource

HASTE = 5
"""How many times less patient one is where the last that was told is certainly wrong."""


class Narrator:
    """Journals and narrates. `write` adds a record to the journal.

    A run looks again at once at what it has half seen, and tells what that shows. `patience`: seconds after which "unknown" is
    told all the same; then, too, of the layers of a node that cannot be seen. For who watches and does not run.
    """

    def __init__(self, goal: Goal, watch: Watch, write: Callable[..., None], patience: float = math.inf) -> None:
        self._goal = goal
        self._watch = watch
        self._write = write
        self._patience = patience
        self._half_seen: dict[str, float] = {}
        self._states: dict[str, Enum] = {}
        self._known: dict[tuple[str, str], str] = {}
        self.progress: dict[str, Progress] = {}

    def observe(self, facts: ClusterFacts, ledger: Ledger) -> None:
        """Tell every move of a machine, and say when its table does not know it."""
        for wanted in self._goal.resources:
            pair = Pair.of(facts, wanted, ledger)
            state = classify(pair)
            fresh = all(facts.node(name).fresh for name in wanted.nodes)
            wrong = not pair.met and self._states.get(wanted.name) in HEALTHY
            if not self._is_half_seen(wanted.name, known=state is not Resource.UNKNOWN, fresh=fresh, wrong=wrong):
                self._tell(wanted.name, state)
        for placed in self._goal.stack.layers if self._goal.stack is not None else ():
            for name in placed.nodes:
                node, machine = facts.node(name), f"{placed.name} on {name}"
                state_there = node.layer(placed.name).state
                told = node.reachable or (self._patience < math.inf and machine in self._states)
                if told and not self._is_half_seen(machine, known=state_there is not Layer.UNKNOWN, fresh=node.fresh):
                    self._tell(machine, state_there)
        self._remember(facts)

    def _is_half_seen(self, machine: str, *, known: bool, fresh: bool, wrong: bool = False) -> bool:
        """Something has happened since the last look, and nobody has been patient for too long. `wrong`: what was told last is
        certainly no longer so."""
        if known or fresh:
            self._half_seen.pop(machine, None)
            return False
        now: float = anyio.current_time()
        return now - self._half_seen.setdefault(machine, now) < (self._patience / HASTE if wrong else self._patience)

    def _remember(self, facts: ClusterFacts) -> None:
        """The newest identifiers of every side are kept: a node that was away must not serve older data alone one day."""
        for wanted in self._goal.resources:
            for name in wanted.nodes:
                found = facts.node(name).side(wanted.name).identifiers
                if found is None or not facts.node(name).fresh:
                    continue
                text = str(found)
                if self._known.get((wanted.name, name)) != text:
                    self._known[wanted.name, name] = text
                    self._write(kind="known", resource=wanted.name, node=name, identifiers=text)

    def _tell(self, machine: str, state: Enum) -> None:
        before = self._states.get(machine)
        if state is before:
            return
        self._states[machine] = state
        event = lawful(before, state) if before is not None else "seen"
        self._write(kind="moved", resource=machine, **{"from": before.value if before else ""}, to=state.value, event=event or "",
                    surprise=event is None)
        self._watch.moved(machine, before, state, surprise=event is None)

    def measure(self, facts: ClusterFacts, ledger: Ledger) -> frozenset[str]:
        """Take in every resync's counters. Returns the resources where nothing was copied for too long."""
        now: float = anyio.current_time()
        stalled = set()
        for wanted in self._goal.resources:
            pair = Pair.of(facts, wanted, ledger)
            if classify(pair) not in (Resource.SYNCING, Resource.SYNC_STALLED):
                self.progress.pop(wanted.name, None)
                continue
            size = max((side.size or 0 for side in pair.sides), default=0)
            progress = self.progress.get(wanted.name, Progress()).seen(now, _newest_count(facts, wanted), size)
            self.progress[wanted.name] = progress
            self._watch.progress(wanted.name, progress)
            if progress.still_for(now) > wanted.stall_after:
                stalled.add(wanted.name)
        return frozenset(stalled)


def _newest_count(facts: ClusterFacts, wanted: Wanted) -> int:
    """KiB out of sync as the node that was seen last counts them: both count the same blocks, and only one is asked."""
    nodes = [facts.node(name) for name in wanted.nodes]
    known: list[tuple[float, Any]] = [(node.seen_at, node.side(wanted.name).out_of_sync) for node in nodes]
    return int(max(((at, left) for at, left in known if left is not None), default=(0.0, 0))[1])
