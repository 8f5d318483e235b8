"""Generation identifiers: the four numbers and the flags by which DRBD knows whose data is newer.

Sources: `drbdadm get-gi` on 8.4 (seven flags) and on 9 (twelve flags); drbdmeta(8); captures of both.
"""

from __future__ import annotations

from enum import Enum

from attrs import frozen

JUST_CREATED = 4
"""The current identifier of metadata that was just made and never written (captures: 0000000000000004)."""


class Flag(Enum):
    """Metadata flags, in the words of `get-gi`'s own legend."""

    __hash__ = object.__hash__

    CONSISTENT = "consistent"
    WAS_UP_TO_DATE = "was-up-to-date"
    PRIMARY = "primary"
    CONNECTED = "connected"
    FULL_SYNC = "full-sync"
    PEER_OUTDATED = "peer-outdated"
    CRASHED_PRIMARY = "crashed-primary"
    AL_CLEAN = "al-clean"
    AL_DISABLED = "al-disabled"
    LOST_QUORUM = "primary-lost-quorum"
    PEER_FENCING = "peer-fencing"
    PEER_SEEN = "peer-seen"


FLAGS_84 = (
    Flag.CONSISTENT, Flag.WAS_UP_TO_DATE, Flag.PRIMARY, Flag.CONNECTED, Flag.FULL_SYNC, Flag.PEER_OUTDATED,
    Flag.CRASHED_PRIMARY,
)
FLAGS_9 = (
    Flag.CONSISTENT, Flag.WAS_UP_TO_DATE, Flag.PRIMARY, Flag.CRASHED_PRIMARY, Flag.AL_CLEAN, Flag.AL_DISABLED,
    Flag.LOST_QUORUM, Flag.CONNECTED, Flag.PEER_OUTDATED, Flag.PEER_FENCING, Flag.FULL_SYNC, Flag.PEER_SEEN,
)


@frozen
class Identifiers:
    """One side's generation identifiers. The lowest bit of each is "was Primary": mask it before comparing."""

    current: int
    bitmap: int
    history: tuple[int, int]
    flags: frozenset[Flag]

    @property
    def just_created(self) -> bool:
        """True for metadata that has never belonged to any data."""
        return self.current & ~1 == JUST_CREATED

    @classmethod
    def parse(cls, line: str) -> Identifiers:
        """Read `CUR:BITMAP:HIST0:HIST1:flag:flag...` as `get-gi` prints it. Raises ValueError on anything else."""
        words = line.strip().split(":")
        names = {7: FLAGS_84, 12: FLAGS_9}.get(len(words) - 4)
        if names is None or any(len(word) != 16 for word in words[:4]):
            raise ValueError(f"not generation identifiers: {line!r}")
        current, bitmap, newer, older = (int(word, 16) for word in words[:4])
        flags = frozenset(name for name, word in zip(names, words[4:], strict=True) if word == "1")
        return cls(current, bitmap, (newer, older), flags)

    @classmethod
    def bare(cls, text: str) -> Identifiers:
        """The four numbers as `str` writes them, without flags. Raises ValueError on anything else."""
        current, bitmap, newer, older = (int(word, 16) for word in text.split(":"))
        return cls(current, bitmap, (newer, older), frozenset())

    def __str__(self) -> str:
        newer, older = self.history
        return f"{self.current:016X}:{self.bitmap:016X}:{newer:016X}:{older:016X}"


def same(one: int, other: int) -> bool:
    """Equal apart from the Primary bit."""
    return one & ~1 == other & ~1
