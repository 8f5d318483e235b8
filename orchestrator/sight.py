"""The facts of a run, as looks, pushed events and counters come in. Nothing is decided here.

A look and the events that came while it was under way are put together so that neither can hide the other.
"""

from __future__ import annotations

import math

import anyio
from attrs import define, field

from orchestrator.polling import is_silent
from orchestrator.remote import Answer, Remote
from orchestrator.streams import EventLine
from states.evolve import evolve
from states.facts import ClusterFacts, NodeFacts, Side
from states.vocabulary import Contents, Layer, Metadata

FRESH = 30.0
"""Seconds after which what was seen of a node is no ground to act on."""
MOST_RECENT = 1000
"""Events of a node that are kept at least, to be put together with a look that is under way."""
TOLD = ("configured", "role", "disk", "connection", "replication", "peer_role", "peer_disk", "suspended")
"""What events tell of a side, counters apart."""


@define
class Sight:
    """Newest facts of every node, and its firewall's rules as last read."""

    facts: ClusterFacts = field(factory=ClusterFacts)
    firewalls: dict[str, str] = field(factory=dict)
    authkey: str = field(default="", repr=False)  # the cluster's, as any node has it: a secret, so it is no fact
    _recent: dict[str, list[tuple[float, EventLine]]] = field(factory=dict)
    _began: dict[str, tuple[str, float]] = field(factory=dict)  # of each node's newest look: boot id, and its uptime then, seconds

    def start(self, answers: dict[str, Answer]) -> None:
        """The first look at every node."""
        self.facts = ClusterFacts(tuple(answer.facts for answer in answers.values()))
        for answer in answers.values():
            self.firewalls[answer.facts.name] = answer.firewall
            self.authkey = self.authkey or answer.authkey
            self._began[answer.facts.name] = (answer.facts.boot_id, answer.began)

    @property
    def loaded(self) -> tuple[str, ...]:
        """Nodes whose kernel has DRBD and tells what happens to it: 8.3 has no events2."""
        return tuple(node.name for node in self.facts.nodes if node.layer("module").state is Layer.UP and not is_silent(node))

    def event(self, line: EventLine) -> None:
        """One pushed line."""
        if line.event is None:  # the stream broke: what it said before is no help in reading a look, nor a ground to act on
            self._recent[line.node] = []
            self.facts = self.facts.replace(evolve(self.facts.node(line.node), fresh=False, seen_at=-math.inf))
            return
        now = anyio.current_time()
        recent = self._recent.setdefault(line.node, [])
        recent.append((now, line))
        if len(recent) > 2 * MOST_RECENT:
            del recent[:MOST_RECENT]
        self._fold(line, now)

    def _fold(self, line: EventLine, now: float) -> None:
        node, resource = self.facts.node(line.node), line.event.resource if line.event is not None else ""
        if node.knows(resource):
            side = line.fold(node.side(resource))
            self.facts = self.facts.replace(node.with_side(resource, side, fresh=False, seen_at=now))

    def look(self, answer: Answer, asked_at: float) -> None:
        """A fresh look replaces a node's facts; events that came since it was asked for are folded in again.

        If that changes nothing, the look has seen all of them, and is the newest there is.
        """
        name = answer.facts.name
        if self._overtaken(answer):
            return
        if answer.facts.reachable:
            self._began[name] = (answer.facts.boot_id, answer.began)
        seen = _remembered(self.facts.node(name), answer.facts)
        self.firewalls[name] = answer.firewall
        self.authkey = self.authkey or answer.authkey
        self.facts = self.facts.replace(seen)
        self._recent[name] = [(at, line) for at, line in self._recent.get(name, []) if at >= asked_at]
        if self._recent[name]:
            now = anyio.current_time()
            for _, line in self._recent[name]:
                self._fold(line, now)
        if all(_alike(side, self.facts.node(name).side(resource)) for resource, side in seen.sides):
            self.facts = self.facts.replace(seen)

    def _overtaken(self, answer: Answer) -> bool:
        """Another lane's look at this node began later and was here first: it saw what this one's steps did, and more."""
        boot_id, began = self._began.get(answer.facts.name, ("", 0.0))
        return answer.facts.reachable and answer.facts.boot_id == boot_id and answer.began < began

    async def glance(self, remote: Remote, name: str) -> None:
        """Read one node's counters."""
        seen = await remote.glance(self.facts.node(name))
        self.facts = self.facts.replace(evolve(seen, fresh=False))

    def not_blank(self, name: str) -> bool:
        """An unused or just created device of this node was not seen blank: a killed run's create-md may have been at it just then."""
        unproven = (Contents.UNKNOWN, Contents.DATA)
        return any(side.contents in unproven and _new(side) and _untouched(side) for _, side in self.facts.node(name).sides)

    def old(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Those of these nodes that nothing has been heard of for too long to act on it (rule fresh-facts)."""
        now = anyio.current_time()
        return tuple(name for name in names if now - self.facts.node(name).seen_at > FRESH)


def _remembered(before: NodeFacts, now: NodeFacts) -> NodeFacts:
    """What an unused or just created device holds was read by the run's first look; later looks do not read it again."""
    for resource, side in now.sides:
        # a look that falls into the middle of another step's work reads no identifiers: that is no reason to forget
        if side.contents is Contents.UNKNOWN and (_new(side) or side.identifiers is None) and _untouched(side):
            old = before.side(resource)
            now = now.with_side(resource, evolve(side, contents=old.contents, signature=side.signature or old.signature))
    return now


def _new(side: Side) -> bool:
    return side.metadata is Metadata.MISSING or (side.identifiers is not None and side.identifiers.just_created)


def _untouched(side: Side) -> bool:
    """Nobody was seen to use it: otherwise somebody may have written there since."""
    return not (side.touched or side.holders)


def _alike(one: Side, other: Side) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in TOLD)
