"""What `orchestrate check` says: one finding, and how bad it is."""

from __future__ import annotations

from enum import Enum

from attrs import frozen


class Weight(Enum):
    """How bad a finding is; the exit code follows from the worst."""

    DANGER = "danger"     # data can be lost or served wrongly
    PROBLEM = "problem"   # `up` will not reach the goal
    NOTE = "note"


@frozen
class Finding:
    """One thing that was found."""

    weight: Weight
    where: str
    what: str
    evidence: str
    remedy: str
