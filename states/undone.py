"""What a run that ended before its goal has left undone, in words. Pure; says only what was seen."""

from __future__ import annotations

from states.facts import ClusterFacts
from states.goal import Goal, Ledger
from states.pair import Pair
from states.resource import HEALTHY, classify, goal_state
from states.stack import layer_state
from states.stacks import Stack
from states.vocabulary import Layer


def undone(goal: Goal, facts: ClusterFacts) -> tuple[str, ...]:
    """For a run up: resources that are not where they should be, then each node's layers that are not Up, lowest first."""
    found = []
    for wanted in goal.resources:
        state = classify(Pair.of(facts, wanted, Ledger()))
        if state not in HEALTHY[HEALTHY.index(goal_state(goal, wanted)):]:
            found.append(f"{wanted.name} is {state.value}")
    for node in facts.nodes:
        if not node.reachable:
            found.append(f"{node.name} cannot be seen")
            continue
        stack = goal.stack or Stack()
        missing = [placed.name for placed in stack.layers
                   if node.name in placed.nodes and layer_state(stack, facts, placed, node.name).state is not Layer.UP]
        if missing:
            found.append(f"not up on {node.name}: {', '.join(missing)}")
    return tuple(found)
