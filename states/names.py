"""Whose addresses a name is to have: the nodes that serve, without those that are too loaded, and never nobody.

A node serves when it can be seen and every layer of it that runs for the shares is Up, down to its own side of DRBD.
What cannot be seen is not served from, but a supervisor that sees no node at all is blind: then nothing is changed.
"""

from __future__ import annotations

from functools import lru_cache

from attrs import field, frozen

from states.facts import ClusterFacts, NodeFacts, Side
from states.goal import Goal
from states.picture import Load, Picture
from states.stacks import Placed, Stack
from states.vocabulary import DiskState, Layer, Node, Role


@frozen
class Limits:
    """A node above a `_high` is left out until it is below every `_low` again. 0: that is not looked at.

    `load`: one-minute load average for each core. `sessions`: open SMB sessions.
    """

    load_high: float = 0.0
    load_low: float = 0.0
    sessions_high: int = 0
    sessions_low: int = 0


@frozen
class Choice:
    """`nodes`: whose addresses the name is to have, in the order of the configuration. `heavy`: those too loaded at present.
    `out`: each node that is not among `nodes`, and why. `but`: why `nodes` are not just those that are well; "" if they are."""

    nodes: tuple[str, ...]
    heavy: frozenset[str] = field(default=frozenset())
    out: tuple[tuple[str, str], ...] = ()
    but: str = ""


def choose(picture: Picture, limits: Limits, before: Choice | None, *, keep_last: bool = True) -> Choice | None:
    """Whom the name is to lead to. `before`: the last choice, or what was found published; None if nobody could say yet.

    None: nobody serves, and what is published is not known, so nothing may be taken away.
    """
    found = {node: _trouble(picture.goal, picture.facts, node) for node in servers(picture.goal)}
    heavy = _heavy(picture, limits, before.heavy if before is not None else frozenset())
    able = [node for node, trouble in found.items() if not trouble]
    spared = {node: _spared(node, picture, heavy) for node in able}
    best = [node for node in able if not spared[node]]
    if best:
        return _choice(best, {**found, **spared}, heavy)
    if able:
        return _choice(able, found, heavy, f"there is no other: {'; '.join(f'{node}: {spared[node]}' for node in able)}")
    if not keep_last:
        return _choice([], found, heavy)
    if before is None:
        return None
    blind = not any(_look(picture.facts, node).reachable for node in found)
    last = [node for node in found if node in before.nodes]
    if blind or len(last) < 2:
        return _choice(last, found, heavy, "no node can be seen: left as it is" if blind else "no node serves: the last one stays")
    seen = [node for node in last if _look(picture.facts, node).reachable]
    return _choice((seen or last)[:1], found, heavy, "no node serves: the last one stays")


def _choice(nodes: list[str], reasons: dict[str, str], heavy: frozenset[str], but: str = "") -> Choice:
    left = tuple((node, reason) for node, reason in reasons.items() if node not in nodes)
    return Choice(tuple(nodes), heavy, left, but)


def servers(goal: Goal) -> tuple[str, ...]:
    """Nodes that are meant to serve: those of the stack's topmost layers, or of the resources where there is no stack."""
    if goal.stack is None:
        return tuple(dict.fromkeys(node for wanted in goal.resources for node in wanted.nodes))
    return tuple(_needed(goal.stack))


@lru_cache(64)  # asked at every event, and a stack never changes
def _needed(stack: Stack) -> dict[str, tuple[Placed, ...]]:
    """For each node that is meant to serve, every running layer its shares rest on, lowest first.

    The topmost are those that nothing else that runs stands on: Samba, or the mounts where there is none. Files and what
    is made once (layers that nobody stops) need no looking after by those who use a share.
    """
    tops = [placed for placed in stack.layers if placed.spec.stop and not any(above.spec.stop for above in stack.above(placed.name))]
    found = {}
    for node in stack.nodes:
        names = {one.name for top in tops if node in top.nodes for one in (*stack.below(top.name), top)}
        if names:
            found[node] = tuple(placed for placed in stack.layers if placed.name in names and placed.spec.stop and node in placed.nodes)
    return found


def _trouble(goal: Goal, facts: ClusterFacts, name: str) -> str:
    """Why a node does not serve; "" if it does."""
    node = _look(facts, name)
    if not node.reachable:
        return f"it cannot be seen: {node.why}" if node.why else "it cannot be seen"
    if goal.stack is not None:
        return _stack_trouble(goal.stack, node)
    for wanted in goal.resources:
        trouble = _side_trouble(wanted.name, node.side(wanted.name)) if name in wanted.nodes else ""
        if trouble:
            return trouble
    return ""


def _look(facts: ClusterFacts, name: str) -> NodeFacts:
    """What was seen of a node; one that nobody has looked at yet cannot be seen."""
    return next((node for node in facts.nodes if node.name == name), None) or NodeFacts(name, Node.UNREACHABLE)


def _stack_trouble(stack: Stack, node: NodeFacts) -> str:
    for placed in _needed(stack)[node.name]:
        fact = node.layer(placed.name)
        if fact.state is not Layer.UP and not (placed.spec.renews and fact.state is Layer.FAILED):  # that runs, with older files
            return f"{placed.name} is {fact.state.value}"
        trouble = _side_trouble(placed.resource, node.side(placed.resource)) if placed.resource else ""
        if trouble:
            return trouble
    return ""


def _side_trouble(resource: str, side: Side) -> str:
    if side.role is not Role.PRIMARY:
        return f"its side of {resource} is {side.role.value}"
    if side.disk is not DiskState.UP_TO_DATE:
        return f"its side of {resource} is {side.disk.value}"
    return f"its side of {resource} is suspended" if side.suspended else ""


def _spared(node: str, picture: Picture, heavy: frozenset[str]) -> str:
    """Why a node that serves had better not be sent anybody."""
    if node in picture.maintenance:
        return "it is in maintenance"
    if node not in heavy:
        return ""
    load = _load(picture, node)
    if load is None:
        return "it was too loaded when that was last known"
    sessions = f", {load.sessions} SMB sessions" if load.sessions is not None else ""
    return f"it is too loaded: {load.per_core:.2f} for each core{sessions}"


def _heavy(picture: Picture, limits: Limits, before: frozenset[str]) -> frozenset[str]:
    """Nodes that are too loaded now, or were and are not well below yet. Whose load is not known stays what it was."""
    found: set[str] = set()
    for node in servers(picture.goal):
        load = _load(picture, node)
        if load is None:
            found |= before & {node}
            continue
        readings = ((load.per_core, limits.load_high, limits.load_low), (load.sessions, limits.sessions_high, limits.sessions_low))
        for value, high, low in readings:
            if not high:
                continue
            if node in before if value is None else value > high or (node in before and value >= low):
                found.add(node)
    return frozenset(found)


def _load(picture: Picture, node: str) -> Load | None:
    return next((load for load in picture.loads if load.node == node), None)
