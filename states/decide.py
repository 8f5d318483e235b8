"""decide(goal, facts, ledger): the next steps over the tables' rows, or why there are none. Pure, deterministic, total.

Order of questions: can every node be seen; may the layers below DRBD start; what can each side do alone; what can the
pair do. Whatever is found is judged by the invariants before it is handed out.
"""

from __future__ import annotations

from states import layer as layers
from states import resource as resources
from states.alone import decide_alone, last_good_copy
from states.evolve import evolve
from states.facts import ClusterFacts, Generation, Side
from states.goal import (
    Decision,
    Direction,
    Do,
    Goal,
    Kind,
    Ledger,
    Look,
    Reached,
    Refused,
    Step,
    Steps,
    Waiting,
    Wanted,
)
from states.invariants import Violation, judge, standing
from states.one_at_a_time import CLAIM_DEADLINE, one_destructive_a_node, others_end
from states.pair import Pair
from states.reach import unseen, wrong_node
from states.recover import decide_recovery
from states.recovery import standing_still
from states.repair import repair
from states.resource import classify, goal_state, side_state, silent_sides
from states.stack import decide_stack, stack_stands_on
from states.stacks import spec
from states.stuck import explain
from states.table import On, Row, towards
from states.vocabulary import By, Layer, Metadata, Resource, Role

ALONE = tuple(row for row in resources.TABLE if row.on is On.EACH)
TOGETHER = tuple(row for row in resources.TABLE if row.on is not On.EACH)
"""Rows a node takes by itself, and those of the pair."""


def decide(goal: Goal, facts: ClusterFacts, ledger: Ledger) -> Decision:
    """What to do now. Steps of several resources are merged; a refusal of one is reported when no other can move.

    The stack goes on beside the resources, but nothing of it is prepared on the way to a refusal.
    """
    answers = [_decide_resource(goal, facts, ledger, wanted) for wanted in goal.resources if wanted.name not in goal.leave]
    if goal.stack is not None:
        refused = next((answer for answer in answers if isinstance(answer, Refused) and answer.kind is not Kind.FAILED), None)
        if refused is not None and not ledger.in_flight:
            return refused
        above = _stack(goal, facts, ledger)
        if isinstance(above, Refused) and above.kind is Kind.RULE and not ledger.in_flight:
            return above
        answers.append(above)
    steps = tuple(step for answer in answers if isinstance(answer, Steps) for step in answer.steps)
    if steps:
        allowed = one_destructive_a_node(steps, facts, ledger)
        return Steps(allowed) if allowed else others_end(steps, facts, ledger)
    stops = [answer for answer in answers if isinstance(answer, Waiting) and answer.event == "stack_stops"]
    noes = sorted((answer for answer in answers if isinstance(answer, Refused)), key=lambda one: one.rule == "layer-needs-lower")
    if noes and stops and not ledger.in_flight:  # what the resources wait for is what is refused
        return noes[0]
    for kind in (Look, Waiting):
        for answer in answers:
            if isinstance(answer, kind):
                return answer
    if noes:
        return noes[0]
    warnings = tuple(text for answer in answers if isinstance(answer, Reached) for text in answer.warnings)
    return Reached(warnings)


def _stack(goal: Goal, facts: ClusterFacts, ledger: Ledger) -> Decision:
    """The stack's own steps. While a split brain's victim stands still, nothing else of it moves."""
    victims = standing_still(goal, facts, ledger)
    if not victims:
        return decide_stack(goal, facts, ledger)
    answers = [decide_stack(goal.for_victim(victim), facts, ledger) for victim, stops in sorted(victims.items()) if stops]
    steps = tuple(step for answer in answers if isinstance(answer, Steps) for step in answer.steps)
    return Steps(steps) if steps else next((answer for answer in answers if not isinstance(answer, Reached)), Reached())


def _decide_resource(goal: Goal, facts: ClusterFacts, ledger: Ledger, wanted: Wanted) -> Decision:
    unfit = unseen(goal, facts, wanted) or wrong_node(facts, wanted)
    if unfit is not None:
        return unfit
    running = [(name, claim) for name in wanted.nodes for claim in facts.node(name).claims
               if claim.running and claim.resource == wanted.name and not ledger.in_flight]
    if running:
        name, claim = running[0]
        return Waiting("claim_ends", f"{claim.step} is still running on {name}", CLAIM_DEADLINE, wanted.name, (name,))
    standing_on = stack_stands_on(goal, facts, wanted) if goal.direction is Direction.DOWN else ""
    if standing_on:
        last = last_good_copy(goal, facts, ledger, wanted)
        return last or Waiting("stack_stops", standing_on, None, wanted.name, wanted.nodes)
    moves = _layer_steps(goal, facts, ledger, wanted) if goal.direction is Direction.UP else ()
    for step in moves:
        failed = _failed(ledger, step)
        if failed is not None:
            return failed
        violation = judge(facts, step, wanted, goal, _rules_of_layer(facts, step))
        if violation is not None:
            return _refusal(step, violation)
    recovering = decide_recovery(goal, facts, ledger, wanted, _unsent(moves, ledger))
    if recovering is not None:
        return recovering
    if goal.gone(facts) & set(wanted.nodes) or (goal.only and goal.direction is Direction.DOWN):
        return decide_alone(goal, facts, ledger, wanted, moves)
    unread = tuple(name for name in wanted.nodes if facts.node(name).generation is Generation.UNKNOWN)
    blind = unread and goal.direction is Direction.UP  # going down, a kernel whose version cannot be read has nothing loaded
    answer = _decide_pair(goal, facts, ledger, wanted, moves) if not blind else _version_unread(goal, wanted, unread, moves)
    if isinstance(answer, Refused) and answer.kind is Kind.RULE and not ledger.in_flight:
        return answer  # nothing is prepared on the way to a refusal
    if moves:
        more = answer.steps if isinstance(answer, Steps) else ()
        return Steps((*_unsent(moves, ledger), *more)) if _unsent(moves, ledger) or more else _answer_wait(answer, moves)
    return answer





def _version_unread(goal: Goal, wanted: Wanted, unread: tuple[str, ...], moves: tuple[Step, ...]) -> Decision:
    """Nothing is said to a DRBD whose generation is not known; loading its module tells."""
    if moves:
        return Waiting("answers", "steps are being carried out", None, wanted.name)
    return Refused("fresh-facts", f"{goal.direction.value} {wanted.name}", f"which DRBD {' and '.join(unread)} runs cannot be read",
                   "look at `modinfo drbd` and /proc/drbd there; DRBD 8.3, 8.4 and 9 are understood", Kind.FAILED)


def _answer_wait(answer: Decision, moves: tuple[Step, ...]) -> Decision:
    """Layer steps are under way: nothing that is refused or missing now is final before they are answered."""
    return Waiting("answers", "steps are being carried out", None, moves[0].resource)


def _unsent(steps: tuple[Step, ...], ledger: Ledger) -> tuple[Step, ...]:
    return tuple(step for step in steps if step.key not in ledger.in_flight)


# -- layers ------------------------------------------------------------------------------------------------------------

def _layer_steps(goal: Goal, facts: ClusterFacts, ledger: Ledger, wanted: Wanted) -> tuple[Step, ...]:
    """One start for each layer that its table would move, on each node, where the layers it needs are Up."""
    found = []
    for name in goal.acting(wanted.nodes, facts):
        node = facts.node(name)
        for layer in wanted.layers:
            fact = node.layer(layer)
            row = towards(layers.TABLE, fact.state, Layer.UP, goal.direction, spec(layer))
            if row is None or row.by is not By.US or row.step is None or spec(layer).holds_role:
                continue  # the lock manager is the stack's to start
            if all(node.layer(lower).state is Layer.UP for lower in spec(layer).needs):
                found.append(Step(row.step, name, wanted.name, layer, spec(layer).because, event=row.event))
    return tuple(found)


def _rules_of_layer(facts: ClusterFacts, step: Step) -> tuple[str, ...]:
    state = facts.node(step.node).layer(step.layer).state
    return next((row.rules for row in layers.TABLE if row.source is state and row.event == step.event), ())


# -- the pair ----------------------------------------------------------------------------------------------------------

def _decide_pair(goal: Goal, facts: ClusterFacts, ledger: Ledger, wanted: Wanted, moves: tuple[Step, ...]) -> Decision:
    pair = Pair.of(facts, wanted, ledger)
    state, target = classify(pair), goal_state(goal, wanted)
    if _is_reached(goal, pair, state, target):
        if ledger.in_flight:
            return Waiting("answers", "steps are being carried out", None, wanted.name)
        return _reached(goal, facts, pair)
    if goal.direction is Direction.UP:
        target = _aim(pair, target)
        missing = next((side for side in pair.sides if _no_device(side)), None)
        if missing is not None:
            return Refused("unknown-is-not-down", f"up {wanted.name}", f"its disk on {missing.node}: {missing.signature}",
                           "name a disk that exists there: `disk` or `disks` in cluster.toml", Kind.FAILED)
    alone = _alone(pair, target, goal.direction)
    if alone:
        return _send(goal, facts, ledger, wanted, alone)
    row = towards(resources.TABLE, state, target, goal.direction, pair, TOGETHER)
    if row is None or row.source is Resource.UNKNOWN:
        return _no_way(goal, facts, ledger, pair, state)
    if row.by is By.AWAITED:
        return _wait(goal, facts, ledger, pair, row)
    again = _sent_and_refused(pair, ledger, row)
    return again or _send(goal, facts, ledger, wanted, _steps_of(pair, row, ledger))


def _aim(pair: Pair, target: Resource) -> Resource:
    """`up` takes no role away: where more sides are Primary than is wanted, the way leads there."""
    return resources.HEALTHY[max(resources.HEALTHY.index(target), len(pair.primaries))]


def _no_device(side: Side) -> bool:
    """The backing device is not there: nothing that is done to the peer leads anywhere."""
    return bool(side.signature) and side.backing_size is None and side.metadata is Metadata.UNKNOWN and not side.attached


def _is_reached(goal: Goal, pair: Pair, state: Resource, target: Resource) -> bool:
    if goal.direction is Direction.DOWN:
        return not any(side.configured or side.configured is None for side in pair.sides)
    return state in resources.HEALTHY[resources.HEALTHY.index(target):]  # `up` takes no role away


def _reached(goal: Goal, facts: ClusterFacts, pair: Pair) -> Decision:
    """Being there has to be seen: identifiers of both sides, and every layer."""
    wanted = pair.wanted
    if goal.direction is Direction.DOWN:
        return Reached()
    violation = standing(facts, wanted, goal)
    if violation is not None:
        return Refused(violation.rule, f"up {wanted.name}", violation.evidence, violation.remedy)
    unread = tuple(side.node for side in pair.sides if side.identifiers is None)
    stale = tuple(name for name in unread if not facts.node(name).fresh)
    if stale:
        return Look(stale, "to verify that both sides hold the same data")
    if unread:
        return Refused("fresh-facts", f"up {wanted.name}", f"the identifiers of {unread[0]} cannot be read",
                       f"type `drbdadm get-gi {wanted.name}` there and see what it says", Kind.FAILED)
    unseen = tuple(name for name in wanted.nodes if any(facts.node(name).layer(x).state is Layer.UNKNOWN for x in wanted.layers))
    if unseen:
        fact = next(facts.node(unseen[0]).layer(x) for x in wanted.layers if facts.node(unseen[0]).layer(x).state is Layer.UNKNOWN)
        return Refused("fresh-facts", f"up {wanted.name}", f"{fact.name} on {unseen[0]} cannot be seen: {fact.detail}",
                       "look at that node, then run again", Kind.FAILED)
    return Reached(_warnings(pair))



def _warnings(pair: Pair) -> tuple[str, ...]:
    wanted, texts = pair.wanted, []
    if wanted.fencing == "dont-care" and wanted.accept_no_fencing and wanted.primaries == 2:
        texts.append(f"{wanted.name} has two Primaries and no fencing (accept_no_fencing): a lost link becomes split brain")
    if wanted.accept_auto_discard:
        texts.append(f"{wanted.name} may discard data by itself after a split brain (accept_auto_discard)")
    return tuple(texts)


def _alone(pair: Pair, target: Resource, way: Direction) -> list[tuple[Side, Row]]:
    """Rows that a node takes by itself, by its own side's state."""
    found: list[tuple[Side, Row]] = []
    if any(side.suspended for side in pair.sides):
        return found
    if way is Direction.UP:
        mends = [(side, row) for side in pair.sides if (row := repair(pair, side)) is not None]
        if mends:
            return mends
    for side in pair.sides:
        if target is Resource.DOWN and not side.configured:
            continue
        row = towards(resources.TABLE, _side_view(side, target), target, way, pair, ALONE)
        if row is not None and row.step is not None and not (row.step is Do.ATTACH and _after_its_peer(pair, side)):
            found.append((side, row))
    return found


def _after_its_peer(pair: Pair, side: Side) -> bool:
    """The peer's step comes first: its data, or, where attaching is meeting (somebody typed `connect`), its metadata."""
    peer = next(one for one in pair.sides if one is not side)
    return _behind_its_primary(pair, side) or (side.trying and side_state(peer) is Resource.UNCONFIGURED)


def _behind_its_primary(pair: Pair, side: Side) -> bool:
    """Connected to a Primary that has no disk either: that one's disk goes first, for what it wrote alone may be on no other."""
    peer = next(one for one in pair.sides if one is not side)
    return side.connected and side.role is not Role.PRIMARY and peer.role is Role.PRIMARY and not peer.attached


def _side_view(side: Side, target: Resource) -> Resource:
    """A configured side without a disk still has something to take down."""
    state = side_state(side)
    if target is Resource.DOWN and side.configured and state in (Resource.DOWN, Resource.UNCONFIGURED):
        return Resource.ATTACHED
    return state


def _steps_of(pair: Pair, row: Row, ledger: Ledger) -> list[tuple[Side, Row]]:
    if row.on is On.LACKING:
        return [(side, row) for side in silent_sides(pair)]
    if row.on is On.PRIMARIES:
        return [(side, row) for side in pair.primaries]
    if row.on is On.OTHER:
        return [(side, row) for side in pair.sides if side.role is not Role.PRIMARY]
    return [(_chosen(pair, ledger), row)]


def _chosen(pair: Pair, ledger: Ledger) -> Side:
    """The node that forces or promotes first: what was chosen before, else the first in the configuration."""
    name = dict(ledger.chosen).get(pair.wanted.name, pair.wanted.nodes[0])
    return next((side for side in pair.sides if side.node == name), pair.sides[0])


def _send(goal: Goal, facts: ClusterFacts, ledger: Ledger, wanted: Wanted, rows: list[tuple[Side, Row]]) -> Decision:
    """Judge the rows' steps and hand out those that may go now."""
    ready: list[Step] = []
    together = any(row.on is On.LACKING for _, row in rows)  # no side is armed before all can be
    for side, row in rows:
        if row.step is None:
            continue
        step = Step(row.step, side.node, wanted.name, because=row.because, event=row.event,
                    expect=str(side.identifiers) if side.identifiers else "", replaces=side.configured is True)
        if any(key.endswith(f":{step.resource}:{step.node}") for key in ledger.in_flight):
            continue  # one after the other on a side: what is under way changes what this one stands on
        failed = _failed(ledger, step)
        if failed is not None:
            return failed
        violation = judge(facts, step, wanted, goal, row.rules)
        if violation is not None:
            return _look_first(facts, wanted) or _refusal(step, violation)
        if goal.direction is Direction.UP and _lacks_layer(facts, wanted, row, wanted.nodes if together else (side.node,)):
            continue
        ready.append(step)
    if ready:
        return Steps(tuple(ready))
    return Waiting("answers", "steps are being carried out", None, wanted.name) if ledger.in_flight else _layers_lack(facts, wanted, rows)


def _look_first(facts: ClusterFacts, wanted: Wanted) -> Look | None:
    """Nothing is refused on identifiers that an event has made unknown: they have to be read again."""
    stale = tuple(name for name in wanted.nodes if facts.node(name).side(wanted.name).identifiers is None and not facts.node(name).fresh)
    return Look(stale, "the generation identifiers have to be read") if stale else None


def _lacks_layer(facts: ClusterFacts, wanted: Wanted, row: Row, nodes: tuple[str, ...]) -> bool:
    return any(facts.node(node).layer(name).state is not Layer.UP for node in nodes for name in row.layers if name in wanted.layers)


def _layers_lack(facts: ClusterFacts, wanted: Wanted, rows: list[tuple[Side, Row]]) -> Refused:
    """A layer that the steps need is not Up, and nothing of ours would start it."""
    names = [name for _, row in rows for name in row.layers if name in wanted.layers]
    lacking = [(node, facts.node(node).layer(name)) for node in wanted.nodes for name in names]
    node, fact = next((node, fact) for node, fact in lacking if fact.state is not Layer.UP)
    return Refused("layer-needs-lower", f"{rows[0][1].event} {wanted.name}", f"{fact.name} on {node} is {fact.state.value}: {fact.detail}",
                   "look at that node, then run again", Kind.FAILED)


def _refusal(step: Step, violation: Violation) -> Refused:
    what = f"{step.do.value}{' ' + step.layer if step.layer else ''} {step.resource} on {step.node}"
    return Refused(violation.rule, what, violation.evidence, violation.remedy)


# -- waiting and being stuck -------------------------------------------------------------------------------------------

def _wait(goal: Goal, facts: ClusterFacts, ledger: Ledger, pair: Pair, row: Row) -> Decision:
    wanted = pair.wanted
    if ledger.in_flight:
        return Waiting("answers", "steps are being carried out", None, wanted.name)
    if row.source in (Resource.CONNECTING, Resource.DEGRADED) and not pair.met:  # they would connect by themselves
        probe = Step(Do.CONNECT, pair.sides[0].node, wanted.name, because=row.because, event=row.event)
        violation = judge(facts, probe, wanted, goal)
        if violation is not None:
            return _refusal(evolve(probe, node=" and ".join(wanted.nodes)), violation)
    deadline = wanted.connect_deadline if row.source in (Resource.CONNECTING, Resource.DEGRADED) else row.deadline
    return Waiting(row.event, row.because, deadline, wanted.name, wanted.nodes)


def _no_way(goal: Goal, facts: ClusterFacts, ledger: Ledger, pair: Pair, state: Resource) -> Decision:
    if ledger.in_flight:
        return Waiting("answers", "steps are being carried out", None, pair.wanted.name)
    stale = tuple(side.node for side in pair.sides if side.identifiers is None and not facts.node(side.node).fresh)
    if state is Resource.UNKNOWN and stale:
        return Look(stale, "the generation identifiers have to be read")
    return explain(goal, facts, pair, state)


def _sent_and_refused(pair: Pair, ledger: Ledger, row: Row) -> Refused | None:
    """We asked the sides to connect in this run, and DRBD said no since: saying it again changes nothing."""
    if row.step is not Do.CONNECT:
        return None
    for side in pair.sides:
        sent = ledger.began(Step(Do.CONNECT, side.node, pair.wanted.name).key)
        trouble = side.trouble
        if sent is not None and trouble is not None:
            values = "; ".join(f"{one.node} runs {dict(one.running).get(trouble.setting, 'nothing seen')!r}" for one in pair.sides)
            setting = f" (setting {trouble.setting}: {values})" if trouble.setting and trouble.setting != "shared-secret" else ""
            secret = " (setting shared-secret: it is not the same on both)" if trouble.setting == "shared-secret" else ""
            seen = f"the kernel of {side.node} says: {trouble.text}{setting}{secret}"
            return Refused("connect-refused", f"connect {pair.wanted.name}", seen,
                           "mend that on both nodes, then run again", Kind.FAILED)
    return None


def _failed(ledger: Ledger, step: Step) -> Refused | None:
    """The step was sent in this run and failed, and what was seen since says that it is still needed."""
    seen = dict(ledger.failed).get(step.key)
    if seen is None:
        return None
    what = f"{step.do.value}{' ' + step.layer if step.layer else ''} {step.resource} on {step.node}"
    return Refused("step-failed", what, seen, "mend what it says, then run again", Kind.FAILED)
