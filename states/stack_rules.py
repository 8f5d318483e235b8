"""Rules for the steps of the stack's layers: named predicates over facts and one step, as `invariants` has them for DRBD.

Asked when a step is decided and again right before it is sent; what the node itself can re-check, its script does.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from attrs import frozen

from states.facts import ClusterFacts, LayerFact
from states.goal import Direction, Do, Goal, Kind, Step
from states.reach import fencing, said_off
from states.stacks import MEMBERSHIPS, Placed, Stack
from states.unasked import unasked
from states.vocabulary import DiskState, Layer, Role


@frozen
class LayerViolation:
    """A step that must not be sent: the rule, what was seen, what to type next, and whose fault it is."""

    rule: str
    evidence: str
    remedy: str
    kind: Kind = Kind.RULE


@frozen
class LayerAsked:
    """What a rule is asked about."""

    facts: ClusterFacts
    step: Step
    goal: Goal
    stack: Stack

    @property
    def placed(self) -> Placed:
        """The layer the step starts or stops."""
        return self.stack.placed(self.step.layer)

    @property
    def fact(self) -> LayerFact:
        """That layer as it was seen on the step's node."""
        return self.facts.node(self.step.node).layer(self.step.layer)

    def lower(self, need: str) -> LayerFact:
        """A layer below, on the step's node; what is made once counts wherever it is seen."""
        placed = self.stack.placed(need)
        seen = [self.facts.node(node).layer(need) for node in placed.nodes] if placed.spec.once else []
        return next((fact for fact in seen if fact.state is Layer.UP), self.facts.node(self.step.node).layer(need))


Found = tuple[str, str] | None


def _needs_lower(asked: LayerAsked) -> Found:
    """All that is below, the nearest first: what a look sees standing may have lost what carries it."""
    for need in dict.fromkeys((*asked.placed.needs, *(one.name for one in reversed(asked.stack.below(asked.placed.name))))):
        fact = asked.lower(need)
        if fact.state is not Layer.UP:
            return f"{need} is {fact.state.value} on {asked.step.node}: {fact.detail}", f"{need} has to be Up first"
    return None


def _own_side_serves(asked: LayerAsked) -> Found:
    """A layer that stands on data needs its own node's DRBD Primary and UpToDate."""
    if not asked.placed.spec.data:
        return None
    side = asked.facts.node(asked.step.node).side(asked.placed.resource)
    if side.role is Role.PRIMARY and side.disk is DiskState.UP_TO_DATE:
        return None
    seen = f"{asked.placed.resource} on {asked.step.node} is {side.role.value} and {side.disk.value}"
    return seen, "it has to be Primary and UpToDate there"


def _no_lvm_under_drbd(asked: LayerAsked) -> Found:
    """Nothing of LVM is touched while somebody else has the backing disk, on any node of the resource."""
    if not asked.placed.spec.data:
        return None
    for node in asked.placed.nodes:
        side = asked.facts.node(node).side(asked.placed.resource)
        if side.holders:
            return (f"the backing device of {asked.placed.resource} on {node} is in use by {', '.join(side.holders)}",
                    "stop what uses it (umount, vgchange -an), then run again: docs/hazards.md")
    return None


def _backing_touched(asked: LayerAsked) -> Found:
    if not asked.placed.spec.data:
        return None
    side = asked.facts.node(asked.step.node).side(asked.placed.resource)
    if not side.touched:
        return None
    return (f"the backing device of {side.node} was in use behind DRBD's back: it is not UpToDate, whatever DRBD says",
            f"on {side.node}: drbdadm invalidate {asked.placed.resource}, then rm /var/lib/orchestrate/touched/{asked.placed.resource}")


def _only_over_nothing(asked: LayerAsked) -> Found:
    """What is made once is made where a fresh look saw nothing, and nobody has seen it anywhere."""
    if not asked.placed.spec.once:
        return None
    for node in asked.placed.nodes:
        fact = asked.facts.node(node).layer(asked.placed.name)
        if fact.state in (Layer.FAILED, Layer.UP):
            return f"{node} has: {fact.detail}", "name another, or remove what is there yourself if nothing on it is wanted"
    if asked.fact.state is not Layer.DOWN:
        return f"what {asked.step.node} has there could not be seen: {asked.fact.detail}", "look again: orchestrate status"
    return None


def _no_quorum_no_locks(asked: LayerAsked) -> Found:
    member = next((one for one in asked.stack.below(asked.placed.name) if one.name in MEMBERSHIPS), None)
    if member is None:
        return None
    fact = asked.facts.node(asked.step.node).layer(member.name)
    seen = f"{member.name} on {asked.step.node} is {fact.state.value}: {fact.detail}"
    return None if fact.state is Layer.UP else (seen, "quorum comes first")


def _nothing_above(asked: LayerAsked) -> Found:
    """What is started anew is stopped first: nothing may stand on it."""
    return _from_the_top(asked) if asked.placed.spec.renews and asked.fact.state is Layer.FAILED else None


def _nothing_hangs_above(asked: LayerAsked) -> Found:
    """What hangs does not come back by starting what it stood on: the kernel still holds the old locks."""
    for one in asked.stack.above(asked.placed.name):
        if asked.step.node in one.nodes and asked.facts.node(asked.step.node).layer(one.name).state is Layer.HUNG:
            fact = asked.facts.node(asked.step.node).layer(one.name)
            seen = f"{one.name} on {asked.step.node} is Hung: {fact.detail}"
            by_agent = f": `orchestrate fence {asked.step.node}`" if fencing(asked.goal) == "agent" else " by hand"
            return seen, f"power-cycle it{by_agent}, then run again"
    return None


def _same_key(asked: LayerAsked) -> Found:
    """Nodes with different keys do not hear each other, and each would wait for the other."""
    if asked.step.layer != "corosync":
        return None
    keys = {node: asked.facts.node(node).layer("authkey") for node in asked.stack.nodes}
    seen = {fact.detail for fact in keys.values() if fact.state is Layer.UP and fact.detail.startswith("sha256")}  # a plan has none
    if len(seen) < 2:
        return None
    return ("; ".join(f"the cluster's key on {node}: {fact.detail}" for node, fact in keys.items()),
            "remove /etc/corosync/authkey on the node that has the wrong one, then run again: it gets a copy")


def _all_at_once(asked: LayerAsked) -> Found:
    """cman that starts alone waits for nobody: with two_node it is quorate by itself, and has the other node switched off."""
    if not asked.placed.spec.together:
        return None
    for node in asked.placed.nodes:
        if node == asked.step.node or node in asked.goal.gone(asked.facts):
            continue
        lacking = _not_ready(asked, node)
        if lacking:
            seen = f"{asked.placed.name} is started on all nodes at once or on none, and {node} is not ready: {lacking}"
            then = ", then `up --degraded`" if fencing(asked.goal) != "none" else ""
            return seen, f"mend that, then run again; {said_off(asked.goal, node)}{then}"
    return _versions_differ(asked)


def _not_ready(asked: LayerAsked, node: str) -> str:
    """Why this node could not come along, in words; "" if it runs there, or is about to be started."""
    fact = asked.facts.node(node).layer(asked.placed.name)
    if fact.state in (Layer.UP, Layer.STARTING):
        return ""
    if fact.state is not Layer.DOWN:
        return f"{asked.placed.name} there is {fact.state.value}: {fact.detail}"
    for need in asked.stack.below(asked.placed.name):
        lower = asked.facts.node(node).layer(need.name)
        if lower.state is not Layer.UP:
            return f"{need.name} there is {lower.state.value}: {lower.detail}"
    return ""


def _versions_differ(asked: LayerAsked) -> Found:
    """Two nodes with cluster.conf of two versions do not become one cluster."""
    seen = {node: conf_version(asked.facts.node(node).layer("files").detail) for node in asked.placed.nodes}
    if len({version for version in seen.values() if version is not None}) < 2:
        return None
    return ("; ".join(f"cluster.conf on {node} has config_version {version}" for node, version in seen.items()),
            "copy the one with the higher version to the other node, then run again")


def conf_version(detail: str) -> int | None:
    """The version of a node's cluster.conf, as the probe of its files says it; None where it says none."""
    found = re.search(r"\bconfig_version ([0-9]{1,9})\b", detail)
    return int(found[1]) if found else None


def _fencing_configured(asked: LayerAsked) -> Found:
    """Locks shared by two nodes need a way to make sure that a lost one writes no more."""
    if asked.placed.spec.volume or asked.stack.fencing != "none" or asked.stack.accept_no_fencing:
        return None  # nothing of the cluster is started, then; so the layers on the data are never asked
    return ("no fencing is configured: when the nodes lose each other, both go on writing",
            "give each node a [node.NAME.fence], or write accept_no_fencing = true")


def _grow_only(asked: LayerAsked) -> Found:
    """A GFS2 cannot be made smaller, nor larger by less than one resource group: a size that asks for that is not touched."""
    if not asked.placed.spec.grows or asked.fact.state is not Layer.FAILED:
        return None
    return asked.fact.detail, f"write another `size` in [filesystem.{asked.placed.name.partition(' ')[2]}]; GFS2 only grows"


def _refreshed_everywhere(asked: LayerAsked) -> Found:
    """A node whose kernel has the old size would read and write past the end of its volume, and its GFS2 withdraw."""
    if not asked.placed.spec.joint:
        return None
    for copy in (one for one in asked.stack.below(asked.placed.name) if one.spec.copied and one.spec.data):
        for node in (asked.facts.node(name) for name in copy.nodes if asked.facts.node(name).reachable):
            fact = node.layer(copy.name)
            if fact.state is not Layer.UP and not any(node.layer(need).state is Layer.DOWN for need in copy.needs):
                seen = f"the kernel of {node.name} has the volume and not its new size: {copy.name} is {fact.state.value}: {fact.detail}"
                return seen, f"on {node.name}: lvchange --refresh, which `up` does; look there why it does not"
    return None


def _config_drift(asked: LayerAsked) -> Found:
    if asked.fact.state is not Layer.FAILED or asked.placed.spec.renews or (asked.placed.spec.file and asked.goal.apply_config):
        return None
    how = "make cluster.toml say the same, or run again with --apply-config" if asked.placed.spec.file else "mend it, then run again"
    return asked.fact.detail, how


def _everyone_seen(asked: LayerAsked) -> Found:
    """What is shared is not touched while a node that may be using it cannot be seen."""
    for node in asked.stack.nodes:
        if node in asked.stack.voters:  # it has nothing that is shared
            continue
        if not asked.facts.node(node).reachable and node not in asked.goal.gone(asked.facts):
            seen = f"{node} could not be seen: {asked.facts.node(node).why}"
            return seen, f"make {node} reachable; it counts as mounted until it is fenced"
    return None


def _from_the_top(asked: LayerAsked) -> Found:
    """Nothing is stopped while something on the same node stands on it, or might."""
    for one in asked.stack.above(asked.placed.name):
        if one.spec.stop and asked.step.node in one.nodes:
            fact = asked.facts.node(asked.step.node).layer(one.name)
            if fact.state is not Layer.DOWN:
                return f"{one.name} is {fact.state.value} on {asked.step.node}", f"{one.name} has to be Down first"
    if asked.goal.direction is Direction.UP:  # started out of order: nothing has the device open yet
        return None
    if not (asked.placed.spec.holds_role or any(one.spec.holds_role for one in asked.stack.above(asked.placed.name))):
        return None
    for wanted in asked.goal.resources:
        side = asked.facts.node(asked.step.node).side(wanted.name)
        if asked.step.node in wanted.nodes and side.configured is not False and side.role is not Role.SECONDARY:
            return f"{wanted.name} is {side.role.value} there", "no Primary without its lock manager: demote it first"
    return None


def _nobody_asked(asked: LayerAsked) -> Found:
    return unasked(asked.facts, asked.step, asked.goal, (asked.step.node,))


@frozen
class LayerRule:
    """A named rule and the kind of step it judges."""

    name: str
    judges: Do
    check: Callable[[LayerAsked], Found]


START, STOP = Do.START_LAYER, Do.STOP_LAYER
LAYER_RULES: tuple[LayerRule, ...] = (
    LayerRule("nobody-asked",        START, _nobody_asked),
    LayerRule("nobody-asked",        STOP,  _nobody_asked),
    LayerRule("grow-only",           START, _grow_only),
    LayerRule("config-drift",        START, _config_drift),
    LayerRule("no-quorum-no-locks",  START, _no_quorum_no_locks),
    LayerRule("layer-needs-lower",   START, _needs_lower),
    LayerRule("layer-needs-lower",   START, _own_side_serves),
    LayerRule("no-lvm-under-drbd",   START, _no_lvm_under_drbd),
    LayerRule("backing-touched",     START, _backing_touched),
    LayerRule("stop-from-top",       START, _nothing_above),
    LayerRule("layer-hung",          START, _nothing_hangs_above),
    LayerRule("same-key",            START, _same_key),
    LayerRule("start-together",      START, _all_at_once),
    LayerRule("fencing-configured",  START, _fencing_configured),
    LayerRule("no-mkfs-over-data",   START, _only_over_nothing),
    LayerRule("unknown-is-not-down", START, _everyone_seen),
    LayerRule("all-see-the-size",    START, _refreshed_everywhere),
    LayerRule("stop-from-top",       STOP,  _from_the_top),
)


def judge_layer(facts: ClusterFacts, step: Step, goal: Goal, named: tuple[str, ...] = ()) -> LayerViolation | None:
    """The first rule this step of a layer would break. `named` are those of its table row: all of them judge anyway."""
    if goal.stack is None:
        raise ValueError(f"{step.key}: a step of the stack in a cluster without one")
    asked = LayerAsked(facts, step, goal.at(step), goal.stack)
    for rule in LAYER_RULES:
        if rule.judges is step.do:
            found = rule.check(asked)
            if found is not None:
                return LayerViolation(rule.name, *found)
    return None
