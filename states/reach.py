"""Asked before anything else: can every node of a resource be seen, and is it the machine that it is taken for."""

from __future__ import annotations

from states.facts import ClusterFacts
from states.goal import Goal, Kind, Refused, Wanted


def unseen(goal: Goal, facts: ClusterFacts, wanted: Wanted) -> Refused | None:
    """A node that cannot be seen counts as Primary and mounted, unless this run may do without it."""
    for name in wanted.nodes:
        node = facts.node(name)
        if not node.reachable and name not in goal.gone(facts):
            return Refused(
                "unknown-is-not-down", f"{goal.direction.value} {wanted.name}", f"{name} cannot be reached: {node.why}",
                f"make {name} reachable; an unreachable node counts as Primary and mounted{_or_alone(goal, facts, name)}", Kind.UNREACHABLE,
            )
    return None


def _or_alone(goal: Goal, facts: ClusterFacts, name: str) -> str:
    """What else can be typed when a node is away."""
    again = f"{goal.direction.value} --degraded"
    if name in facts.off:
        return f"; it is known to be off: `{again}` does without it"
    then = f", then `{again}`" if fencing(goal) != "none" else ""
    return f"; {said_off(goal, name)}{then}"


def fencing(goal: Goal) -> str:
    """How nodes that are lost are dealt with: `agent`, `manual` or `none`; where there is no stack, nobody is there to be told."""
    return goal.stack.fencing if goal.stack is not None else "none"


def said_off(goal: Goal, node: str) -> str:
    """What to do about a node that may be off. Without fencing no command says so: the others would have nobody to believe."""
    return {
        "agent": f"if it is off, say so: `orchestrate fence {node}`, or `orchestrate fence-ack {node}`",
        "manual": f"switch it off, and say so: `orchestrate fence-ack {node}`",
        "none": f"is {node} off, switch it on; does it hang, switch it off and on: with no fencing configured "
                f"`orchestrate` does nothing without it (for another time: [node.{node}.fence], docs/configuration.md)",
    }[fencing(goal)]


def wrong_node(facts: ClusterFacts, wanted: Wanted) -> Refused | None:
    """Every address must lead to the machine that bears the node's name, and no two to the same one."""
    one, other = (facts.node(name) for name in wanted.nodes)
    for node in (one, other):
        if node.hostname and node.hostname != node.name:
            return Refused("right-node", f"anything on {node.name}", f"its address leads to a machine that calls itself {node.hostname}",
                           "mend `address` in cluster.toml; the node's name there is what `uname -n` says")
    if one.boot_id and one.boot_id == other.boot_id:
        return Refused("right-node", f"anything on {other.name}", f"its address leads to {one.name}", "mend `address` in cluster.toml")
    return None
