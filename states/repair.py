"""What `up` mends by itself below the pair's table: a backing disk that something else has, or had, behind DRBD's back.

Boot scripts and hands activate a volume group on the disk below DRBD. Where nothing of it was mounted it is taken away again,
and that side counts as old from then on, whatever DRBD says: seen on real kernels, Connected, UpToDate, no block marked, and
`verify` found ten that differ. What was mounted may hold what somebody wrote: that is for a human.
"""

from __future__ import annotations

from states.facts import Side
from states.goal import Direction, Do
from states.handshake import Verdict
from states.identifiers import Flag
from states.pair import Pair
from states.table import On, Row
from states.vocabulary import By, Metadata
from states.vocabulary import Resource as S

_RELEASE = "volumes are active on the backing disk, and none is mounted: they are in DRBD's way"
_DISTRUST = "its backing disk was in use behind DRBD's back: it is copied anew from the other side"
UP, US, BASE = Direction.UP, By.US, ("config", "module")
#             event              from    to      by  step         on       when  rules                     layers  s  why  way
RELEASE = Row("release_backing", S.DOWN, S.DOWN, US, Do.RELEASE,  On.EACH, None, ("only-unused-volumes",), (),   None, _RELEASE, UP)
DISTRUST = Row("distrust",       S.DOWN, S.DOWN, US, Do.DISTRUST, On.EACH, None, ("peer-has-all",),        BASE, None, _DISTRUST, UP)


def repair(pair: Pair, side: Side) -> Row | None:
    """The row that mends this side, where the cluster wants that (it has a stack) and a look showed the need."""
    if not pair.wanted.repairs or side.attached or side.configured is None:
        return None
    if side.holders:
        return RELEASE if releasable(side) else None
    return DISTRUST if side.touched and side.metadata is Metadata.VALID and peer_has_all(pair, side) is None else None


def releasable(side: Side) -> bool:
    """Only device mapper has the disk, and nothing of that is mounted."""
    return bool(side.holders) and all(holder.startswith("dm-") for holder in side.holders)


def peer_has_all(pair: Pair, side: Side) -> str | None:
    """Why this side's data may not be given up for the peer's; None where nothing DRBD knows of would be lost."""
    peer = next(one for one in pair.sides if one is not side)
    if side.mounted_behind:
        return f"a file system on the backing disk of {side.node} was mounted behind DRBD's back: what was written there is nowhere else"
    if peer.touched or peer.holders:
        return f"the backing disk of {peer.node} was in use, too"
    if peer.identifiers is None or side.identifiers is None:
        return "the identifiers of both sides are not known"
    if not {Flag.CONSISTENT, Flag.WAS_UP_TO_DATE} <= peer.identifiers.flags:
        return f"{peer.node} was not UpToDate when it was last seen"
    mine = pair.sides.index(side)
    if pair.prediction.verdict not in SAFE or pair.prediction.source == mine:
        return f"{peer.node} does not have all of it: {pair.prediction.why}"
    return None


SAFE = (Verdict.IN_SYNC, Verdict.BITMAP_SYNC, Verdict.FULL_SYNC)
