"""What a supervisor has to say of a cluster. An alarm stands on what is seen, and ends when that is gone."""

from __future__ import annotations

from enum import Enum

from attrs import frozen


class Severity(Enum):
    """How soon somebody has to come."""

    __hash__ = object.__hash__

    NOTICE = "notice"      # good to know: somebody will ask why
    WARNING = "warning"    # it serves, and the next fault may end that
    CRITICAL = "critical"  # it does not serve, or data is in danger


@frozen
class Alarm:
    """`name`: its kind, as docs/alarms.md lists them. `about`: a resource, a node, or "LAYER on NODE". `what` is one
    sentence, `evidence` what was seen, `remedy` what to type (or that nothing need be typed)."""

    name: str
    about: str
    severity: Severity
    what: str
    evidence: str = ""
    remedy: str = ""

    @property
    def key(self) -> str:
        """The same cause has the same key, however its words change."""
        return f"{self.name}:{self.about}"
