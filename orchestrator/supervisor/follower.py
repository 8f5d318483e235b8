"""One long-lived shell on each node, over one SSH channel: what happens there comes by itself, without a round trip.

A follower that ends is begun again with a growing pause; one that says nothing is given up. A node's stream is not trusted
across a gap: whoever reads `Gap` has to look. The far side is `sweep.sh` and `follow.sh` beside this file.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib import resources

import anyio
import anyio.lowlevel
from attrs import define, field, frozen

from orchestrator.commands import Command
from orchestrator.lease import is_dead
from orchestrator.supervisor.intake import Intake
from orchestrator.supervisor.said import Following, Gap, Logged, WatchedBy, read_line
from orchestrator.transport import NotSent, Transport, Why

SWEEP = resources.files(__package__).joinpath("sweep.sh").read_text()
FRAME = resources.files(__package__).joinpath("follow.sh").read_text()
SCRIPT = f"{SWEEP}\n{FRAME}"
BEST_SHELL = 'if command -v bash >/dev/null 2>&1; then exec bash -c "$@"; fi; exec sh -c "$@"'
"""bash can wait a second without starting a process for it; where there is none, any sh will do."""
PAUSES = (0.5, 1.0, 2.0, 5.0)
"""Seconds before a broken stream is opened again; the last one from then on."""
BEAT = 3
"""Seconds between two signs of life of a follower."""
OLD_NEWS = 2.0
"""Seconds after its begin in which a follower's log lines are old: dmesg first prints what it has. A full look sees the rest."""
SILENCE = 10.0
"""Seconds without a word after which a connection is taken for dead, though nobody has said so."""
NOBODY = "-"
"""The holder of somebody who only looks."""


@frozen
class Wish:
    """What a node's follower is to see. `holder`: who watches, or NOBODY. `services`: systemd's units whose processes are
    looked at every `sweep` seconds; `units`: those whose words in the journal are passed on."""

    holder: str = NOBODY
    sweep: float = 1.0
    services: tuple[str, ...] = ()
    units: tuple[str, ...] = ()

    def command(self, node: str, over: str = NOBODY) -> Command:
        """The follower's command. `over`: a holder that is known to be dead."""
        words = (self.holder, over, f"{self.sweep:g}", str(BEAT), " ".join(self.services), *self.units)
        return Command(node, ("sh", "-c", BEST_SHELL, "sh", SCRIPT, "follow", *words))


@define
class Follower:
    """Follows one node for ever. Puts what it says into the intake, and never waits for whoever reads it."""

    transport: Transport
    node: str
    wish: Wish
    intake: Intake
    is_dead: Callable[[str], bool] = is_dead
    first: anyio.Event = field(factory=anyio.Event)
    """Set when the first attempt has come to something: it follows, is refused, or cannot be reached."""
    _over: str = NOBODY
    _began_at: float = math.inf

    async def run(self) -> None:
        """Until it is cancelled."""
        failures = 0
        while True:
            self._began_at = math.inf
            await self._follow()
            self.first.set()
            failures = 0 if self._began_at < math.inf else failures + 1
            await anyio.sleep(PAUSES[min(failures, len(PAUSES) - 1)])

    async def _follow(self) -> None:
        """One stream, to its end, which is put into the intake, too."""
        async with self.transport.follow(self.wish.command(self.node, self._over)) as lines:
            with anyio.move_on_after(SILENCE) as patience:
                async for line in lines:
                    patience.deadline = anyio.current_time() + SILENCE
                    if not self._take(line):
                        return  # the intake has put a gap in its place
                    if self.intake.crowded(self.node):
                        await anyio.lowlevel.checkpoint()  # lines that are there already are read without a pause
            if patience.cancelled_caught:  # said at once: ending a dead connection takes seconds
                self.intake.put(Gap(self.node, f"it has said nothing for {SILENCE:.0f} s", unreachable=True))
                return
            why = lines.why_ended
            words = "its follower ended" if why is None else str(why)
            self.intake.put(Gap(self.node, words, unreachable=isinstance(why, NotSent) and why.why is not Why.NO_SESSION))

    def _take(self, line: str) -> bool:
        """Pass on what a line says. False: there is no room for it."""
        said = read_line(self.node, line)
        if isinstance(said, Following):
            self._began_at, self._over = anyio.current_time(), NOBODY
        elif isinstance(said, WatchedBy) and self.is_dead(said.holder):
            self._over = said.holder
            return True  # the next attempt takes over from it
        elif isinstance(said, Logged) and anyio.current_time() < self._began_at + OLD_NEWS:
            return True
        room = said is None or self.intake.put(said)
        if isinstance(said, Following | WatchedBy):
            self.first.set()
        return room
