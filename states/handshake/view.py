"""A pair as one side's kernel sees it, and the words in which a comparison answers."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from attrs import frozen

from states.handshake.terms import Side, Terms
from states.identifiers import JUST_CREATED, Flag
from states.vocabulary import Role


class MissingFact(Exception):  # noqa: N818 - not an error: the comparison stops where it would have to guess
    """A rule needs a value nobody has read."""


class Answer(Enum):
    """What one side's comparison answers: 8.4's number, 9's word.

    CHANCE: source or target, by who won the connection race.
    """

    NO_SYNC = (0, "no-sync")
    SOURCE = (1, "source-use-bitmap")
    SOURCE_FULL = (2, "source-set-bitmap")
    TARGET = (-1, "target-use-bitmap")
    TARGET_FULL = (-2, "target-set-bitmap")
    SPLIT = (100, "split-brain-auto-recover")
    SPLIT_LOST_COUNT = (-100, "split-brain-disconnect")
    UNRELATED = (-1000, "unrelated-data")
    NEEDS_91 = (-1091, "requires-proto-91")
    NEEDS_FEATURE = (-0x10000, "")
    SOURCE_IF_BOTH_FAILED = (None, "source-if-both-failed")
    TARGET_IF_BOTH_FAILED = (None, "target-if-both-failed")
    RETRY = (None, "retry-connect")
    CHANCE = (None, "")

    @property
    def number(self) -> int | None:
        """How 8.4 logs it: `uuid_compare()=N`."""
        value: int | None = self.value[0]
        return value

    @property
    def word(self) -> str:
        """How 9 logs it: `uuid_compare()=WORD`."""
        word: str = self.value[1]
        return word


@frozen
class View:
    """The pair, from `me`. Identifiers come without their lowest bit ("was Primary"), as every comparison uses them."""

    me: Side
    peer: Side
    terms: Terms

    def turned(self) -> View:
        """The same terms, seen from the other side."""
        return View(self.peer, self.me, self.terms)

    @property
    def mine(self) -> Numbers:
        """My identifiers."""
        return Numbers.of(self.me)

    @property
    def theirs(self) -> Numbers:
        """The peer's identifiers."""
        return Numbers.of(self.peer)

    @property
    def primaries(self) -> int:
        """How many of the two are Primary."""
        return (role(self.me) is Role.PRIMARY) + (role(self.peer) is Role.PRIMARY)

    @property
    def any_dirty(self) -> bool:
        """True if either bitmap marks a block."""
        return dirty(self.me) > 0 or dirty(self.peer) > 0


@frozen
class Numbers:
    """One side's masked identifiers, with the names the rules use."""

    current: int
    bitmap: int
    newer: int
    older: int

    @classmethod
    def of(cls, side: Side) -> Numbers:
        """Masked copies of a side's identifiers."""
        ids = side.identifiers
        return cls(*(number & ~1 for number in (ids.current, ids.bitmap, *ids.history)))

    @property
    def history(self) -> tuple[int, int]:
        """The two history identifiers, the newer first."""
        return (self.newer, self.older)

    @property
    def new(self) -> bool:
        """Never held data."""
        return self.current == JUST_CREATED


@frozen
class Rule:
    """One row: the name the kernel logs, when it applies, what it answers, and that in a person's words.

    `why` may name `{me}`, `{peer}`.
    """

    name: str
    when: Callable[[View], bool]
    answer: Answer
    why: str


def lost_quorum(side: Side) -> bool:
    """The side lost quorum while it was Primary (DRBD 9)."""
    return Flag.LOST_QUORUM in side.identifiers.flags


def role(side: Side) -> Role:
    """The side's role; MissingFact if it is not known."""
    if side.role is Role.UNKNOWN:
        raise MissingFact(f"the role of {side.name}")
    return side.role


def dirty(side: Side) -> int:
    """KiB the side's bitmap marks; MissingFact if nobody has looked."""
    if side.dirty is None:
        raise MissingFact(f"how many blocks are out of sync on {side.name}")
    return side.dirty


def reconnecting(side: Side) -> bool:
    """DRBD 9's RECONNECT; MissingFact if it was not filled in (`predict` tries both)."""
    if side.reconnecting is None:
        raise MissingFact(f"whether {side.name}'s kernel was connected before")
    return side.reconnecting
