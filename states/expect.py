"""What each step and each awaited event is expected to change. Only plans believe this; the engine believes looks."""

from __future__ import annotations

from collections.abc import Callable

from states.consent import Record
from states.evolve import evolve
from states.facts import ClaimFact, ClusterFacts, LayerFact, NodeFacts, Side
from states.goal import Do, Ledger, Step, Waiting, Wanted
from states.handshake import Verdict
from states.identifiers import JUST_CREATED, Flag, Identifiers
from states.pair import Pair
from states.stacks import Stack, spec
from states.vocabulary import ConnectionState, DiskState, Layer, Metadata, ReplicationState, Role

COPIES = frozenset({Verdict.BITMAP_SYNC, Verdict.FULL_SYNC, Verdict.REVERTED, Verdict.SPLIT_AUTO})
GOOD = frozenset({Flag.CONSISTENT, Flag.WAS_UP_TO_DATE})
FIRST = 0x1111_1111_1111_1110
"""Stands for "a new identifier" in expectations: only its being equal or not to another matters."""
SHOWS = {"active": "extended", "mount": "grown"}
"""A layer of a file system that, once it is up, lets another be seen."""


def _created(side: Side, peer: Side, wanted: Wanted) -> tuple[Side, Side]:
    fresh = Identifiers(JUST_CREATED, 0, (0, 0), frozenset())
    return evolve(side, metadata=Metadata.VALID, identifiers=fresh), peer


def _attached(side: Side, peer: Side, wanted: Wanted) -> tuple[Side, Side]:
    good = side.identifiers is not None and Flag.WAS_UP_TO_DATE in side.identifiers.flags
    return evolve(
        side, configured=True, role=side.role if side.configured else Role.SECONDARY,
        disk=DiskState.UP_TO_DATE if good else DiskState.INCONSISTENT,
        connection=ConnectionState.MISSING if not side.trying else side.connection, replication=ReplicationState.OFF,
        out_of_sync=side.out_of_sync or 0, metadata=Metadata.VALID,
    ), peer


def _connecting(side: Side, peer: Side, wanted: Wanted) -> tuple[Side, Side]:
    return evolve(side, connection=ConnectionState.CONNECTING, running=wanted.net, trouble=None, link=None), peer


def _forced(side: Side, peer: Side, wanted: Wanted) -> tuple[Side, Side]:
    ids = Identifiers(FIRST | 1, JUST_CREATED, (0, 0), GOOD)
    role = Role.PRIMARY if wanted.primaries else Role.SECONDARY
    left = side.size if side.size is not None else side.backing_size
    return (
        evolve(side, role=role, disk=DiskState.UP_TO_DATE, peer_disk=DiskState.INCONSISTENT,
               replication=ReplicationState.SYNC_SOURCE, identifiers=ids, out_of_sync=left),
        evolve(peer, replication=ReplicationState.SYNC_TARGET, peer_role=role, peer_disk=DiskState.UP_TO_DATE,
               identifiers=evolve(ids, bitmap=0, flags=frozenset()), out_of_sync=left),
    )


def _cleared(side: Side, peer: Side, wanted: Wanted) -> tuple[Side, Side]:
    ids = Identifiers(FIRST, 0, (0, 0), frozenset({Flag.CONSISTENT, Flag.WAS_UP_TO_DATE}))
    return _good(side, ids), _good(peer, ids)


def _good(side: Side, ids: Identifiers | None) -> Side:
    good = ids if ids is None else evolve(ids, flags=ids.flags | GOOD)
    return evolve(side, disk=DiskState.UP_TO_DATE, peer_disk=DiskState.UP_TO_DATE, identifiers=good, out_of_sync=0)


def _told(peer: Side, role: Role) -> Side:
    """Who is connected hears of it."""
    return evolve(peer, peer_role=role) if peer.connected else peer


def _promoted(side: Side, peer: Side, wanted: Wanted) -> tuple[Side, Side]:
    return evolve(side, role=Role.PRIMARY), _told(peer, Role.PRIMARY)


def _released(side: Side, peer: Side, wanted: Wanted) -> tuple[Side, Side]:
    return evolve(side, holders=(), touched=True), peer


def _distrusted(side: Side, peer: Side, wanted: Wanted) -> tuple[Side, Side]:
    ids = side.identifiers
    full = ids if ids is None else evolve(ids, flags=frozenset({Flag.FULL_SYNC}))
    return evolve(side, touched=False, mounted_behind=False, identifiers=full), peer


def _alone(side: Side, peer: Side, wanted: Wanted) -> tuple[Side, Side]:
    return evolve(side, role=Role.PRIMARY, disk=DiskState.UP_TO_DATE), peer


def _demoted(side: Side, peer: Side, wanted: Wanted) -> tuple[Side, Side]:
    ids = side.identifiers  # the mark of a Primary goes with the role: what is left of it would be that of a crash
    calm = ids if ids is None else evolve(ids, current=ids.current & ~1, flags=ids.flags - {Flag.PRIMARY})
    return evolve(side, role=Role.SECONDARY, identifiers=calm), _told(peer, Role.SECONDARY)


def _gone(side: Side, peer: Side, wanted: Wanted) -> tuple[Side, Side]:
    alone = evolve(peer, connection=ConnectionState.CONNECTING, replication=ReplicationState.OFF) if peer.connected else peer
    return _unloaded(side), alone


def _unloaded(side: Side) -> Side:
    """DRBD does not know the resource; its disk is as it was."""
    return Side(
        side.node, configured=False, disk=DiskState.DISKLESS, role=Role.SECONDARY, connection=ConnectionState.MISSING,
        replication=ReplicationState.OFF, metadata=Metadata.VALID, identifiers=side.identifiers,
        contents=side.contents, backing_size=side.backing_size,
    )


def _discarding(side: Side, peer: Side, wanted: Wanted) -> tuple[Side, Side]:
    return evolve(side, connection=ConnectionState.CONNECTING, running=wanted.net, trouble=None), peer


def _unmoved(side: Side, peer: Side, wanted: Wanted) -> tuple[Side, Side]:
    """Something was written down, or saved elsewhere."""
    return side, peer


EFFECTS: dict[Do, Callable[[Side, Side, Wanted], tuple[Side, Side]]] = {
    Do.CREATE_METADATA: _created,
    Do.ATTACH: _attached,
    Do.CONNECT: _connecting,
    Do.FORCE_PRIMARY: _forced,
    Do.CLEAR_BITMAP: _cleared,
    Do.PROMOTE: _promoted,
    Do.PROMOTE_ALONE: _alone,
    Do.RELEASE: _released,
    Do.DISTRUST: _distrusted,
    Do.DEMOTE: _demoted,
    Do.TAKE_DOWN: _gone,
    Do.RECORD_CONSENT: _unmoved,
    Do.SAVE: _unmoved,
    Do.RECORD_ARCHIVE: _unmoved,
    Do.DISCARD: _discarding,
    Do.FORGET: _unmoved,
    Do.VERIFY: _unmoved,
    Do.POWER_CYCLE: _unmoved,  # of the survivor, who has it done; the victim is looked at when it is back
}


def after_step(facts: ClusterFacts, step: Step, wanted: Wanted | None, stack: Stack | None = None) -> ClusterFacts:
    """The facts one step is expected to leave behind. `wanted`: the step's resource, None for the stack's own."""
    node = facts.node(step.node)
    if step.do in (Do.START_LAYER, Do.STOP_LAYER):
        state = Layer.UP if step.do is Do.START_LAYER else Layer.DOWN
        facts = _sizes(_file_system(facts, step), step)
        lacking = [node.name for node in facts.nodes if spec(step.layer).joint and node.layer(step.layer).state is Layer.DOWN]
        for name in (step.node, *lacking):  # what one does for all is seen by all
            facts = facts.replace(facts.node(name).with_layer(LayerFact(step.layer, state, "as expected")))
        return facts
    if wanted is None:
        raise ValueError(f"{step.key}: no resource is wanted for it")
    if step.do in (Do.PROMOTE, Do.PROMOTE_ALONE, Do.FORCE_PRIMARY) and stack is not None:
        node = _readable(node, step, stack)
    if step.do is Do.RELEASE and stack is not None:
        for placed in stack.layers:
            if placed.resource == step.resource and placed.spec.name == "active":
                node = node.with_layer(LayerFact(placed.name, Layer.DOWN, "as expected"))
    peer_node = facts.node(next(name for name in wanted.nodes if name != step.node))
    if step.do in (Do.RECORD_CONSENT, Do.RECORD_ARCHIVE, Do.FORGET):
        node = _recorded(node, step)
    if step.do is Do.DISCARD:
        node = evolve(node, claims=(*node.claims, ClaimFact(f"expected-{step.says}", step.do.value, step.resource, 0, running=False)))
    side, peer = EFFECTS[step.do](node.side(wanted.name), peer_node.side(wanted.name), wanted)
    return facts.replace(node.with_side(wanted.name, side)).replace(peer_node.with_side(wanted.name, peer))


def after_power_cycle(facts: ClusterFacts, name: str) -> ClusterFacts:
    """The facts a node leaves behind that was switched off and on: what ran is down, DRBD is not loaded, its disks and files are there."""
    node = facts.node(name)
    for fact in node.layers:
        node = node.with_layer(LayerFact(fact.name, _after_boot(fact), "as expected after a boot"))
    facts = facts.replace(evolve(node, boot_id="another", fencing=()))
    for resource, side in facts.node(name).sides:
        facts = facts.replace(facts.node(name).with_side(resource, _unloaded(side)))
    return facts


def _after_boot(fact: LayerFact) -> Layer:
    """Files are kept; what was made once cannot be read before DRBD is up."""
    layer = spec(fact.name)
    if layer.name == "module" or layer.stop:
        return Layer.DOWN
    return Layer.UNKNOWN if layer.once or layer.grows else fact.state


def _recorded(node: NodeFacts, step: Step) -> NodeFacts:
    """What is written down on the node of a recovery, or no longer."""
    others = tuple(record for record in node.recoveries if record.consent.resource != step.resource)
    return evolve(node, recoveries=others if step.do is Do.FORGET else (*others, Record.parse(step.resource, step.says)))


def _file_system(facts: ClusterFacts, step: Step) -> ClusterFacts:
    """A new volume is blank, for everybody; one that was there is expected to hold its file system, and can be read once active."""
    kind, _, name = step.layer.partition(" ")
    seen = {"lv": Layer.DOWN, "active": Layer.UP}.get(kind)
    layer = f"gfs2 {name}"
    if seen is None or step.do is not Do.START_LAYER or any(node.layer(layer).state is Layer.DOWN for node in facts.nodes):
        return facts
    for node in facts.nodes if seen is Layer.DOWN else (facts.node(step.node),):
        if layer in {fact.name for fact in node.layers} and node.layer(layer).state is Layer.UNKNOWN:
            facts = facts.replace(node.with_layer(LayerFact(layer, seen, "expected")))
    return facts


def _sizes(facts: ClusterFacts, step: Step) -> ClusterFacts:
    """What is active, or mounted, shows its size; it is expected to be the one another node shows, and else the one that is wanted."""
    kind, _, name = step.layer.partition(" ")
    layer = f"{SHOWS.get(kind, '')} {name}"
    node = facts.node(step.node)
    if step.do is not Do.START_LAYER or node.layer(layer).state is not Layer.UNKNOWN or layer not in {fact.name for fact in node.layers}:
        return facts
    shown = {one.layer(layer).state for one in facts.nodes}
    state = Layer.DOWN if Layer.DOWN in shown and Layer.UP not in shown else Layer.UP
    return facts.replace(node.with_layer(LayerFact(layer, state, "as expected")))


def _readable(node: NodeFacts, step: Step, stack: Stack) -> NodeFacts:
    """A device that becomes Primary can be read. What is made once and was not blank before is expected to be there."""
    for placed in stack.layers:
        if placed.resource == step.resource and placed.spec.once and node.layer(placed.name).state is Layer.UNKNOWN:
            node = node.with_layer(LayerFact(placed.name, Layer.UP, "expected: the device is not blank"))
    return node


def _met(side: Side, peer: Side, pair: Pair, at: int) -> Side:
    source = pair.prediction.source
    if source is None and pair.prediction.verdict in COPIES:
        source = 0  # chance decides, and it does not matter
    replication = {None: ReplicationState.ESTABLISHED, at: ReplicationState.SYNC_SOURCE}.get(source, ReplicationState.SYNC_TARGET)
    return evolve(
        side, connection=ConnectionState.CONNECTED, replication=replication, peer_role=peer.role, running=pair.wanted.net, link=None,
        disk=_disk_after(side, source, at), peer_disk=_disk_after(peer, source, 1 - at),
    )


def _disk_after(side: Side, source: int | None, at: int) -> DiskState:
    """The disk of the side at index `at` once the two have met and `source` is copied from."""
    if source is not None and source != at:
        return DiskState.INCONSISTENT
    return DiskState.UP_TO_DATE if side.disk is DiskState.CONSISTENT else side.disk


def after_event(facts: ClusterFacts, waiting: Waiting, wanted: Wanted | None) -> ClusterFacts:
    """The facts an awaited event is expected to leave behind."""
    event = waiting.event
    if event == "claim_ends":
        return _claims_ended(facts, waiting.nodes)
    if wanted is None:
        return _layer_moved(facts, waiting)
    pair = Pair.of(facts, wanted, Ledger())
    one, other = pair.sides
    if event == "solved":
        sides = _solved(facts, pair)
    elif event.startswith(("peer_found", "peer_back")):
        sides = (_met(one, other, pair, 0), _met(other, one, pair, 1))
    else:
        good = one if one.disk is DiskState.UP_TO_DATE else other
        sides = (
            evolve(_good(one, good.identifiers), replication=ReplicationState.ESTABLISHED),
            evolve(_good(other, good.identifiers), replication=ReplicationState.ESTABLISHED),
        )
    for side in sides:
        facts = facts.replace(facts.node(side.node).with_side(wanted.name, side))
    return facts


def _solved(facts: ClusterFacts, pair: Pair) -> tuple[Side, Side]:
    """The side with the record's name on it becomes the target of a resync, and takes the other's identifiers with it."""
    name = pair.wanted.name
    records = (facts.node(side.node).record(name) for side in pair.sides)
    victim = next(record.consent.victim for record in records if record is not None)
    found = []
    for side, peer in (pair.sides, pair.sides[::-1]):
        lost = side.node == victim
        found.append(evolve(
            side, connection=ConnectionState.CONNECTED, peer_role=peer.role, running=pair.wanted.net,
            replication=ReplicationState.SYNC_TARGET if lost else ReplicationState.SYNC_SOURCE,
            disk=DiskState.INCONSISTENT if lost else side.disk, peer_disk=peer.disk if lost else DiskState.INCONSISTENT,
            identifiers=peer.identifiers if lost else side.identifiers,
        ))
    return found[0], found[1]


def _layer_moved(facts: ClusterFacts, waiting: Waiting) -> ClusterFacts:
    """What starts is up, what stops is down."""
    state = Layer.DOWN if waiting.event == "stopped" else Layer.UP
    for node in waiting.nodes:
        facts = facts.replace(facts.node(node).with_layer(LayerFact(waiting.layer, state, "as expected")))
    return facts


def _claims_ended(facts: ClusterFacts, nodes: tuple[str, ...]) -> ClusterFacts:
    """Nothing is running there any more; what it did is for the next look to say."""
    for name in nodes:
        node = facts.node(name)
        facts = facts.replace(evolve(node, claims=tuple(evolve(claim, running=False) for claim in node.claims)))
    return facts
