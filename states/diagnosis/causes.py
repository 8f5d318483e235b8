"""Why two sides are not (rightly) connected: the causes, and the table that tells which one it is.

RULES is read from the top; the first line that fits is the cause. What two sides' data are to each other comes first, for
that is where data is lost; then what the kernels said; then what keeps the two apart. UNKNOWN is never taken for healthy.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from functools import cached_property

from attrs import evolve, frozen

from states import handshake
from states.diagnosis.signatures import latched, livelocked, paused
from states.diagnosis.words import unlike
from states.facts import ClusterFacts, Generation, NodeFacts, Side
from states.handshake import Prediction, Refusal, Verdict
from states.identifiers import same
from states.pair import AT_REST, Pair, blank_pair, contender, identifiers_differ, terms
from states.settings import AGREED
from states.vocabulary import AfterSplit, ConnectionState, Contents, DiskState, Ending, Layer, Metadata, ReplicationState

D = DiskState
QUIET = (ReplicationState.OFF, ReplicationState.UNKNOWN)
AGREED_BY_SECRET = frozenset({"shared-secret", "cram-hmac-alg"})
PROTOCOL = "protocol version"
SPLIT_LINE = "Split-Brain detected but unresolved"
UNCOUNTED = frozenset({"-100", "split-brain-disconnect"})
"""What the kernel answers in a split brain via history (8.4, 9)."""


class Cause(Enum):
    """Kinds of diagnosis, in the field's words."""

    __hash__ = object.__hash__

    SPLIT_BRAIN = "split brain"                         # from a common ancestor: changed blocks are counted on both sides
    SPLIT_BRAIN_HISTORY = "split brain via history"     # ... parted long ago: which blocks changed is not known
    DIVERGED = "diverged without split brain"           # one side is newer, and the older one is Primary
    UNRELATED = "unrelated data"
    SUSPECT = "connected, but not the same data"
    UNREACHABLE = "peer unreachable"                    # not seen over SSH: says nothing about what it is doing
    FROZEN = "IO frozen"
    NO_DISK = "disk lost"                               # DRBD runs without its backing disk
    WRONG_SECRET = "wrong secret"                       # noqa: S105 - a kind, no secret
    SETTINGS = "incompatible settings"
    PROTOCOL = "protocol version mismatch"
    REFUSED = "refused by DRBD"                         # for a reason that is none of the others: in the kernel's words
    BACKING = "used behind DRBD's back"                 # what its disk holds is not what DRBD thinks it holds
    NEW_OVER_DATA = "new metadata over data"
    NO_METADATA = "no metadata"
    PEER_DOWN = "peer down"
    DOWN = "down"
    LIVELOCK = "handshake livelock"
    NEVER_SYNCED = "first sync never done"
    NO_GOOD_SIDE = "both inconsistent"
    BY_HAND = "disconnected by an administrator"
    BEHIND = "merely behind"
    MARKED = "blocks known to differ"                   # same identifiers, not connected, and `verify` or a crash left marks
    NOT_CONNECTED = "not connected"                     # nothing is wrong: nobody has connected them
    PORT_BLOCKED = "port blocked"                       # by a firewall of one of the nodes
    NETWORK = "network between"                         # neither node's own firewall: a cable, a switch, another firewall
    STALLED = "resync stalled"
    RESYNCING = "resyncing"
    HEALTHY = "healthy"
    UNKNOWN = "unknown"


@frozen(slots=False)
class Case:
    """The pair, and what of its nodes bears on the question."""

    pair: Pair
    facts: ClusterFacts

    @property
    def sides(self) -> tuple[Side, Side]:
        """Both sides, in the configuration's order."""
        return self.pair.sides

    @property
    def nodes(self) -> tuple[NodeFacts, ...]:
        """Both sides' nodes."""
        return tuple(self.facts.node(name) for name in self.pair.wanted.nodes)

    @cached_property
    def unseen(self) -> tuple[NodeFacts, ...]:
        """Nodes that could not be reached."""
        return tuple(node for node in self.nodes if not node.reachable)

    @cached_property
    def generation(self) -> Generation:
        """DRBD's on both, UNKNOWN if they differ."""
        found = {node.generation for node in self.nodes}
        return found.pop() if len(found) == 1 else Generation.UNKNOWN

    @cached_property
    def relation(self) -> Prediction:
        """What the two sides' data are to each other: what DRBD would decide if no policy chose a victim.

        Two Primaries are let in for the question, so that what it asks about is the data.
        """
        wanted = self.pair.wanted
        one, other = map(contender, self.sides)
        if one is None or other is None or self.generation is Generation.UNKNOWN:
            return self.pair.prediction  # which says what is not known
        never = AfterSplit.DISCONNECT
        plain = evolve(terms(wanted, self.generation), after_sb_0pri=never, after_sb_1pri=never, after_sb_2pri=never,
                       allow_two_primaries=True)
        return handshake.predict(one, other, plain)

    @cached_property
    def apart(self) -> bool:
        """Neither side says it is connected, and both were seen."""
        return not self.unseen and not self.pair.unseen and not any(side.connected for side in self.sides)

    @property
    def met(self) -> bool:
        """Both say they are connected."""
        return self.pair.met and not self.unseen

    def blamed(self, *settings: str) -> tuple[Side, ...]:
        """Sides whose kernel gave up over one of these settings ("" where none is to blame)."""
        return tuple(side for side in self.sides if side.trouble is not None and side.trouble.setting in settings)

    @property
    def older(self) -> Side | None:
        """The side whose data is older, if one is."""
        source = self.relation.source
        if source is None and self.relation.refusal is Refusal.PRIMARY_IS_OLDER:
            return older_primary(self.sides)
        return None if source is None else self.sides[1 - source]


def older_primary(sides: tuple[Side, Side]) -> Side | None:
    """Of two sides one of which went on from the other's data: the one that stayed behind."""
    one, other = (side.identifiers for side in sides)
    if one is None or other is None:
        return None
    for index, (mine, theirs) in enumerate(((one, other), (other, one))):
        if any(number and same(mine.current, number) for number in (theirs.bitmap, *theirs.history)):
            return sides[index]
    return None


# -- what the data say --------------------------------------------------------------------------------------------------

def _split(case: Case, *, history: bool) -> bool:
    """By the identifiers; where they are not known, by the kernel's own word."""
    if case.relation.verdict is Verdict.SPLIT_BRAIN and not case.met:
        return case.relation.uncounted is history
    if case.relation.verdict is not Verdict.UNKNOWN or case.met:
        return False
    said = [side for side in case.sides if side.trouble is not None and SPLIT_LINE in side.trouble.text]
    uncounted = any(side.link is not None and side.link.answer in UNCOUNTED for side in said)
    return bool(said) and uncounted is history


def _suspect(case: Case) -> bool:
    """Says it is at rest and the same, and is not."""
    return case.met and case.pair.at_rest and (
        identifiers_differ(case.pair) or any((side.out_of_sync or 0) > 0 for side in case.sides)
    )


def _unrelated(case: Case) -> bool:
    if case.relation.verdict is Verdict.UNKNOWN:
        return not case.met and any("Unrelated data" in side.trouble.text for side in case.sides if side.trouble is not None)
    return not case.met and case.relation.verdict is Verdict.UNRELATED


def _diverged(case: Case) -> bool:
    """An older Primary, proven by identifiers, or by DRBD's own refusal."""
    if case.relation.verdict is Verdict.UNKNOWN:
        return not case.met and any("but I am primary" in side.trouble.text for side in case.sides if side.trouble is not None)
    return not case.met and case.relation.refusal is Refusal.PRIMARY_IS_OLDER


# -- one side alone -----------------------------------------------------------------------------------------------------

def away(side: Side) -> bool:
    """DRBD does not run this resource here: its metadata is there, and nothing of it is up."""
    return side.configured is False or (side.configured is True and side.disk is D.DISKLESS and not side.trying and not side.connected)


def lost(side: Side) -> bool:
    """DRBD runs, and its disk is gone."""
    return side.configured is True and side.disk in (D.FAILED, D.DETACHING, D.DISKLESS) and not away(side)


def by_hand(case: Case) -> tuple[Side, ...]:
    """Sides that somebody disconnected, as their kernel's log says."""
    return tuple(
        side for side in case.sides
        if side.attached and not side.trying and side.link is not None and side.link.ended is Ending.BY_HAND
    )


def silent(case: Case) -> tuple[Side, ...]:
    """Sides with their disk up that do not try to connect."""
    return tuple(side for side in case.sides if side.attached and not side.trying)


def behind_the_back(side: Side) -> bool:
    """Something else has, or had, the backing disk while DRBD had it not."""
    return side.touched or bool(side.holders and not side.attached)


def new_over_data(side: Side) -> bool:
    """Its metadata was just made, and something lies under it."""
    return side.identifiers is not None and side.identifiers.just_created and side.contents is Contents.DATA


# -- what keeps them apart ----------------------------------------------------------------------------------------------

def protocols(node: NodeFacts) -> tuple[int, int] | None:
    """The range of protocol versions a node's DRBD speaks, from the first line of its /proc/drbd."""
    found = re.search(r"\bproto:(\d+)-(\d+)", node.layer("module").detail)
    return (int(found[1]), int(found[2])) if found else None


def _no_common_protocol(case: Case) -> bool:
    if case.blamed(PROTOCOL) or case.relation.refusal is Refusal.TOO_OLD:
        return True
    ranges = [found for node in case.nodes if (found := protocols(node)) is not None]
    return len(ranges) == 2 and (ranges[0][1] < ranges[1][0] or ranges[1][1] < ranges[0][0])


def _refused(case: Case) -> bool:
    """DRBD said no, or would, for a reason without a line of its own."""
    return any(side.trouble is not None for side in case.sides) or case.relation.verdict is Verdict.REFUSED


def _all_trying(case: Case) -> bool:
    return case.apart and all(side.attached and side.trying for side in case.sides)


def closed(case: Case) -> tuple[NodeFacts, ...]:
    """Nodes whose own firewall was seen not to let the peer in."""
    return tuple(node for node in case.nodes if node.layer("port").state is Layer.DOWN)


def _stuck(case: Case) -> bool:
    """Watched for long enough, or as it never looks while something moves."""
    return not paused(case.sides) and (case.pair.wanted.name in case.pair.ledger.stalled or latched(case.sides))


def _marked(case: Case) -> bool:
    return case.relation.verdict is Verdict.IN_SYNC and any(side.out_of_sync for side in case.sides)


def _behind(case: Case) -> bool:
    return case.relation.verdict in (Verdict.BITMAP_SYNC, Verdict.FULL_SYNC)


def _inconsistent(case: Case) -> bool:
    return all(side.disk is D.INCONSISTENT for side in case.sides)


def _healthy(case: Case) -> bool:
    """Everything that makes it so was seen."""
    one, other = (side.identifiers for side in case.sides)
    return (
        case.met and all(side.disk is D.UP_TO_DATE and side.replication in AT_REST and side.out_of_sync == 0 for side in case.sides)
        and one is not None and other is not None and same(one.current, other.current)
    )


Rule = Callable[[Case], bool]
RULES: tuple[tuple[Cause, Rule], ...] = (
    (Cause.SPLIT_BRAIN_HISTORY, lambda c: _split(c, history=True)),
    (Cause.SPLIT_BRAIN,   lambda c: _split(c, history=False)),
    (Cause.DIVERGED,      _diverged),
    (Cause.UNRELATED,     _unrelated),
    (Cause.UNREACHABLE,   lambda c: bool(c.unseen)),
    (Cause.UNKNOWN,       lambda c: c.pair.unseen),
    (Cause.FROZEN,        lambda c: any(side.suspended for side in c.sides)),
    (Cause.NEW_OVER_DATA, lambda c: any(map(new_over_data, c.sides))),
    (Cause.NO_METADATA,   lambda c: any(side.metadata is Metadata.MISSING and not side.attached for side in c.sides)),
    (Cause.BACKING,       lambda c: any(map(behind_the_back, c.sides))),
    (Cause.DOWN,          lambda c: all(map(away, c.sides))),

    # They are connected.
    (Cause.NO_DISK,       lambda c: any(map(lost, c.sides))),
    (Cause.NEVER_SYNCED,  lambda c: c.met and _inconsistent(c) and blank_pair(c.pair)),
    (Cause.NO_GOOD_SIDE,  lambda c: c.met and _inconsistent(c)),
    (Cause.SUSPECT,       _suspect),
    (Cause.STALLED,       lambda c: c.met and _stuck(c)),
    (Cause.RESYNCING,     lambda c: c.met and any(side.replication not in (*AT_REST, *QUIET) for side in c.sides)),
    (Cause.HEALTHY,       _healthy),

    # They are not.
    (Cause.WRONG_SECRET,  lambda c: c.apart and bool(c.blamed(*AGREED_BY_SECRET))),
    (Cause.SETTINGS,      lambda c: c.apart and bool(c.blamed(*(AGREED.keys() - AGREED_BY_SECRET), "discard-my-data"))),
    (Cause.PROTOCOL,      lambda c: c.apart and _no_common_protocol(c)),
    (Cause.REFUSED,       lambda c: c.apart and _refused(c)),
    (Cause.PEER_DOWN,     lambda c: c.apart and any(map(away, c.sides))),
    (Cause.LIVELOCK,      lambda c: c.apart and any(map(livelocked, c.sides))),
    (Cause.NEVER_SYNCED,  lambda c: c.apart and blank_pair(c.pair)),
    (Cause.NO_GOOD_SIDE,  lambda c: c.apart and _inconsistent(c)),
    (Cause.SETTINGS,      lambda c: c.apart and all(side.running for side in c.sides) and bool(unlike(*c.sides))),
    (Cause.MARKED,        lambda c: c.apart and _marked(c)),
    (Cause.BY_HAND,       lambda c: c.apart and bool(by_hand(c))),
    (Cause.BEHIND,        lambda c: c.apart and bool(silent(c)) and _behind(c)),
    (Cause.NOT_CONNECTED, lambda c: c.apart and bool(silent(c)) and c.relation.verdict is Verdict.IN_SYNC),
    (Cause.PORT_BLOCKED,  lambda c: _all_trying(c) and bool(closed(c))),
    (Cause.NETWORK,       _all_trying),
)


def cause_of(case: Case) -> Cause:
    """The first line of RULES that fits; UNKNOWN where none does."""
    return next((cause for cause, fits in RULES if fits(case)), Cause.UNKNOWN)


def undecided(case: Case) -> tuple[str, ...]:
    """What could not be read, or does not fit together, in words: why the cause is UNKNOWN."""
    said = [f"{node.name} cannot be seen: {node.why}" for node in case.unseen]
    for side in case.sides:
        unread = [word for word, missing in (
            ("DRBD itself", side.configured is None),
            ("its disk state", side.configured is True and side.disk is D.UNKNOWN),
            ("its connection", side.configured is True and side.connection is ConnectionState.UNKNOWN),
            ("its generation identifiers", side.configured is True and side.identifiers is None),
            ("its blocks out of sync", side.configured is True and side.out_of_sync is None),
            ("its metadata", side.configured is False and side.metadata is Metadata.UNKNOWN),
        ) if missing]
        if unread and side.node not in {node.name for node in case.unseen}:
            said.append(f"{side.node}: {', '.join(unread)} could not be read")
    if not said and len({side.connected for side in case.sides}) == 2:
        said.append("one side says it is connected and the other says it is not: the looks fell into the middle of a change")
    if not said and case.relation.verdict is Verdict.UNKNOWN:
        said.append(case.relation.why)
    return tuple(said) or ("what was read fits no known kind",)
