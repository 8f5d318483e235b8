"""A resync that gets nowhere, told by both sides and by the clock: pure. Times are the orchestrator's monotonic seconds.

Signs, and where they were reported: the counters do not move; one side stays SyncSource or SyncTarget while the other has
long ended (LINBIT/drbd #40); a side goes on though nothing is left (ganeti #1868: `sync'ed:100.0% (0/15360)M`, stalled);
connected, one side Inconsistent, and nobody copies (linstor-server #203); paused by somebody. Each may be seen for a
moment in a healthy resync, so each has to stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum

from attrs import evolve, field, frozen

from states.alarm import Alarm, Severity
from states.diagnosis import in_short
from states.diagnosis.signatures import SOURCES, TARGETS, latched, oddities, paused
from states.facts import ClusterFacts, Side
from states.pair import Pair
from states.progress import Progress
from states.vocabulary import ReplicationState

R = ReplicationState
MOMENT = 10.0
"""Seconds that an odd look of both sides may last before it counts."""


class Sign(Enum):
    """What is odd."""

    __hash__ = object.__hash__

    STILL = "nothing is copied"
    LATCHED = "one side goes on, the other has ended"
    NOTHING_LEFT = "nothing is left, and it does not end"
    IDLE = "one side is Inconsistent, and nobody copies"
    PAUSED = "paused"


@frozen
class Stall:
    """One sign of one resource, and since when it was seen."""

    resource: str
    sign: Sign
    since: float


@frozen
class Stalls:
    """The signs that are seen, however short a time yet."""

    seen: tuple[Stall, ...] = field(default=())

    def look(self, pairs: Iterable[Pair], progress: Mapping[str, Progress], now: float) -> Stalls:
        """With one more picture. A sign that is gone is forgotten."""
        before = {(one.resource, one.sign): one.since for one in self.seen}
        found = [(pair.wanted.name, sign, since) for pair in pairs for sign, since in signs(pair, progress.get(pair.wanted.name)).items()]
        return Stalls(tuple([Stall(name, sign, before.get((name, sign), now) if since is None else since) for name, sign, since in found]))

    def lasting(self, pair: Pair, now: float) -> tuple[Stall, ...]:
        """Those of one resource that have stayed for too long."""
        return tuple(one for one in self.seen if one.resource == pair.wanted.name and now - one.since >= _patience(one, pair))

    def alarm(self, pair: Pair, facts: ClusterFacts, now: float) -> Alarm | None:
        """What is to be said of one resource's resync, if anything. Counters that stand still, and nothing else odd, are its own
        state SyncStalled: that has an alarm already."""
        found = self.lasting(pair, now)
        if all(one.sign is Sign.STILL for one in found):
            return None
        name = pair.wanted.name
        severity = Severity.NOTICE if all(one.sign is Sign.PAUSED for one in found) else Severity.WARNING
        stuck = evolve(pair, ledger=evolve(pair.ledger, stalled=pair.ledger.stalled | {name}))
        _, summary, type_next = in_short(stuck, facts)
        lasted = "; ".join(f"{one.sign.value}, for {now - one.since:.0f} s" for one in found)
        return Alarm("resync-stuck", name, severity, f"{name}: {summary}", f"{lasted}; {_both(pair)}", type_next)


def signs(pair: Pair, progress: Progress | None) -> dict[Sign, float | None]:
    """The signs one look at both sides shows, each with since when it is so, None where one look cannot tell."""
    one, other = pair.sides
    if not (one.connected and other.connected):
        return {}
    if paused(pair.sides):
        return {Sign.PAUSED: None}
    found: dict[Sign, float | None] = {}
    working = [side for side in pair.sides if side.replication in SOURCES | TARGETS]
    if working and progress is not None and progress.moved_at is not None and progress.left:
        found[Sign.STILL] = progress.moved_at
    if len(working) == 1 and any(side.replication is R.ESTABLISHED for side in pair.sides):
        found[Sign.LATCHED] = None
    if any(side.replication in (R.SYNC_SOURCE, R.SYNC_TARGET) and side.out_of_sync == 0 for side in pair.sides):
        found[Sign.NOTHING_LEFT] = None
    if latched(pair.sides):
        found[Sign.IDLE] = None
    return found


def _patience(stall: Stall, pair: Pair) -> float:
    return pair.wanted.stall_after if stall.sign is Sign.STILL else MOMENT


def _both(pair: Pair) -> str:
    return "; ".join([*map(_words, pair.sides), *oddities(pair.sides)])


def _words(side: Side) -> str:
    left = "unread" if side.out_of_sync is None else f"{side.out_of_sync} KiB"
    return f"{side.node} {side.replication.value}, disk {side.disk.value}, out of sync {left}"
