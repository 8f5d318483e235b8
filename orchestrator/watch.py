"""What a run tells people while it works. The engine speaks to a `Watch`; the command line has the one that draws."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from states.goal import Step
from states.progress import Progress


class Watch(Protocol):
    """Listens to a run. Nothing it does may wait."""

    def step(self, step: Step) -> None:
        """A step is being sent."""

    def done(self, key: str, code: int, seconds: float) -> None:
        """A step came back after so many seconds on the node."""

    def moved(self, machine: str, before: Enum | None, after: Enum, *, surprise: bool) -> None:
        """A machine (a resource, or "LAYER on NODE") moved; `surprise`: its table has no such row."""

    def progress(self, resource: str, progress: Progress) -> None:
        """A resync got on (or did not); or what `resource` says, such as "r0: saving"."""

    def note(self, text: str) -> None:
        """Something worth a line."""


class Silent:
    """Tells nothing: for scripts and tests."""

    def step(self, step: Step) -> None:
        """See Watch."""

    def done(self, key: str, code: int, seconds: float) -> None:
        """See Watch."""

    def moved(self, machine: str, before: Enum | None, after: Enum, *, surprise: bool) -> None:
        """See Watch."""

    def progress(self, resource: str, progress: Progress) -> None:
        """See Watch."""

    def note(self, text: str) -> None:
        """See Watch."""
