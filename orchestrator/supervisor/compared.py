"""Blocks that a verify has found to differ stay an alarm until another verify finds none."""

from __future__ import annotations

from collections.abc import Mapping

import anyio
from attrs import define

from orchestrator.verified import Verifications
from states.alarm import Alarm
from states.picture import Picture
from states.verify import Verification, differing

EVERY = 5.0
"""Seconds between two looks into the journal: a verify takes minutes, and its end is not told otherwise."""


@define(eq=False)
class Compared:
    """A Listener that complains. `resources`: those of cluster.toml; what was verified of others is of no interest any more."""

    verifications: Verifications
    resources: tuple[str, ...]

    def picture(self, picture: Picture) -> None:
        """See Listener."""

    @property
    def last(self) -> tuple[Verification, ...]:
        """What the last verify of each resource has found."""
        return tuple(found for name, found in self.verifications.last.items() if name in self.resources)

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """See Complains."""
        return tuple(differing(found) for found in self.last if found.blocks)

    @property
    def counts(self) -> Mapping[str, int]:
        """See Complains."""
        return {}

    async def run(self) -> None:
        """See Listener. Raises OSError when the journal cannot be read: it is said, and begun again."""
        while True:
            self.verifications.read()
            await anyio.sleep(EVERY)
