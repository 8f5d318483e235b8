"""Rule nobody-asked: what a run that no human asked for may not do.

A supervisor repairs what it can undo. What ends something for ever waits for a human, and so does a node that a human has taken
down, or has put into maintenance.
"""

from __future__ import annotations

from states.consent import NOTHING_CHANGED
from states.facts import ClusterFacts
from states.goal import Do, Goal, Step

TAKEN_DOWN = "down"
"""What a node remembers of an `orchestrate down`, until the next `up`."""
ASK = "orchestrate plan shows what would be done; then orchestrate up"
Found = tuple[str, str] | None


def unasked(facts: ClusterFacts, step: Step, goal: Goal, nodes: tuple[str, ...]) -> Found:
    """What was seen and what to type, or None. `nodes`: whom the step concerns: both of a pair, or the layer's own."""
    if not goal.unasked:
        return None
    if step.destructive and not _discards_nothing(step, goal):
        what = f"making {step.layer}" if step.layer else step.do.value
        return f"{what} cannot be undone, and no human asked for it", ASK
    if step.do is Do.RELEASE:
        return "somebody has activated volumes below DRBD, and no human asked to take them away", ASK
    return maintained(facts, nodes)


def _discards_nothing(step: Step, goal: Goal) -> bool:
    """The side provably changed nothing since the two parted: no human has to agree to that (other rules prove it again)."""
    return step.do is Do.DISCARD and any(one.resource == step.resource and one.by == NOTHING_CHANGED for one in goal.consents)


def maintained(facts: ClusterFacts, nodes: tuple[str, ...]) -> Found:
    """The first of these nodes that a human wants left alone."""
    for node in (facts.node(name) for name in nodes):
        if node.maintenance == TAKEN_DOWN:
            return f"{node.name} was taken down by hand", "orchestrate up"
        if node.maintenance:
            return f"{node.name} is in maintenance: {node.maintenance}", f"orchestrate maintenance off {node.name}"
    return None
