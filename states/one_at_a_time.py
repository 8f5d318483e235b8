"""Rule one-destructive-in-flight: a node carries out one DESTRUCTIVE step at a time, ours or one that an earlier run left."""

from __future__ import annotations

from states.facts import ClusterFacts
from states.goal import Ledger, Step, Waiting, ends_for_ever

CLAIM_DEADLINE = 400.0
"""Seconds a claimed step of an earlier run may still take: more than any step's own limit on the node."""


def others_end(steps: tuple[Step, ...], facts: ClusterFacts, ledger: Ledger) -> Waiting:
    """What all these steps wait for: our own that is under way, or one that an earlier run left running."""
    for step in steps:
        running = [claim for claim in facts.node(step.node).claims if claim.running]
        if running and not ledger.in_flight:
            why = f"{running[0].step} of {running[0].resource} is still running on {step.node}"
            return Waiting("claim_ends", why, CLAIM_DEADLINE, step.resource, (step.node,), step.layer if not step.resource else "")
    return Waiting("answers", "steps are being carried out", None)


def one_destructive_a_node(steps: tuple[Step, ...], facts: ClusterFacts, ledger: Ledger) -> tuple[Step, ...]:
    """Rule one-destructive-in-flight: the node carries out one at a time, and would turn a second one away."""
    busy = {key.rpartition(":")[2] for key in ledger.in_flight if ends_for_ever(key)}
    busy |= {node.name for node in facts.nodes if any(claim.running for claim in node.claims)}
    allowed = []
    for step in steps:
        if step.destructive and step.node in busy:
            continue
        if step.destructive:
            busy.add(step.node)
        allowed.append(step)
    return tuple(allowed)
