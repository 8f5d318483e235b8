"""What two sides bring to a handshake, and what a prediction says: the words the rest of the package speaks.

Facts: DRBD 8.4.12 and 9.3.3 `drbd_receiver.c` (read, never copied), captures of 8.4.11, 9.2.18 and 9.3.3, and live runs
on 8.4.11 (`fixtures/handshake`).
"""

from __future__ import annotations

from enum import Enum

from attrs import frozen

from states.evolve import evolve
from states.identifiers import Flag, Identifiers
from states.vocabulary import AfterSplit, DiskState, Role, Word


class Generation(Enum):
    """The kinds of DRBD whose comparisons differ. 8.3 has 8.4's rules but for 41, which came with 8.4 (8.3.16 drbd_receiver.c)."""

    V83 = "8.3"
    V84 = "8.4"
    V9 = "9"


WIRES = {Generation.V83: 96, Generation.V84: 101, Generation.V9: 124}
"""The protocol version two of a kind agree on. 8.3's grew from 86 to 97 with its releases: where that decides, nothing is predicted."""


class RrConflict(Word):
    """Values of rr-conflict (drbd.conf(5)): what a Primary does when it is told to become the target of a resync."""

    DISCONNECT = "disconnect"
    CALL_PRI_LOST = "call-pri-lost"
    VIOLENTLY = "violently"
    RETRY_CONNECT = "retry-connect"
    AUTO_DISCARD = "auto-discard"
    UNKNOWN = "Unknown"


class Verdict(Enum):
    """What comes of it when the two sides connect."""

    IN_SYNC = "in sync"              # they connect at once; nothing is copied
    BOTH_NEW = "both new"            # they connect; neither has ever held data, both stay Inconsistent
    BITMAP_SYNC = "bitmap resync"    # one is merely behind: the blocks marked on either side are copied
    FULL_SYNC = "full resync"        # every block is copied
    REVERTED = "reverted"            # DRBD 9: no split brain, yet the newer side is thrown back by --discard-my-data
    SPLIT_AUTO = "split brain, solved"         # a policy or the flag chooses a victim
    SPLIT_BRAIN = "split brain, unresolved"    # the connection is dropped
    UNRELATED = "unrelated"          # not one identifier in common: the connection is dropped
    REFUSED = "refused"              # the connection is dropped for another reason; nothing is copied
    UNKNOWN = "unknown"              # a value that decides is not known, or chance decides whether they connect


class Refusal(Enum):
    """Over what a connection is dropped when the verdict is REFUSED."""

    SETTINGS = "the settings of the two sides differ"
    BOTH_FLAGGED = "both sides carry --discard-my-data"
    PRIMARY_IS_OLDER = "a Primary should become the target of the resync"
    NO_GOOD_SOURCE = "the source of the resync is Inconsistent"
    TWO_PRIMARIES = "both are Primary, and two are not allowed"
    TOO_OLD = "a side's protocol is too old to tell"
    RETRY = "they will try again"


CONNECTING = frozenset({
    Verdict.IN_SYNC, Verdict.BOTH_NEW, Verdict.BITMAP_SYNC, Verdict.FULL_SYNC, Verdict.REVERTED, Verdict.SPLIT_AUTO,
})


MIRRORED = {
    AfterSplit.DISCARD_LOCAL: AfterSplit.DISCARD_REMOTE,
    AfterSplit.DISCARD_REMOTE: AfterSplit.DISCARD_LOCAL,
}
"""Policies that must be each other's opposite on the two sides."""


@frozen
class Side:
    """One side as it will be at the moment of the handshake: disk attached, not yet connected.

    `dirty` counts what its own bitmap marks, in KiB; None when nobody has looked. The on-disk bitmap of an 8.4 Primary
    is stale: take the kernel's own counter then. `reconnecting` is DRBD 9's: the kernel's
    connection object has been Connected before. It cannot be read from outside, so None is usual; it is then tried both
    ways.
    """

    identifiers: Identifiers
    role: Role
    disk: DiskState
    dirty: int | None = None
    discard: bool = False
    reconnecting: bool | None = None
    has_quorum: bool | None = None
    name: str = ""

    @property
    def crashed(self) -> bool:
        """Was Primary when its kernel died. While detached the mark is the "primary" flag; attaching turns it into the
        other."""
        flags = self.identifiers.flags
        return Flag.CRASHED_PRIMARY in flags or (Flag.PRIMARY in flags and self.role is not Role.PRIMARY)

    @classmethod
    def detached(cls, identifiers: Identifiers, dirty: int | None, *, discard: bool = False, name: str = "") -> Side:
        """A side whose resource is down, as it will be once it was attached: Secondary, its disk state read from the
        flags.

        A disk that was up to date attaches as Consistent and, with `fencing dont-care` or the peer known to be
        outdated, at once as UpToDate (8.4 drbd_nl.c); no rule tells the two apart.
        """
        flags = identifiers.flags
        if Flag.CONSISTENT not in flags:
            disk = DiskState.INCONSISTENT
        else:
            disk = DiskState.CONSISTENT if Flag.WAS_UP_TO_DATE in flags else DiskState.OUTDATED
        return cls(identifiers, Role.SECONDARY, disk, dirty, discard, name=name)


@frozen
class Terms:
    """The settings of one side that take part in the decision. Defaults are DRBD's own.

    `wire` is the protocol version both kernels agree on, `write_same` whether both have that feature (every 8.4.8 and
    later; 8.4 uses it to recognise a peer that knows rule 41).
    """

    generation: Generation
    after_sb_0pri: AfterSplit = AfterSplit.DISCONNECT
    after_sb_1pri: AfterSplit = AfterSplit.DISCONNECT
    after_sb_2pri: AfterSplit = AfterSplit.DISCONNECT
    always_asbp: bool = False
    rr_conflict: RrConflict = RrConflict.DISCONNECT
    allow_two_primaries: bool = False
    protocol: str = "C"
    data_integrity_alg: str = ""
    quorum: bool = False
    wire: int = 0
    write_same: bool = True

    def __attrs_post_init__(self) -> None:
        if not self.wire:
            object.__setattr__(self, "wire", WIRES[self.generation])

    def counterpart(self) -> Terms:
        """What the other side has to be set to for DRBD to connect: the same, but for local and remote."""
        zero, one, two = (MIRRORED.get(self.after_split(n), self.after_split(n)) for n in range(3))
        return evolve(self, after_sb_0pri=zero, after_sb_1pri=one, after_sb_2pri=two)

    def after_split(self, primaries: int) -> AfterSplit:
        """The policy for a split brain with so many Primaries."""
        return (self.after_sb_0pri, self.after_sb_1pri, self.after_sb_2pri)[primaries]


@frozen
class Prediction:
    """What will happen. Index 0 is the first side given to `predict`, 1 the second.

    `rules` are what each side's kernel will log (several, joined by "|", where nobody can tell which, and it does not
    matter). `source` is None when nothing is copied or when chance decides. `losers` may lose acknowledged writes that
    the other side does not hold, `discards` is how many KiB at most (None: not known). `uncounted`: a split brain
    "via history": the bitmaps do not count from a common point. `refusal`: why, if the verdict is REFUSED.
    """

    verdict: Verdict
    rules: tuple[str, str]
    why: str
    source: int | None = None
    full: bool = False
    losers: frozenset[int] = frozenset()
    discards: int | None = 0
    uncounted: bool = False
    refusal: Refusal | None = None

    @property
    def connects(self) -> bool:
        """True if the two sides will end up connected."""
        return self.verdict in CONNECTING

    @property
    def loser(self) -> int | None:
        """The one side that loses writes, if exactly one is known to."""
        return next(iter(self.losers)) if len(self.losers) == 1 else None

    def mirrored(self) -> Prediction:
        """The same prediction with the sides swapped."""
        return evolve(
            self,
            rules=(self.rules[1], self.rules[0]),
            source=None if self.source is None else 1 - self.source,
            losers=frozenset(1 - side for side in self.losers),
        )


def discards_nothing(prediction: Prediction) -> bool:
    """True only if connecting cannot cost anybody an acknowledged write. What is not known is not "nothing".

    A refused or unresolved handshake copies nothing, so it discards nothing; whether to bring it about is another
    question: ask `connects`.
    """
    return prediction.verdict is not Verdict.UNKNOWN and not prediction.losers


def incompatible(one: Terms, other: Terms) -> str | None:
    """The first setting over which DRBD refuses the connection ("incompatible ... settings"), or None.

    In the kernel's own order. rr-conflict, always-asbp and the handlers are not compared by DRBD.
    """
    other = other.counterpart()
    pairs = [
        ("protocol", one.protocol, other.protocol),
        *((f"after-sb-{n}pri", one.after_split(n), other.after_split(n)) for n in range(3)),
        ("allow-two-primaries", one.allow_two_primaries, other.allow_two_primaries),
        ("data-integrity-alg", one.data_integrity_alg, other.data_integrity_alg),
    ]
    return next((setting for setting, mine, theirs in pairs if mine != theirs), None)
