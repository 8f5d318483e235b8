"""One side of a resource without its peer, which is known to be off: disk up, then Primary. `up --degraded` and nothing else.

It does not connect: when the peer comes back, both are looked at before they meet.
"""

from __future__ import annotations

from states.facts import ClusterFacts, Side
from states.goal import Decision, Direction, Do, Goal, Kind, Ledger, Reached, Refused, Step, Steps, Waiting, Wanted
from states.invariants import RULES, Asked, judge
from states.resource import BOOT, side_state
from states.stuck import way_out
from states.vocabulary import DiskState, Layer, Resource, Role

_BECAUSE = {
    Do.ATTACH: "identifiers and dirty blocks are read before anything is served",
    Do.PROMOTE_ALONE: "the other node is known to be off, and nobody knows of newer data",
    Do.DEMOTE: "it is to go down",
    Do.TAKE_DOWN: "nobody is Primary",
}


def decide_alone(goal: Goal, facts: ClusterFacts, ledger: Ledger, wanted: Wanted, moves: tuple[Step, ...]) -> Decision:
    """The next step of the side that is there, after its layers' `moves`; or why there is none."""
    stale = _stale(goal, facts, ledger, wanted)
    if stale is not None and not ledger.in_flight:
        return stale
    unsent = tuple(step for step in moves if step.key not in ledger.in_flight)
    if moves:
        return Steps(unsent) if unsent else Waiting("answers", "steps are being carried out", None, wanted.name)
    names = [name for name in wanted.nodes if name in goal.acting(wanted.nodes, facts)]
    if not names and goal.only:
        return Reached()
    if not names:
        what = f"{goal.direction.value} {wanted.name}"
        return Refused("unknown-is-not-down", what, "both its nodes are off", "switch one on", Kind.UNREACHABLE)
    side = facts.node(names[0]).side(wanted.name)
    unfit = _unfit(goal, side, wanted)
    if unfit is not None:
        return unfit
    do = _next(goal, side, wanted)
    if do is None:
        return Reached((f"{wanted.name} is served by {side.node} alone",)) if goal.direction is Direction.UP else Reached()
    if isinstance(do, str):
        return Refused("no-start-alone-on-stale", f"{goal.direction.value} {wanted.name} on {side.node}", do,
                       "start the node with the good data", Kind.RULE)
    expect = str(side.identifiers) if side.identifiers else ""
    step = Step(do, side.node, wanted.name, because=_BECAUSE[do], event=f"alone_{do.name.lower()}", expect=expect,
                replaces=side.configured is True)
    if step.key in ledger.in_flight:
        return Waiting("answers", "steps are being carried out", None, wanted.name)
    failed = dict(ledger.failed).get(step.key)
    if failed is not None:
        return Refused("step-failed", f"{do.value} {wanted.name} on {side.node}", failed, "mend what it says, then run again", Kind.FAILED)
    return _judged(goal, facts, ledger, wanted, step) or Steps((step,))


def last_good_copy(goal: Goal, facts: ClusterFacts, ledger: Ledger, wanted: Wanted) -> Refused | None:
    """One node is to go down: asked before anything that stands on the resource is stopped there."""
    for node in goal.acting(wanted.nodes, facts) if goal.only else ():
        step = Step(Do.TAKE_DOWN, node, wanted.name)
        found = RULES["never-stop-the-only-good"].check(Asked(facts, step, wanted, goal, ledger))
        if found is not None:
            return Refused("never-stop-the-only-good", f"down {wanted.name} on {node}", *found)
    return None


def _stale(goal: Goal, facts: ClusterFacts, ledger: Ledger, wanted: Wanted) -> Refused | None:
    """Somebody's data is known to be newer: nothing is prepared, and what runs already passes for nothing."""
    for node in goal.acting(wanted.nodes, facts) if goal.direction is Direction.UP else ():
        if facts.node(node).side(wanted.name).identifiers is None:
            continue  # asked again right before the promotion
        asked = Asked(facts, Step(Do.ATTACH, node, wanted.name), wanted, goal, ledger)
        found = RULES["no-start-alone-on-stale"].check(asked)
        if found is not None:
            return Refused("no-start-alone-on-stale", f"up {wanted.name} on {node}", *found)
    return None


def _judged(goal: Goal, facts: ClusterFacts, ledger: Ledger, wanted: Wanted, step: Step) -> Refused | None:
    """A rule that the step would break, or a layer that it lacks."""
    what = f"{step.do.value} {wanted.name} on {step.node}"
    violation = judge(facts, step, wanted, goal, ledger=ledger)
    if violation is not None:
        return Refused(violation.rule, what, violation.evidence, violation.remedy)
    layers = (facts.node(step.node).layer(name) for name in BOOT if name in wanted.layers)
    lacking = next((fact for fact in layers if fact.state is not Layer.UP), None)
    if step.do is not Do.ATTACH or lacking is None:
        return None
    return Refused("layer-needs-lower", what, f"{lacking.name} is {lacking.state.value}: {lacking.detail}",
                   "look at that node, then run again", Kind.FAILED)


def _unfit(goal: Goal, side: Side, wanted: Wanted) -> Refused | None:
    """A side that nothing may be said to, and that passes for nothing."""
    what = f"{goal.direction.value} {wanted.name} on {side.node}"
    if side.configured is None:
        return Refused("unknown-is-not-down", what, "it could not be seen", "look again: orchestrate status", Kind.FAILED)
    if side.suspended:
        return Refused("no-steps-while-frozen", what, "its IO is frozen", way_out(goal, wanted.name, Resource.FROZEN)[1])
    return None


def _next(goal: Goal, side: Side, wanted: Wanted) -> Do | str | None:
    """The step to take, None if it is there, or what is wrong."""
    if goal.direction is Direction.DOWN:
        return (Do.DEMOTE if side.role is Role.PRIMARY else Do.TAKE_DOWN) if side.configured else None
    if side_state(side) in (Resource.UNKNOWN, Resource.UNCONFIGURED):
        return f"its metadata is {side.metadata.value}"
    if not side.attached:
        return Do.ATTACH
    if side.role is Role.PRIMARY and side.disk is DiskState.UP_TO_DATE:
        return None
    return Do.PROMOTE_ALONE if wanted.primaries else None
