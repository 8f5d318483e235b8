"""Those who are told every new picture: metrics, alerts, names, the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from states.alarm import Alarm
from states.picture import Picture


class Listener(Protocol):
    """Told of everything, in order. Its trouble is its own: supervision goes on without it."""

    def picture(self, picture: Picture) -> None:
        """A new picture. Must not wait: what takes time belongs into `run`."""
        ...

    async def run(self) -> None:
        """Its own work for as long as the supervisor runs; ended by cancellation. Raises nothing a network can cause."""
        ...


@runtime_checkable
class Complains(Protocol):
    """A listener that has something to say itself: it is added to the next picture."""

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """Its own troubles."""
        ...

    @property
    def counts(self) -> Mapping[str, int]:
        """Its own totals."""
        ...
