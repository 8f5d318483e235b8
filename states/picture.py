"""What is known of a cluster at one moment, as one value: for everybody who tells of it, draws it or publishes names.

Times are seconds since the epoch, except in `facts` (see there).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from attrs import Factory, field, frozen

from states.alarm import Alarm
from states.facts import ClusterFacts
from states.goal import Goal
from states.progress import Progress
from states.verify import Verification


@frozen
class MachineSeen:
    """One machine of the cluster: a resource ("r0"), a layer of a node ("gfs2 opt on linux-nas01") or a node."""

    name: str
    state: Enum
    since: float


@frozen
class Move:
    """A machine was seen to move. `event`: the table row that explains it, None for a surprise. `evidence`: what was seen."""

    at: float
    machine: str
    before: Enum | None
    after: Enum
    event: str | None
    evidence: str = ""


@frozen
class Load:
    """How busy a node is: load averages over 1, 5 and 15 minutes, cores, and open SMB sessions (None: could not be counted)."""

    node: str
    averages: tuple[float, float, float] = (0.0, 0.0, 0.0)
    cores: int = 1
    sessions: int | None = None

    @property
    def per_core(self) -> float:
        """The one-minute load average, for each core."""
        return self.averages[0] / max(self.cores, 1)


@frozen
class Picture:
    """`machines`: every machine, with since when. `moves`: the last ones, the newest at the end. `doing`: what the
    supervisor is about, or whom it leaves alone; "" at rest. `counts`: totals since the start, by the names in `supervisor.counts`.
    `leases`: node, and who acts on it now (holds its lease), "" for nobody. `marks`: node, and its maintenance mark, "" for none.
    `followed`: nodes whose events come by themselves at this moment; of the others no more is known than the last look saw.
    `stamps`: node, and its own time stamp of the newest of its DRBD's events that is in `facts` (ISO 8601).
    `verified`: of each resource the last verify that came to its end."""

    cluster: str
    at: float
    goal: Goal
    facts: ClusterFacts
    machines: tuple[MachineSeen, ...] = ()
    moves: tuple[Move, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    progress: tuple[tuple[str, Progress], ...] = ()
    loads: tuple[Load, ...] = ()
    maintenance: frozenset[str] = field(default=frozenset())
    doing: str = ""
    counts: Mapping[str, int] = Factory(dict)
    leases: tuple[tuple[str, str], ...] = ()
    marks: tuple[tuple[str, str], ...] = ()
    followed: frozenset[str] = field(default=frozenset())
    stamps: tuple[tuple[str, str], ...] = ()
    verified: tuple[Verification, ...] = ()

    def state(self, machine: str) -> Enum | None:
        """What a machine is, None if it was never seen."""
        return next((one.state for one in self.machines if one.name == machine), None)

    def moves_since(self, last: Move | None) -> tuple[Move, ...]:
        """The moves after `last`, oldest first; all that are kept where it is not among them."""
        for index in range(len(self.moves) - 1, -1, -1):
            if self.moves[index] == last:
                return self.moves[index + 1:]
        return self.moves
