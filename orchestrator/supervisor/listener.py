"""Those who are told every new picture: metrics, alerts, names, the log."""

from __future__ import annotations

from typing import Protocol

from states.picture import Picture


class Listener(Protocol):
    """Told of everything, in order. Its trouble is its own: supervision goes on without it."""

    def picture(self, picture: Picture) -> None:
        """A new picture. Must not wait: what takes time belongs into `run`."""
        ...

    async def run(self) -> None:
        """Its own work for as long as the supervisor runs; ended by cancellation. Raises nothing a network can cause."""
        ...
