"""The listener that keeps a name up to date: withdrawn within a moment of leaving Up, published again when it serves.

One attempt at a time, always with the newest choice: a server that is slow is not asked twice at once, so that an older
update can never overtake a newer one unseen. Trouble is reported and retried, and never reaches the supervisor.
"""

from __future__ import annotations

import math
from typing import Any

import anyio

from orchestrator.config import Config
from orchestrator.names import Address, BackEnd, NotPublishedError, Records, addresses_of, back_end, in_order
from states.alarm import Alarm, Severity
from states.names import Choice, Limits, choose
from states.picture import Picture

PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds before a failed attempt is made again; the last one from then on. A new choice is tried at once."""
SOON, ASSERT_AGAIN = 10.0, 300.0
"""Seconds until what was published is published once more, in case that somebody has changed it. `SOON` after trouble: an
attempt that was given up may have been done by the server late, after the one that followed it."""


class Names:
    """A Listener. `alarms` and `counts` are for whoever makes the next picture."""

    def __init__(self, config: Config, log: Any, where: BackEnd | None = None) -> None:
        section = config.supervise.names
        self._section = section
        self._log = log
        self._where = where if where is not None else back_end(config)
        self._addresses = addresses_of(config)
        self._limits = Limits(section.load_high, section.load_low, section.sessions_high, section.sessions_low)
        self._picture: Picture | None = None
        self._choice: Choice | None = None
        self._changed = anyio.Event()
        self._published: tuple[str, ...] | None = None
        self._failures = 0
        self.alarms: tuple[Alarm, ...] = ()
        self.counts = {"names_updates": 0, "names_failures": 0}

    def picture(self, picture: Picture) -> None:
        """See Listener. Chooses at once; the work is `run`'s."""
        self._picture = picture
        choice = choose(picture, self._limits, self._choice, keep_last=self._section.keep_last)
        if choice is None:
            return
        if self._choice is None or choice.nodes != self._choice.nodes:
            self._log.info("names", name=self._section.name, nodes=list(choice.nodes), out=dict(choice.out), but=choice.but)
            self._changed.set()
            self._changed = anyio.Event()
        self._choice = choice

    async def run(self) -> None:
        """See Listener."""
        while True:
            changed = self._changed
            pause = await self._attempt()
            with anyio.move_on_after(pause):
                await changed.wait()

    async def _attempt(self) -> float:
        """Publish the newest choice. Returns after how many seconds it is to be done again, if nothing changes."""
        try:
            if self._choice is None:
                await self._recognise()
                if self._choice is None:
                    return math.inf
            choice = self._choice
            await self._where.write(self._records(choice))
        except NotPublishedError as error:
            return self._failed(error)
        return self._succeeded(choice)

    async def _recognise(self) -> None:
        """What an earlier supervisor has left there: needed where nobody serves, so that the last one is not taken away."""
        if self._picture is None:
            return
        found = await self._where.read()
        if found is None:
            return
        there = tuple(node for node, addresses in self._addresses.items() if addresses & found)
        self._log.info("names_found", name=self._section.name, nodes=list(there))
        if self._choice is None:  # no picture has come meanwhile that decides it
            self._choice = Choice(there)
            self.picture(self._picture)

    def _records(self, choice: Choice) -> Records:
        wanted: frozenset[Address] = frozenset().union(*(self._addresses.get(node, frozenset()) for node in choice.nodes))
        every: frozenset[Address] = frozenset().union(*self._addresses.values())
        return Records(self._section.name, self._section.ttl, wanted, every - wanted)

    def _succeeded(self, choice: Choice) -> float:
        if self._failures or choice.nodes != self._published:
            self._log.info("names_published", name=self._section.name, nodes=list(choice.nodes), after_failures=self._failures,
                           addresses=[str(one) for one in in_order(self._records(choice).wanted)])
        pause = SOON if self._failures else ASSERT_AGAIN
        self._published, self._failures, self.alarms = choice.nodes, 0, ()
        self.counts["names_updates"] += 1
        return pause

    def _failed(self, error: NotPublishedError) -> float:
        pause = PAUSES[min(self._failures, len(PAUSES) - 1)]
        self._failures += 1
        self.counts["names_failures"] += 1
        remedy = error.remedy or "it is tried again"
        self._log.warning("names_failed", name=self._section.name, seen=str(error), remedy=remedy, failures=self._failures, again_in=pause)
        wanted = ", ".join(self._choice.nodes if self._choice is not None else ()) or "nobody"
        self.alarms = (Alarm("names-not-published", self._section.name, Severity.WARNING,
                             f"{self._section.name} could not be made to lead to {wanted}", str(error), remedy),)
        return pause
