"""A plan is `decide` run against expectations instead of looks: a partial order in which every edge names its need.

Nothing here knows what a good order is; the order is whatever the tables and rules let through.
"""

from __future__ import annotations

from attrs import evolve, field, frozen

from states import recovery
from states import resource as resources
from states.expect import after_event, after_step
from states.facts import ClusterFacts, Generation
from states.goal import Do, Goal, Kind, Ledger, Look, Reached, Refused, Step, Steps, Waiting, Wanted
from states.pair import Pair
from states.stack import carries_role
from states.stacks import spec
from states.stuck import overdue
from states.table import On

MOST = 200
"""More rounds than any plan of two nodes needs: a table that goes round in circles is a bug, and is said so."""

PLANNED_ARCHIVE = "the-archive"
"""Stands for the place of an archive that is yet to be made."""


@frozen
class Item:
    """One line of a plan: a step on a node, or an event that is waited for. `needs` are keys of earlier items."""

    key: str
    what: str
    node: str
    resource: str
    because: str
    needs: tuple[str, ...]
    step: Step | None = None
    waiting: Waiting | None = None


@frozen
class Plan:
    """The items in an order that respects every need; `refused` where the way ends before the goal."""

    items: tuple[Item, ...] = ()
    refused: Refused | None = None
    warnings: tuple[str, ...] = ()
    after: ClusterFacts = field(factory=ClusterFacts)


def plan(goal: Goal, facts: ClusterFacts, ledger: Ledger | None = None) -> Plan:
    """What would be done from `facts` to `goal`, and why. Raises RuntimeError if the tables lead in circles."""
    from states.decide import decide

    ledger = ledger or Ledger()
    items: list[Item] = []
    wanted = {one.name: one for one in goal.resources}
    for _ in range(MOST):
        answer = decide(goal, facts, ledger)
        if isinstance(answer, Reached):
            return Plan(tuple(items), warnings=answer.warnings, after=facts)
        if isinstance(answer, Refused):
            return Plan(tuple(items), refused=_not_yet(answer, items, facts) or _unread_yet(items) or answer, after=facts)
        if isinstance(answer, Look):
            return Plan(tuple(items), refused=_unsure(answer), after=facts)
        if isinstance(answer, Waiting) and answer.event == "settled":
            return Plan(tuple(items), refused=_suspect(answer, facts, wanted[answer.resource]), after=facts)
        if isinstance(answer, Waiting):
            items.append(_awaited(answer, items))
            facts = after_event(facts, answer, wanted.get(answer.resource))
        if isinstance(answer, Steps):
            items.extend([_planned(step, items, goal, wanted) for step in answer.steps])
            for step in answer.steps:
                facts = after_step(facts, step, wanted.get(step.resource), goal.stack)
            ledger = _remember(ledger, answer.steps)
    raise RuntimeError(f"no end after {MOST} rounds: {[item.key for item in items[-6:]]}")


def _not_yet(refused: Refused, items: list[Item], facts: ClusterFacts) -> Refused | None:
    """A refusal for want of a version that will be known once the module is loaded is the plan's end, not the run's."""
    unread = tuple(node.name for node in facts.nodes if node.generation is Generation.UNKNOWN)
    loads = any(item.step is not None and item.step.layer == "module" for item in items)
    if refused.rule != "fresh-facts" or not unread or not loads:
        return None
    return _unsure(Look(unread, "which DRBD it is can be read once the module is loaded; `up` then looks and goes on"))


def _unread_yet(items: list[Item]) -> Refused | None:
    """A disk that something else has cannot be read: what is on it is known once it is released."""
    nodes = tuple(dict.fromkeys(item.node for item in items if item.step is not None and item.step.do is Do.RELEASE))
    return _unsure(Look(nodes, "what the disk holds can be read once it is released; `up` then looks and goes on")) if nodes else None


def _unsure(answer: Look) -> Refused:
    return Refused("fresh-facts", f"plan for {' and '.join(answer.nodes)}", answer.why, "run it again", Kind.FAILED)


def _suspect(waiting: Waiting, facts: ClusterFacts, wanted: Wanted) -> Refused:
    """A plan does not hope that a suspicion goes away."""
    pair = Pair.of(facts, wanted, Ledger())
    return overdue(waiting, facts, pair, resources.classify(pair), 0.0)


def _remember(ledger: Ledger, steps: tuple[Step, ...]) -> Ledger:
    chosen = {step.resource: step.node for step in steps if step.do in (Do.FORCE_PRIMARY, Do.CLEAR_BITMAP)}
    archives = {step.resource: PLANNED_ARCHIVE for step in steps if step.do is Do.SAVE}
    return evolve(ledger, chosen=tuple({**dict(ledger.chosen), **chosen}.items()),
                  archives=tuple({**dict(ledger.archived(steps)), **archives}.items()))


def _planned(step: Step, items: list[Item], goal: Goal, wanted: dict[str, Wanted]) -> Item:
    lower = needs(step, items, wanted[step.resource]) if step.resource else _stack_needs(step, items, goal)
    return Item(step.key, describe(step), step.node, step.resource or "stack", step.because, lower, step)


def _stack_needs(step: Step, items: list[Item], goal: Goal) -> tuple[str, ...]:
    """Keys of the earlier items a layer of the stack waits for: what is below it (above it, going down) and its data's role."""
    if goal.stack is None:
        raise ValueError(f"{step.key}: a step of the stack in a cluster without one")
    placed = goal.stack.placed(step.layer)
    names = set(placed.needs) if step.do is Do.START_LAYER else {one.name for one in goal.stack.above(placed.name)}
    all_nodes = placed.spec.joint or (placed.spec.together and step.do is Do.START_LAYER)
    found = [item.key for item in items if item.step is not None and item.step.resource == "" and item.step.layer in names
             and (item.node == step.node or all_nodes or goal.stack.placed(item.step.layer).spec.once)]
    if step.do is Do.START_LAYER:  # what ran too early was stopped first; a copy needs what is copied
        early = {step.layer, *(one.name for one in goal.stack.above(placed.name))}
        found += [item.key for item in items if item.step is not None and item.node == step.node
                  and item.step.do is Do.STOP_LAYER and item.step.layer in early]
        found += [item.key for item in items if placed.spec.copied and item.step is not None and item.step.layer == step.layer]
        found += [item.key for item in items if item.waiting is not None and item.waiting.event == "solved"]
    roles = [item.key for item in items if item.resource == placed.resource and placed.spec.data and item.node in (step.node, "")]
    if step.do is Do.STOP_LAYER and carries_role(goal.stack, placed):
        roles = [item.key for item in items if item.step is not None and item.step.do is Do.DEMOTE and item.node == step.node]
    return tuple(dict.fromkeys((*found, *roles[-1:])))


def needs(step: Step, items: list[Item], wanted: Wanted) -> tuple[str, ...]:
    """Keys of the earlier items this step waits for: its layers, and what came last on its own node or on both."""
    keys = {item.key for item in items}
    if step.do is Do.START_LAYER:
        return tuple(key for key in _layer_keys(step, spec(step.layer).needs) if key in keys)
    row = next((row for row in (*resources.TABLE, *recovery.TABLE) if row.event == step.event), None)
    if row is None:  # a step of a side that starts alone: one after the other
        return _last(items, step.resource, (step.node,))
    alone = row.on is On.EACH and row.when is None
    lower = tuple(key for key in (*_layer_keys(step, row.layers), *_stack_keys(step, row.layers)) if key in keys)
    return lower + _last(items, step.resource, (step.node,) if alone else wanted.nodes)


def _stack_keys(step: Step, layers: tuple[str, ...]) -> list[str]:
    return [Step(Do.START_LAYER, step.node, "", name).key for name in layers]


def _layer_keys(step: Step, layers: tuple[str, ...]) -> list[str]:
    return [f"{Do.START_LAYER.value}:{name}:{step.resource}:{step.node}" for name in layers]


def _last(items: list[Item], resource: str, nodes: tuple[str, ...]) -> tuple[str, ...]:
    """The newest item of a resource on each of these nodes; an awaited event counts for both."""
    found: dict[str, None] = {}
    for node in nodes:
        mine = [
            item.key for item in items
            if item.resource == resource and item.node in (node, "") and not (item.step and item.step.do is Do.START_LAYER)
        ]
        found.update(dict.fromkeys(mine[-1:]))
    return tuple(found)


def _awaited(waiting: Waiting, items: list[Item]) -> Item:
    what = f"wait: {waiting.event.replace('_', ' ')}" + (f", at most {waiting.deadline:.0f} s" if waiting.deadline else "")
    found = _last(items, waiting.resource, waiting.nodes)
    if waiting.layer:
        what = f"wait: {waiting.layer} {waiting.event.replace('_', ' ')}"
    key = f"{waiting.event}:{waiting.resource}"
    if waiting.layer or waiting.event == "claim_ends":  # there may be one for each node
        key = ":".join((waiting.event, waiting.resource or waiting.layer.replace(" ", "-"), *waiting.nodes))
    return Item(key, what, "", waiting.resource or "stack", waiting.why, found, waiting=waiting)


def describe(step: Step) -> str:
    """One step in words."""
    if step.do is Do.START_LAYER:
        return spec(step.layer).start
    return spec(step.layer).stop if step.do is Do.STOP_LAYER else step.do.value.replace("-", " ")
