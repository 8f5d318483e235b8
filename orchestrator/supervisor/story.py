"""Every machine of a cluster as it was last seen, since when, and how it moved: with the row that explains it, or as a surprise."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum

from attrs import define, field

from orchestrator.narrator import Narrator
from orchestrator.supervisor.counts import MOVES, SURPRISES
from states.facts import ClusterFacts, NodeFacts, Side
from states.goal import Goal, Ledger, Step
from states.machines import lawful
from states.picture import MachineSeen, Move
from states.progress import Progress
from states.vocabulary import Node

KEPT = 100
"""Moves that a picture shows."""
PATIENCE = 5.0
"""Seconds for which what is half seen is told as it was before: a look is under way."""


@define(eq=False)
class Story:
    """Implements `orchestrator.watch.Watch` for its narrator. `clock`: seconds since the epoch. `heard`: what the logs of a node
    have said lately. `acting`: whether somebody acts on the cluster, so that a move may be a step of theirs."""

    goal: Goal
    write: Callable[..., None]
    clock: Callable[[], float]
    heard: Callable[[str], str]
    acting: Callable[[], bool]
    moves: deque[Move] = field(factory=lambda: deque(maxlen=KEPT))
    counts: dict[str, int] = field(factory=lambda: {MOVES: 0, SURPRISES: 0})
    _seen: dict[str, MachineSeen] = field(factory=dict)
    _facts: ClusterFacts = field(factory=ClusterFacts)
    _narrator: Narrator = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._narrator = Narrator(self.goal, self, self.write, PATIENCE)

    @property
    def machines(self) -> tuple[MachineSeen, ...]:
        """Every machine that was seen."""
        return tuple(self._seen.values())

    @property
    def resyncs(self) -> tuple[tuple[str, Progress], ...]:
        """How each resync gets on."""
        return tuple(self._narrator.progress.items())

    def observe(self, facts: ClusterFacts, ledger: Ledger) -> None:
        """Take in what is known now."""
        self._facts = facts
        for node in facts.nodes:
            for state in _way(self._state(node.name), node_state(node, facts)):
                before = self._state(node.name)
                if state is not before:
                    event = lawful(before, state) if before is not None else "seen"
                    self.write(kind="moved", resource=node.name, **{"from": before.value if before else ""}, to=state.value,
                               event=event or "", surprise=event is None)
                    self.moved(node.name, before, state, surprise=event is None)
        self._narrator.observe(facts, ledger)

    def measure(self, ledger: Ledger) -> frozenset[str]:
        """Take in the counters of every resync. Returns the resources where nothing was copied for too long."""
        return self._narrator.measure(self._facts, ledger)

    def _state(self, machine: str) -> Enum | None:
        seen = self._seen.get(machine)
        return None if seen is None else seen.state

    # -- Watch -------------------------------------------------------------------------------------------------------------

    def moved(self, machine: str, before: Enum | None, after: Enum, *, surprise: bool) -> None:
        """See Watch."""
        now = self.clock()
        self._seen[machine] = MachineSeen(machine, after, now)
        event = None if surprise else "seen" if before is None else lawful(before, after, by_us=self.acting())
        self.moves.append(Move(now, machine, before, after, event, self._evidence(machine)))
        if before is not None:
            self.counts[MOVES] += 1
            self.counts[SURPRISES] += surprise

    def step(self, step: Step) -> None:
        """See Watch. Whoever watches sends none."""

    def done(self, key: str, code: int, seconds: float) -> None:
        """See Watch."""

    def progress(self, resource: str, progress: Progress) -> None:
        """See Watch. The picture shows it."""

    def note(self, text: str) -> None:
        """See Watch."""

    def _evidence(self, machine: str) -> str:
        layer, _, place = machine.rpartition(" on ")
        if layer:
            node = self._facts.node(place)
            said = node.layer(layer).detail if node.reachable else f"{place} cannot be seen: {node.why}"
            return "; ".join(filter(None, (said, self.heard(place))))
        for wanted in self.goal.resources:
            if wanted.name == machine:
                sides = [side_words(self._facts.node(name), machine) for name in wanted.nodes]
                return "; ".join(filter(None, (*sides, *map(self.heard, wanted.nodes))))
        return self._facts.node(machine).why


def node_state(node: NodeFacts, facts: ClusterFacts) -> Node:
    """A node as those that can be seen know it: one that cannot be is Fenced when another knows it to be off."""
    if node.reachable:
        return Node.REACHABLE
    if node.name in facts.off:
        return Node.FENCED
    asked = {one.victim for other in facts.nodes if other.reachable for one in other.fencing}
    return Node.FENCING if node.name in asked else Node.UNREACHABLE


FENCE = (Node.REACHABLE, Node.UNREACHABLE, Node.FENCING, Node.FENCED)
"""How a node is lost; looks need not be there at every stage."""


def _way(before: Enum | None, after: Node) -> tuple[Node, ...]:
    """The states between, and `after`."""
    if not isinstance(before, Node) or FENCE.index(after) <= FENCE.index(before):
        return (after,)
    return FENCE[FENCE.index(before) + 1:FENCE.index(after) + 1]


def side_words(node: NodeFacts, resource: str) -> str:
    """One side in few words, as DRBD has them."""
    if not node.reachable:
        return f"{node.name}: cannot be seen ({node.why})"
    side: Side = node.side(resource)
    dirty = f", {side.out_of_sync} KiB out of sync" if side.out_of_sync else ""
    return (f"{node.name}: {side.role.value} {side.disk.value}, {side.connection.value} {side.replication.value}, "
            f"peer {side.peer_role.value} {side.peer_disk.value}{dirty}")
