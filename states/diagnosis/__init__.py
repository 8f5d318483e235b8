"""Why two sides of a resource are not (rightly) connected, from both sides' facts: pure, and total.

    causes      the kinds, and the table that tells them apart
    signatures  a handshake or a resync that gets nowhere
    sayings     one sentence, and what to type next
    evidence    what it rests on
    words       numbers, times and identifiers in words

What the two sides' data are to each other is asked of `states.handshake`, which knows DRBD's own comparison. What could not
be read makes the cause UNKNOWN (or leaves it to the kernel's own word), never HEALTHY.
"""

from __future__ import annotations

from attrs import frozen

from states.diagnosis.causes import Case, Cause, cause_of
from states.diagnosis.evidence import evidence
from states.diagnosis.sayings import SAYINGS
from states.facts import ClusterFacts
from states.pair import Pair


@frozen
class Diagnosis:
    """What is wrong between two sides. `type_next` is "" where nothing is."""

    kind: Cause
    summary: str
    evidence: tuple[str, ...]
    type_next: str


def diagnose(pair: Pair, facts: ClusterFacts) -> Diagnosis:
    """The diagnosis of one pair. Never raises for what was seen, or could not be."""
    case = Case(pair, facts)
    kind, summary, type_next = _said(case)
    return Diagnosis(kind, summary, evidence(case), type_next)


def in_short(pair: Pair, facts: ClusterFacts) -> tuple[Cause, str, str]:
    """Kind, sentence and command, without the evidence."""
    return _said(Case(pair, facts))


def _said(case: Case) -> tuple[Cause, str, str]:
    cause = cause_of(case)
    summary, type_next = SAYINGS[cause](case)
    return cause, summary, type_next


__all__ = ["Cause", "Diagnosis", "diagnose", "in_short"]
