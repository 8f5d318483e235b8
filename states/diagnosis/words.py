"""Numbers, times, flags and settings in the words of a sentence."""

from __future__ import annotations

from collections.abc import Iterable

from states.facts import NodeFacts, Side
from states.identifiers import JUST_CREATED, Flag, Identifiers, same
from states.settings import AGREED, differing

FLAG_WORDS: dict[Flag, str] = {
    Flag.FULL_SYNC: "every block is marked to be copied",
    Flag.PEER_OUTDATED: "it knows its peer to be outdated",
    Flag.CRASHED_PRIMARY: "it was Primary when it crashed",
    Flag.AL_DISABLED: "its activity log was switched off",
    Flag.LOST_QUORUM: "it was Primary when it lost quorum",
    Flag.PEER_FENCING: "its peer was to be fenced",
}
"""Flags that say something unusual when they are set."""


def kib(size: int | None) -> str:
    """An amount for people."""
    if size is None:
        return "an unknown amount"
    amount, unit = float(size), "KiB"
    for larger in ("MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.0f} {unit}" if unit == "KiB" else f"{amount:.1f} {unit}"


def counted(side: Side) -> int | None:
    """KiB out of sync that somebody has counted. A plan expects 0 of a side it has yet to attach, and knows no size of it."""
    return None if side.out_of_sync == 0 and side.size is None else side.out_of_sync


def ago(node: NodeFacts, at: float | None) -> str:
    """How long before the look that was, by the node's own clock."""
    if at is None:
        return "at an unknown time"
    seconds = max(0.0, node.uptime - at)
    for limit, step, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / step:.0f} {unit} ago"
    return f"{seconds / 86400:.0f} days ago"


def both(names: Iterable[str]) -> str:
    """Names in a sentence."""
    return " and ".join(names)


def number(value: int) -> str:
    """An identifier as `get-gi` prints it, without its Primary bit."""
    if value & ~1 == JUST_CREATED:
        return "just created"
    return f"{value & ~1:016X}" if value else "none"


def flags(side: Side) -> str:
    """The unusual flags of a side, "" if there are none."""
    if side.identifiers is None:
        return ""
    found = side.identifiers.flags
    said = [words for flag, words in FLAG_WORDS.items() if flag in found]
    if Flag.PRIMARY in found and not side.attached:
        said.append("it was Primary when DRBD last ran there: it crashed, or its power went")
    if Flag.CONSISTENT not in found and not side.identifiers.just_created:
        said.append("its data is not consistent")
    elif Flag.WAS_UP_TO_DATE not in found and not side.identifiers.just_created:
        said.append("it was not up to date")
    return ", ".join(said)


def crashed(side: Side) -> bool:
    """Its activity log was, or will be, applied: whole 4 MiB extents count as out of sync."""
    if side.identifiers is None:
        return False
    return Flag.CRASHED_PRIMARY in side.identifiers.flags or (Flag.PRIMARY in side.identifiers.flags and not side.attached)


def compared(one: tuple[str, Identifiers], other: tuple[str, Identifiers]) -> str:
    """Two sides' identifiers, in words: which are equal, and what that means."""
    (here, mine), (there, theirs) = one, other
    if same(mine.current, theirs.current):
        return f"both hold the same data generation {number(mine.current)}"
    if mine.bitmap and same(mine.bitmap, theirs.bitmap):
        return (f"both went on from {number(mine.bitmap)}, each on its own: {here} to {number(mine.current)}, "
                f"{there} to {number(theirs.current)}")
    for (newer, new), (older, old) in (((here, mine), (there, theirs)), ((there, theirs), (here, mine))):
        if same(new.bitmap, old.current):
            return f"{newer} went on from exactly what {older} holds ({number(old.current)}), to {number(new.current)}"
        if any(each and same(each, old.current) for each in new.history):
            return f"{newer} held what {older} holds ({number(old.current)}) long ago, and is at {number(new.current)}"
    shared = [each for each in mine.history if each and any(same(each, old) for old in theirs.history)]
    if shared:
        return f"the last they shared is {number(shared[0])}, in the history of both; since then each went on by itself"
    return f"they have no identifier in common: {here} is at {number(mine.current)}, {there} at {number(theirs.current)}"


def in_force(side: Side) -> tuple[dict[str, str], str]:
    """Settings a side would use, and where they were read: the live connection, else the node's resource file, else nowhere."""
    if side.running:
        return dict(side.running), "running"
    if side.filed:
        return dict(side.filed), "its resource file"
    return {}, ""


def unlike(one: Side, other: Side) -> tuple[str, ...]:
    """Settings that differ between the two sides, each with both values. Secrets are not shown."""
    (mine, here), (theirs, there) = in_force(one), in_force(other)
    if not here or not there:
        return ()
    return tuple(
        f"{name}: {one.node} has {value or 'none'} ({here}), {other.node} has {another or 'none'} ({there})"
        for name, value, another in differing(tuple(mine.items()), tuple(theirs.items()))
        if name in AGREED
    )
