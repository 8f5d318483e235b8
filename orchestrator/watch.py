"""What a run tells people while it works. The engine speaks to a `Watch`; the command line has the one that draws."""

from __future__ import annotations

from typing import Protocol

from states.goal import Step
from states.progress import Progress
from states.vocabulary import Resource


class Watch(Protocol):
    """Listens to a run. Nothing it does may wait."""

    def step(self, step: Step) -> None:
        """A step is being sent."""

    def done(self, key: str, code: int, seconds: float) -> None:
        """A step came back after so many seconds on the node."""

    def moved(self, resource: str, before: Resource | None, after: Resource, *, surprise: bool) -> None:
        """A machine moved; `surprise`: its table has no such row."""

    def progress(self, resource: str, progress: Progress) -> None:
        """A resync got on (or did not)."""

    def note(self, text: str) -> None:
        """Something worth a line."""


class Silent:
    """Tells nothing: for scripts and tests."""

    def step(self, step: Step) -> None:
        """See Watch."""

    def done(self, key: str, code: int, seconds: float) -> None:
        """See Watch."""

    def moved(self, resource: str, before: Resource | None, after: Resource, *, surprise: bool) -> None:
        """See Watch."""

    def progress(self, resource: str, progress: Progress) -> None:
        """See Watch."""

    def note(self, text: str) -> None:
        """See Watch."""
