"""The listener that watches every resync for the known signs of one that gets nowhere: states/stall.py, over time."""

from __future__ import annotations

import anyio

from states.alarm import Alarm
from states.goal import Ledger
from states.pair import Pair
from states.picture import Picture
from states.stall import Stalls


class Resyncs:
    """A Listener. `alarms` and `counts` are for whoever makes the next picture."""

    def __init__(self) -> None:
        self._stalls = Stalls()
        self.alarms: tuple[Alarm, ...] = ()
        self.counts: dict[str, int] = {}

    def picture(self, picture: Picture) -> None:
        """See Listener."""
        now: float = anyio.current_time()
        pairs = [Pair.of(picture.facts, wanted, Ledger()) for wanted in picture.goal.resources]
        self._stalls = self._stalls.look(pairs, dict(picture.progress), now)
        said = (self._stalls.alarm(pair, picture.facts, now) for pair in pairs)
        self.alarms = tuple(alarm for alarm in said if alarm is not None)

    async def run(self) -> None:
        """See Listener."""
        await anyio.sleep_forever()
