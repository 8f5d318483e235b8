"""What is wrong with a cluster, as alarms: read off the machines' states, the lowest cause only, in words for people.

An alarm stands as long as its cause is seen. Who is in maintenance is not alarmed about; what has parted from its peer always is.
"""

from __future__ import annotations

from collections.abc import Iterator

from states.alarm import Alarm, Severity
from states.assessment import assess
from states.evolve import evolve
from states.facts import ClusterFacts, NodeFacts
from states.goal import Goal, Ledger, Wanted
from states.pair import Pair
from states.reach import said_off
from states.resource import HEALTHY, classify, goal_state
from states.stack import layer_state, side_serves
from states.stacks import Placed, Stack, spec
from states.stuck import WAY_OUT as RESOURCE_WAY_OUT
from states.stuck import way_out
from states.vocabulary import Layer, Resource

S, L = Resource, Layer
NOTICE, WARNING, CRITICAL = Severity.NOTICE, Severity.WARNING, Severity.CRITICAL
STATUS = "orchestrate status"

RESOURCES: dict[Resource, tuple[str, Severity, str]] = {
    # state          alarm            severity  what
    S.SPLIT_BRAIN:  ("split-brain",   CRITICAL, "is in split brain: both sides have changes the other has not"),
    S.DIVERGED:     ("diverged",      CRITICAL, "has diverged: one side is newer, and both were Primary"),
    S.UNRELATED:    ("unrelated",     CRITICAL, "has two sides whose data have nothing in common"),
    S.SUSPECT:      ("suspect",       CRITICAL, "looks healthy and is not: identifiers differ, or blocks are out of sync"),
    S.FROZEN:       ("frozen",        CRITICAL, "is frozen: its IO is suspended"),
    S.SYNC_STALLED: ("sync-stalled",  WARNING,  "is not being copied any more"),
    S.SYNCING:      ("syncing",       NOTICE,   "is being copied: until that has ended one side has the only good copy"),
    S.DEGRADED:     ("degraded",      WARNING,  "is served by one side alone"),
    S.STAND_ALONE:  ("stand-alone",   WARNING,  "gave up its connection"),
    S.UNKNOWN:      ("unseen",        WARNING,  "cannot be seen whole"),
    S.PRIMARY:      ("one-primary",   WARNING,  "has one Primary, where two are wanted"),
}
NOT_SERVED = ("not-served", CRITICAL, "is not served by anybody")
"""Every other state in which something is wrong."""
LAYERS: dict[Layer, tuple[str, Severity, str]] = {
    L.DOWN:     ("layer-down",     WARNING,  "is down"),
    L.STARTING: ("layer-starting", NOTICE,   "is starting, or of no use yet"),
    L.STOPPING: ("layer-starting", NOTICE,   "is stopping"),
    L.FAILED:   ("layer-failed",   WARNING,  "is not as it should be"),
    L.HUNG:     ("layer-hung",     CRITICAL, "hangs"),
    L.UNKNOWN:  ("layer-unseen",   WARNING,  "cannot be seen"),
}
AT_ONCE = frozenset({"split-brain", "diverged", "unrelated", "suspect", "frozen", "fencing", "node-off", "node-unreachable", "layer-hung"})
"""Alarms that are raised on the first word, and whoever is at work. Others wait for a look: what an event shows may be a command's."""
ALWAYS = frozenset({S.SPLIT_BRAIN, S.DIVERGED, S.UNRELATED, S.SUSPECT})
"""Said even of a node in maintenance: somebody's data are in danger."""


def alarms_of(goal: Goal, facts: ClusterFacts, ledger: Ledger, kept: frozenset[str], off: frozenset[str]) -> tuple[Alarm, ...]:
    """What is wrong. `kept`: nodes in maintenance. `off`: machines that nobody wants to hear of."""
    goal = evolve(goal, degraded=bool(facts.off))
    nodes = (alarm for node in facts.nodes if node.name not in kept for alarm in _node(goal, node, facts))
    resources = (alarm for wanted in goal.resources if wanted.name not in off for alarm in _resource(goal, facts, ledger, wanted, kept))
    below = (alarm for wanted in goal.resources if wanted.name not in off for alarm in _below(goal, facts, ledger, wanted, kept))
    return (*nodes, *resources, *{alarm.key: alarm for alarm in below}.values(), *_layers(goal, facts, kept, off))


# -- nodes -------------------------------------------------------------------------------------------------------------

def _node(goal: Goal, node: NodeFacts, facts: ClusterFacts) -> Iterator[Alarm]:
    if node.reachable:
        for one in node.fencing:
            yield Alarm("fencing", one.victim, CRITICAL, f"{one.victim} has to be switched off before {node.name} goes on",
                        one.said or "no agent has failed so far", said_off(goal, one.victim))
        return
    if node.name in facts.off:
        yield Alarm("node-off", node.name, WARNING, f"{node.name} is off, and the others go on without it", node.why,
                    "nothing, if that is wanted: it is brought back when it has booted")
        return
    heard = _heard_of(node.name, facts)
    if heard:
        yield Alarm("node-unreachable", node.name, WARNING, f"{node.name} cannot be reached, and it lives", f"{node.why}; {heard}",
                    "mend the way to it: nothing is repaired that cannot be seen")
    else:
        yield Alarm("node-unreachable", node.name, CRITICAL, f"{node.name} cannot be reached, and nobody knows whether it is off", node.why,
                    said_off(goal, node.name))


def _heard_of(name: str, facts: ClusterFacts) -> str:
    """Who is connected to a node that cannot be reached."""
    for other in facts.nodes:
        for resource, side in other.sides:
            if other.name != name and side.connected:
                return f"{resource} on {other.name} is connected to it"
    return ""


# -- resources ---------------------------------------------------------------------------------------------------------

def _resource(goal: Goal, facts: ClusterFacts, ledger: Ledger, wanted: Wanted, kept: frozenset[str]) -> Iterator[Alarm]:
    pair = Pair.of(facts, wanted, ledger)
    state = classify(pair)
    if well(goal, wanted, state) or (kept & set(wanted.nodes) and state not in ALWAYS):
        return
    if state is S.UNKNOWN and not all(facts.node(name).reachable and facts.node(name).fresh for name in wanted.nodes):
        return  # the node's own alarm says it, or a look is under way
    if pair.unseen and any(side.connected for side in pair.sides):
        return  # it is whole, as far as the one that is seen knows: only the way to the other one is cut
    name, severity, what = RESOURCES.get(state, NOT_SERVED)
    if state not in RESOURCES and pair.primaries:
        name, severity, what = "not-whole", WARNING, "is served, and not whole"
    sides = "; ".join(f"{side.node} {side.role.value}/{side.disk.value}, {side.connection.value}" for side in pair.sides)
    evidence, remedy = f"{state.value}: {sides}", way_out(goal, wanted.name, state)[1] if state in RESOURCE_WAY_OUT else STATUS
    if state is S.SPLIT_BRAIN:
        evidence, remedy = _assessed(goal, facts, wanted.name), f"orchestrate recover-splitbrain {wanted.name} --plan"
    yield Alarm(name, wanted.name, severity, f"{wanted.name} {what}", evidence, remedy)


def _assessed(goal: Goal, facts: ClusterFacts, resource: str) -> str:
    """What each side changed, and what each choice would lose: ready for whoever has to decide."""
    found = assess(goal, facts, resource)
    sides = (f"{side.node} ({side.role}) changed {'?' if side.changed is None else side.changed} KiB" for side in found.sides)
    free = f"; {found.harmless} provably changed nothing" if found.harmless is not None else ""
    return f"{'; '.join(sides)}{free}; if they met: {found.alone}"


def well(goal: Goal, wanted: Wanted, state: Resource) -> bool:
    """A resource is where it should be, or beyond."""
    return state in HEALTHY[HEALTHY.index(goal_state(goal, wanted)):]


def _below(goal: Goal, facts: ClusterFacts, ledger: Ledger, wanted: Wanted, kept: frozenset[str]) -> Iterator[Alarm]:
    """DRBD's own layers: files that differ, units that start it at boot. What is not there yet is the resource's alarm."""
    there = well(goal, wanted, classify(Pair.of(facts, wanted, ledger)))
    for node in (facts.node(name) for name in wanted.nodes if name not in kept):
        for fact in (node.layer(name) for name in wanted.layers if node.reachable and not spec(name).holds_role):
            if fact.state is L.FAILED or (there and fact.state is L.DOWN):
                name, severity, what = LAYERS[fact.state]
                yield Alarm(name, f"{fact.name} on {node.name}", severity, f"{fact.name} on {node.name} {what}", fact.detail, STATUS)


# -- layers ------------------------------------------------------------------------------------------------------------

def _layers(goal: Goal, facts: ClusterFacts, kept: frozenset[str], off: frozenset[str]) -> Iterator[Alarm]:
    """The lowest that is not Up on each node: what stands on it cannot be, either. Without `degraded` a pair says why itself."""
    stack = goal.stack or Stack()
    for node in facts.nodes:
        if node.name in kept or not node.reachable:
            continue
        for placed in stack.layers:
            machine = f"{placed.name} on {node.name}"
            fact = layer_state(stack, facts, placed, node.name)
            if node.name not in placed.nodes or machine in off or fact.state is L.UP or not _carried(goal, stack, facts, placed, node):
                continue
            if fact.state is L.UNKNOWN and not node.fresh:
                continue  # a look is under way
            name, severity, what = LAYERS[fact.state]
            yield Alarm(name, machine, severity, f"{machine} {what}", fact.detail, STATUS)


def _carried(goal: Goal, stack: Stack, facts: ClusterFacts, placed: Placed, node: NodeFacts) -> bool:
    """All that it needs is there."""
    if placed.spec.data and not side_serves(goal, facts, placed, node.name):
        return False
    return all(layer_state(stack, facts, need, node.name).state is L.UP for need in stack.below(placed.name))


# -- what cannot be told -----------------------------------------------------------------------------------------------

def unclear(goal: Goal, facts: ClusterFacts, ledger: Ledger, kept: frozenset[str], off: frozenset[str]) -> frozenset[str]:
    """Machines of which nobody can tell now whether they are as they should be: a cause that was seen was not seen to be gone.

    `kept`: nodes in maintenance. `off`: machines. Nobody wants to hear of them, nor of what stood on a node that is known to be off.
    """
    resources = {wanted.name for wanted in goal.resources if not kept & set(wanted.nodes) and _hidden(facts, ledger, wanted)}
    stack = goal.stack or Stack()
    drbd = [(name, node, one.name) for one in goal.resources if one.name not in off for name in one.layers for node in one.nodes]
    above = [(placed.name, node, placed.resource) for placed in stack.layers for node in placed.nodes]
    found = set(resources)
    for name, place, resource in (*drbd, *above):
        node = facts.node(place)
        if place in kept or place in facts.off:
            continue
        needs = stack.below(name) if (name, place, resource) in above else ()
        states = [layer_state(stack, facts, need, place).state for need in needs]
        fact = node.layer(name)
        dark = fact.state is L.UNKNOWN or (fact.state is not L.UP and (L.UNKNOWN in states or resource in resources))
        if dark or not node.fresh:
            found.add(f"{name} on {place}")
    return frozenset(found) - off


def _hidden(facts: ClusterFacts, ledger: Ledger, wanted: Wanted) -> bool:
    """A side cannot be seen, or something has happened since it was; the one that is connected to it may still be seen."""
    nodes = [facts.node(name) for name in wanted.nodes if name not in facts.off]
    pair = Pair.of(facts, wanted, ledger)
    cut = pair.unseen and any(side.connected for side in pair.sides)
    old = any(node.reachable and not node.fresh for node in nodes)
    return bool(nodes) and (old or cut or classify(pair) is S.UNKNOWN)


def in_order(goal: Goal, facts: ClusterFacts, ledger: Ledger) -> frozenset[str]:
    """Machines that are as they should be: resources, and "LAYER on NODE"."""
    found = {wanted.name for wanted in goal.resources if well(goal, wanted, classify(Pair.of(facts, wanted, ledger)))}
    stack = goal.stack or Stack()
    found |= {f"{placed.name} on {node}" for placed in stack.layers for node in placed.nodes
              if facts.node(node).layer(placed.name).state is L.UP}
    return frozenset(found)
