"""What DRBD says of itself through a follower, folded into the facts: its events, and where there are none, /proc/drbd."""

from __future__ import annotations

from attrs import define, field, frozen

from orchestrator.probes.events2 import Event, apply
from orchestrator.probes.proc_events import counter_event, state_events
from orchestrator.sight import TOLD, Sight
from orchestrator.streams import EventLine
from orchestrator.supervisor.said import DrbdSeen
from states.evolve import evolve
from states.facts import NodeFacts


@frozen
class Told:
    """What a line was about. `moved`: a state has changed; `counted`: a counter came; `rotated`: identifiers are to be read again."""

    resource: str = ""
    moved: bool = False
    counted: bool = False
    rotated: bool = False


@define
class Pushed:
    """`minors`: the resource of each. Nodes whose events2 speaks are told apart: of those, /proc/drbd only counts."""

    minors: dict[int, str]
    sight: Sight = field(factory=Sight)
    stamps: dict[str, str] = field(factory=dict)
    """Each node's own time of its newest event."""
    _speaking: set[str] = field(factory=set)
    _modules: dict[str, str] = field(factory=dict)

    def began(self, node: str) -> None:
        """A follower begins: it has not spoken yet."""
        self._speaking.discard(node)

    def broke(self, node: str) -> None:
        """A follower ended."""
        self._speaking.discard(node)
        self.sight.event(EventLine(node, None))

    def glanced(self, seen: NodeFacts) -> None:
        """Counters were fetched. What was pushed meanwhile is newer than what they say of states."""
        node = self.sight.facts.node(seen.name)
        for resource, side in seen.sides:
            if node.knows(resource) and side.out_of_sync is not None:
                node = node.with_side(resource, evolve(node.side(resource), out_of_sync=side.out_of_sync))
        self.sight.facts = self.sight.facts.replace(node)

    def take(self, said: EventLine | DrbdSeen) -> Told:
        """One line."""
        if isinstance(said, EventLine):
            self._speaking.add(said.node)
            if said.event is not None and said.event.at:
                self.stamps[said.node] = said.event.at
            return self._fold(said.node, said.event) if said.event is not None else Told()
        if said.minor is None:  # it comes with every counter: only what is new says something
            before, self._modules[said.node] = self._modules.get(said.node, ""), said.text
            return Told(moved=before not in ("", said.text))
        resource = self.minors.get(said.minor, "")
        if not resource:
            return Told()
        if said.node in self._speaking:
            event = counter_event(resource, said.text)
            return self._fold(said.node, event) if event is not None else Told()
        events = state_events(resource, said.minor, said.text)
        found = Told(resource, moved=not events)  # what cannot be read is not known, and looked at
        events = events or (Event("change", "connection", (("name", resource), ("connection", ""))),)
        for event in events:
            one = self._fold(said.node, event)
            found = Told(resource, found.moved or one.moved, found.counted or one.counted, found.rotated or one.rotated)
        return found

    def _fold(self, name: str, event: Event) -> Told:
        node = self.sight.facts.node(name)
        if not node.knows(event.resource):
            return Told()
        before = node.side(event.resource)
        after = apply(event, before)
        counted = event.get("out-of-sync") is not None
        moved = any(getattr(before, each) != getattr(after, each) for each in TOLD)
        rotated = before.identifiers is not None and after.identifiers is None
        if moved or rotated:
            self.sight.event(EventLine(name, event))
        elif after != before:  # a counter: the node is still as it was looked at
            self.sight.facts = self.sight.facts.replace(node.with_side(event.resource, after))
        return Told(event.resource, moved, counted, rotated)
