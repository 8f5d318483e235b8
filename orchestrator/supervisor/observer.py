"""Events of every node in, one picture of the cluster out. It changes nothing, and decides nothing but when to look.

    observer = Observer(remote, goal, clock=wall_clock)
    await observer.run(tell)            # tell(Picture), whenever something has changed

What DRBD pushes is folded at once. What else a node says only means that it has to be looked at: a machine moves by what was
seen. A broken stream means a look, too; until it is there the node's facts are not fresh.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import anyio
from anyio.abc import TaskGroup
from attrs import define, field

from orchestrator.errors import LeaseHeldError
from orchestrator.lease import is_dead
from orchestrator.remote import Remote
from orchestrator.supervisor import counts
from orchestrator.supervisor.follower import NOBODY, Follower, Wish
from orchestrator.supervisor.intake import Glanced, Intake, Looked, Message
from orchestrator.supervisor.logged import Heard
from orchestrator.supervisor.looks import Looks
from orchestrator.supervisor.pushed import Pushed
from orchestrator.supervisor.said import UNREADABLE, Beat, Following, Gap, Leased, Logged, Marked, Stirred, WatchedBy
from orchestrator.supervisor.story import Story
from states.evolve import evolve
from states.facts import ClusterFacts, NodeFacts
from states.goal import Goal, Ledger
from states.pair import Pair
from states.picture import Load, Picture
from states.resource import classify
from states.vocabulary import Layer, Node, Resource

SETTLE = 0.2
"""Seconds from an event to the look it asks for: events come in bursts."""
STIR = 0.05
"""Seconds from a daemon's death, a mount's end and the like to the look."""
CHATTER = 2.0
"""Seconds between looks for no other reason than that logs say something."""
COUNT = 2.0
"""Seconds without a counter after which one is fetched, while blocks are copied."""
TICK = 1.0
"""Seconds between two thoughts while something is copied, or only half seen: time itself may be the news."""
UNSETTLED_LAYER = frozenset({Layer.STARTING, Layer.STOPPING, Layer.HUNG, Layer.UNKNOWN})
UNSETTLED = frozenset({Resource.UNKNOWN, Resource.SUSPECT, Resource.CONNECTING, Resource.SYNC_STALLED})
COPYING = frozenset({Resource.SYNCING, Resource.SYNC_STALLED})


def _no_journal(**record: Any) -> None:
    """Where nobody keeps one."""


@define(eq=False)
class Observer:
    """Watches one cluster. `holder`: NOBODY only looks and needs no leave; else who supervises, one at a time. `clock`: seconds
    since the epoch. `write` takes notes for the journal. `ledger`: what earlier runs knew; kept up to date."""

    remote: Remote
    goal: Goal
    clock: Callable[[], float]
    holder: str = NOBODY
    write: Callable[..., None] = _no_journal
    ledger: Ledger = field(factory=Ledger)
    is_dead: Callable[[str], bool] = is_dead
    counts: dict[str, int] = field(factory=lambda: dict.fromkeys(counts.ALL, 0))
    watchers: dict[str, str] = field(factory=dict)
    """Nodes that another supervisor watches, and who it is."""
    _intake: Intake = field(factory=Intake)
    _heard: Heard = field(factory=Heard)
    _loads: dict[str, Load] = field(factory=dict)
    _leases: dict[str, str] = field(factory=dict)
    _marks: dict[str, str] = field(factory=dict)
    _followed: set[str] = field(factory=set)
    _looked: set[str] = field(factory=set)
    _doubted: dict[str, float] = field(factory=dict)
    _counted: float = -math.inf
    _measured: float = -math.inf
    _whole: bool = False
    _looks: Looks = field(init=False)
    _pushed: Pushed = field(init=False)
    _story: Story = field(init=False)

    def __attrs_post_init__(self) -> None:
        config = self.remote.config
        self._looks = Looks(config.supervise.look_every)
        self._pushed = Pushed({section.minor: name for name, section in config.resource.items()})
        self._pushed.sight.facts = ClusterFacts(tuple(unseen(name, "not looked at yet") for name in config.names))
        self._story = Story(self.goal, self.write, self.clock, self._heard.lately, lambda: any(self._leases.values()), counts=self.counts)

    @property
    def facts(self) -> ClusterFacts:
        """What is known now."""
        return self._pushed.sight.facts

    def look(self, *nodes: str) -> None:
        """Look at these nodes as soon as can be; at all of them if none is named."""
        for node in nodes or self.remote.config.names:
            self._looks.want(node)

    async def run(self, tell: Callable[[Picture], None]) -> None:
        """Until it is cancelled. `tell` gets the first picture when every node was looked at, and may not wait.

        Raises LeaseHeldError when another supervisor watches this cluster.
        """
        held: LeaseHeldError | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(self._begin, group)
            try:
                await self._turns(group, tell)
            except LeaseHeldError as error:  # carried out of the group whole, not as a group of one
                held = error
            group.cancel_scope.cancel()
        if held is not None:
            raise held

    async def _begin(self, group: TaskGroup) -> None:
        """A follower for every node, one after the other: of two supervisors that begin at once, one is first everywhere."""
        for node in self.remote.config.names:
            follower = Follower(self.remote.transport, node, self._wish(node), self._intake, self.is_dead)
            group.start_soon(follower.run)
            if self.holder != NOBODY:
                await follower.first.wait()

    def _wish(self, node: str) -> Wish:
        services = self.remote.services(node)
        return Wish(self.holder, self.remote.config.supervise.sweep, services, services)

    # -- the loop ----------------------------------------------------------------------------------------------------------

    async def _turns(self, group: TaskGroup, tell: Callable[[Picture], None]) -> None:
        while True:
            for node in self._looks.ready():
                group.start_soon(self._look, node)
            with anyio.move_on_at(min(self._looks.next, anyio.current_time() + self._pause())):
                await self._intake.wait()
            for message in self._intake.take():
                self._take(message)
            self._whole = self._whole or self._looked >= set(self.remote.config.names)
            if self._whole:
                self._classify(group)
                tell(self.picture())

    def _pause(self) -> float:
        """Seconds until time itself may be the news."""
        hazy = any(not node.fresh for node in self.facts.nodes)
        return TICK if hazy or self._copying() else math.inf

    def _copying(self) -> tuple[str, ...]:
        return tuple(wanted.name for wanted in self.goal.resources if self._state(wanted.name) in COPYING)

    def _state(self, resource: str) -> Resource:
        wanted = next(one for one in self.goal.resources if one.name == resource)
        return classify(Pair.of(self.facts, wanted, self.ledger))

    def _classify(self, group: TaskGroup) -> None:
        moves = self._story.counts[counts.MOVES]
        self._story.observe(self.facts, self.ledger)
        if self._story.counts[counts.MOVES] != moves:
            for node in self.remote.config.names:
                self._looks.moved(node)
        self._measure(group)

    def _measure(self, group: TaskGroup) -> None:
        """How each resync gets on. DRBD 9 pushes no counters while it copies: they are fetched, from one side, for both count the same."""
        now, copying = anyio.current_time(), self._copying()
        if self._counted > self._measured or now - self._measured >= TICK:
            self._measured = now
            stalled = self._story.measure(self.ledger)
            if stalled != self.ledger.stalled:
                self.ledger = evolve(self.ledger, stalled=stalled)
        if copying and now - self._counted > COUNT:
            self._counted = now
            wanted = next(one for one in self.goal.resources if one.name == copying[0])
            for node in [name for name in wanted.nodes if name in self._followed][:1]:
                self.counts[counts.GLANCES] += 1
                group.start_soon(self._glance, node)

    # -- what comes in -----------------------------------------------------------------------------------------------------

    def _take(self, message: Message) -> None:
        if isinstance(message, Looked):
            self._take_look(message)
        elif isinstance(message, Glanced):
            self._pushed.glanced(message.facts)
            self._counted = anyio.current_time()
        elif isinstance(message, Gap):
            self._take_gap(message)
        else:
            self.counts[counts.LINES] += 1
            if isinstance(message, Following):
                self._begin_node(message)
            elif isinstance(message, Beat):
                self._loads[message.node] = self._load(message)
            elif isinstance(message, WatchedBy):
                self._take_watched(message)
            elif isinstance(message, Leased):
                self._take_lease(message)
            elif isinstance(message, Marked):
                if self._marks.get(message.node, message.text) != message.text:
                    self._looks.want(message.node, STIR)
                self._marks[message.node] = message.text
            elif isinstance(message, Stirred | Logged):
                self._take_stir(message)
            else:
                self._take_pushed(message)

    def _take_look(self, message: Looked) -> None:
        name = message.answer.facts.name
        self.counts[counts.LOOKS] += 1
        before = self.facts.node(name)
        self._pushed.sight.look(message.answer, message.asked_at)
        self._looked.add(name)
        if self._doubted.get(name, -math.inf) >= message.asked_at:
            self._doubt(name)  # it was seen before what made us doubt
        for resource, side in self.facts.node(name).sides:
            old = before.side(resource).identifiers
            if old is not None and side.identifiers != old:
                self._doubt_peer(resource, name)
        self._looks.came(name, settled=self._settled(self.facts.node(name)))

    def _doubt_peer(self, resource: str, node: str) -> None:
        """One side's identifiers moved: the other's, as last seen, are of another time. Compared, they would show what never was."""
        wanted = next((one for one in self.goal.resources if one.name == resource), None)
        for peer in wanted.nodes if wanted is not None else ():
            if peer != node and self.facts.node(peer).reachable:
                self._doubted[peer] = anyio.current_time()
                self._doubt(peer)

    def _doubt(self, node: str) -> None:
        seen = self.facts.node(node)
        sides = tuple((name, evolve(side, identifiers=None)) for name, side in seen.sides)
        self._pushed.sight.facts = self.facts.replace(evolve(seen, sides=sides, fresh=False))
        self._looks.want(node, SETTLE)

    def _settled(self, node: NodeFacts) -> bool:
        """Nothing is under way there that announces nothing. Where no follower gets through, its next attempt says when to look."""
        if not node.reachable:
            return node.name not in self._followed
        placed = self.goal.stack.layers if self.goal.stack is not None else ()
        layers = any(node.layer(one.name).state in UNSETTLED_LAYER for one in placed if node.name in one.nodes)
        pairs = any(self._state(one.name) in UNSETTLED for one in self.goal.resources if node.name in one.nodes)
        return node.fresh and not layers and not pairs

    def _take_gap(self, gap: Gap) -> None:
        """What was seen before is no ground to act on. A node that cannot be reached has been looked at, in a way."""
        self.counts[counts.GAPS] += 1
        self.counts[counts.OVERFLOWS] += gap.overflow
        self._followed.discard(gap.node)
        self._pushed.broke(gap.node)
        if gap.unreachable:
            was_seen = self.facts.node(gap.node).reachable
            self._leases.pop(gap.node, None)  # nobody knows who acts there
            self._pushed.sight.facts = self.facts.replace(unseen(gap.node, gap.why))
            self._looked.add(gap.node)
            self._looks.forget(gap.node)
            others = [node for node in self.remote.config.names if node != gap.node and was_seen]
            for node in others:  # does it know that one to be off? Later its follower tells
                self._looks.want(node, SETTLE)
        else:
            self._looks.want(gap.node)

    def _begin_node(self, message: Following) -> None:
        self.watchers.pop(message.node, None)
        self._followed.add(message.node)
        self._pushed.began(message.node)
        self._loads[message.node] = Load(message.node, cores=message.cores)
        self._looks.want(message.node)

    def _load(self, beat: Beat) -> Load:
        before = self._loads.get(beat.node, Load(beat.node))
        return evolve(before, averages=beat.averages, sessions=beat.sessions)

    def _take_watched(self, message: WatchedBy) -> None:
        """At the start we are refused; later it was a node's reboot that let another one in, which is refused elsewhere."""
        self.watchers[message.node] = message.holder
        if self.holder != NOBODY and not self._whole:
            raise LeaseHeldError(f"another supervisor ({message.holder}) watches {message.node} already")

    def _take_lease(self, message: Leased) -> None:
        before = self._leases.get(message.node, "")
        self._leases[message.node] = message.holder
        if before and not message.holder:  # what it did is seen from here on
            self._looks.want(message.node)

    def _take_stir(self, message: Stirred | Logged) -> None:
        if isinstance(message, Logged):
            self.counts[counts.LOGGED] += 1
            self._heard.take(message)
        if isinstance(message, Logged) or message.what == UNREADABLE:
            self._looks.want(message.node, SETTLE, CHATTER)  # it may say the same again and again
        else:
            self._looks.want(message.node, STIR)

    def _take_pushed(self, message: Any) -> None:
        """What DRBD says. Where it leaves something open, both sides are looked at: a pair is what they are together."""
        self.counts[counts.EVENTS] += 1
        told = self._pushed.take(message)
        if told.counted:
            self._counted = anyio.current_time()
        if told.moved:
            self._looks.moved(message.node)
            self._looks.want(message.node, SETTLE)
        if told.rotated:
            self._doubt_peer(told.resource, message.node)

    # -- looking -----------------------------------------------------------------------------------------------------------

    async def _look(self, node: str) -> None:
        asked = anyio.current_time()
        self._intake.answer(Looked(await self.remote.look(node), asked))

    async def _glance(self, node: str) -> None:
        self._intake.answer(Glanced(await self.remote.glance(self.facts.node(node))))

    def picture(self) -> Picture:
        """What is known now, for everybody else."""
        return Picture(
            self.remote.config.cluster.name, self.clock(), self.goal, self.facts, self._story.machines, tuple(self._story.moves),
            progress=self._story.resyncs, counts=dict(self.counts), loads=tuple(self._loads.values()),
            leases=tuple(self._leases.items()), marks=tuple(self._marks.items()), followed=frozenset(self._followed),
            stamps=tuple(self._pushed.stamps.items()),
        )


def unseen(name: str, why: str) -> NodeFacts:
    """A node of which nothing is known."""
    return NodeFacts(name, Node.UNREACHABLE, -math.inf, why)
