"""Signatures of a handshake or a resync that gets nowhere, as they were reported against DRBD and as they look from outside.

Sources: LINBIT/drbd #143 (a handshake that is aborted and begun anew, many times a second), #40 (one side stays SyncTarget,
the other has long ended), ganeti #1868 (8.4.11: `sync'ed:100.0%`, nothing left, stalled), linstor-server #203 (connected, one
side Inconsistent, nothing is copied). None of them was provoked here.
"""

from __future__ import annotations

from states.facts import Side
from states.vocabulary import DiskState, ReplicationState

R = ReplicationState
SOURCES = frozenset({R.STARTING_SYNC_S, R.WF_BITMAP_S, R.SYNC_SOURCE, R.PAUSED_SYNC_S})
TARGETS = frozenset({R.STARTING_SYNC_T, R.WF_BITMAP_T, R.WF_SYNC_UUID, R.SYNC_TARGET, R.PAUSED_SYNC_T})
BEATS = 2
"""Handshakes that came to nothing while a side goes on trying: one may be chance."""


def livelocked(side: Side) -> bool:
    """It meets its peer, comes to nothing, and tries again, by itself."""
    return side.trying and side.link is not None and side.link.attempts >= BEATS


def latched(sides: tuple[Side, Side]) -> bool:
    """One side is Inconsistent while both say nothing is being copied."""
    return all(side.replication is R.ESTABLISHED for side in sides) and (
        {side.disk for side in sides} == {DiskState.INCONSISTENT, DiskState.UP_TO_DATE}
    )


def paused(sides: tuple[Side, Side]) -> bool:
    """Somebody, or a dependency on another resource, has paused the resync."""
    return any(side.replication in (R.PAUSED_SYNC_S, R.PAUSED_SYNC_T) for side in sides)


def oddities(sides: tuple[Side, Side]) -> tuple[str, ...]:
    """What a resync does not look like for longer than a moment. Seen twice, ten seconds apart, it is stuck."""
    said = []
    one, other = sides
    for side, peer in ((one, other), (other, one)):
        if side.replication in SOURCES | TARGETS and peer.replication is R.ESTABLISHED:
            said.append(f"{side.node} says {side.replication.value}, {peer.node} says it has ended")
        if side.replication in (R.SYNC_SOURCE, R.SYNC_TARGET) and side.out_of_sync == 0:
            said.append(f"{side.node} says {side.replication.value} with nothing left to copy")
    if latched(sides):
        said.append("one side is Inconsistent, and nothing is being copied")
    return tuple(said)
