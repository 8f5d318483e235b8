"""How DRBD 9 compares two sets of generation identifiers, between two nodes: its rules by name, in its order.

The first row that applies answers; the name is what the kernel logs as `by rule=NAME`. Source of the facts: 9.2.18,
9.3.3 `drbd_receiver.c` (uuid comparison) and `drbd_main.c` (finished resyncs); captures of both. Both ends speak DRBD 9
(protocol 119 or later): the rows that exist for a peer running 8.4 are in ELSEWHERE, with the others that two nodes
never meet.
"""

from __future__ import annotations

from states.handshake.view import Answer, MissingFact, Rule, View, lost_quorum, reconnecting
from states.identifiers import JUST_CREATED

ELSEWHERE = {
    "initial-handshake-changed": "a race inside one handshake; the kernel tries again by itself",
    "sync-source-peer-missed-finish": "only towards a peer that speaks a protocol below 110 (DRBD 8.4)",
    "sync-target-missed-finish": "only towards a peer that speaks a protocol below 110 (DRBD 8.4)",
    "sync-target-missed-start": "only towards a peer that speaks a protocol below 110 (DRBD 8.4)",
    "sync-source-missed-start": "only towards a peer that speaks a protocol below 110 (DRBD 8.4)",
    "bitmap-peer-other": "uses a bitmap kept for a third node",
    "bitmap-self-other": "uses a bitmap kept for a third node",
    "reconcile-bitmap": "needs a third node that was Primary and is lost (9.3.2 and later)",
    "reconcile-dagtag": "needs a third node that was Primary and is lost (9.3.2 and later)",
}


def _new(current: int) -> bool:
    """Current identifiers of zero are from before 8.0.2: as good as new."""
    return current in (0, JUST_CREATED)


def _same(v: View) -> bool:
    return v.mine.current == v.theirs.current


def _missed_end(v: View) -> bool:
    """I was the source of a resync whose end the peer saw and I did not.

    With nothing left to copy it is only tidied up.
    """
    mine, theirs = v.mine, v.theirs
    open_here = _same(v) and theirs.bitmap == 0 and mine.bitmap not in (0, mine.current)
    return open_here and v.any_dirty


def _tidied(v: View) -> bool:
    """As above, but nothing is left to copy, and a protocol too old to tidy up: the kernel tries again and again."""
    mine, theirs = v.mine, v.theirs
    open_here = _same(v) and theirs.bitmap == 0 and mine.bitmap not in (0, mine.current)
    return open_here and not v.any_dirty and v.terms.wire < 124


def _lost(v: View) -> tuple[bool, bool]:
    return lost_quorum(v.me), lost_quorum(v.peer)


def _crash_decides(v: View) -> bool:
    """With protocol A or B a crashed Primary may hold acknowledged writes the survivor lacks: it becomes the source."""
    return _same(v) and v.terms.wire >= 121 and v.terms.protocol in ("A", "B") and v.me.crashed != v.peer.crashed


def _back_for(v: View) -> bool:
    """The peer crashed while Primary and I stayed up, connected until then."""
    return _same(v) and v.peer.crashed and reconnecting(v.me)


def _any_back(v: View) -> bool:
    return _same(v) and (reconnecting(v.me) or reconnecting(v.peer))


def _both_back(v: View) -> bool:
    return _same(v) and reconnecting(v.me) and reconnecting(v.peer)


def _in_history(v: View) -> bool:
    """My current identifier is in the peer's history, as far as that can be seen."""
    return v.mine.current in v.theirs.history


def _seen_whole(v: View) -> bool:
    """DRBD 9 keeps 32 history identifiers and get-gi prints two: past them we would guess."""
    for side in (v.me, v.peer):
        if side.identifiers.history[1] != 0:
            raise MissingFact(f"the history identifiers of {side.name} beyond the two that get-gi prints")
    return True


def _common_history(v: View) -> bool:
    return bool({*v.mine.history} & {*v.theirs.history} - {0})


RULES_9: tuple[Rule, ...] = (
    # Neither, or one of them, has ever held data.
    Rule("just-created-both", lambda v: _new(v.mine.current) and _new(v.theirs.current),
         Answer.NO_SYNC, "neither side has ever held data"),
    Rule("just-created-self", lambda v: _new(v.mine.current),
         Answer.TARGET_FULL, "{me} has never held data, {peer} has"),
    Rule("just-created-peer", lambda v: _new(v.theirs.current),
         Answer.SOURCE_FULL, "{peer} has never held data, {me} has"),

    # Same current identifier: a resync whose end one side missed ...
    Rule("sync-source-missed-finish", _missed_end,
         Answer.SOURCE, "{me} was the source of a resync and missed its end"),
    Rule("sync-target-peer-missed-finish", lambda v: _missed_end(v.turned()),
         Answer.TARGET, "{peer} was the source of a resync and missed its end"),
    Rule("sync-source-missed-finish", _tidied,
         Answer.RETRY, "a resync from {me} ended unheard: the kernels retry until the identifiers are tidied up"),
    Rule("sync-target-peer-missed-finish", lambda v: _tidied(v.turned()),
         Answer.RETRY, "a resync from {peer} ended unheard: the kernels retry until the identifiers are tidied up"),

    # ... or only the link was away ...
    Rule("reconnected", lambda v: v.terms.wire >= 120 and _both_back(v),
         Answer.NO_SYNC, "both hold the same data, and only the connection was away"),
    # ... or a Primary crashed, or lost quorum.
    Rule("crashed-primary", lambda v: _crash_decides(v) and v.me.crashed,
         Answer.SOURCE, "{me} crashed while Primary and may hold acknowledged writes that {peer} lacks"),
    Rule("crashed-primary", _crash_decides,
         Answer.TARGET, "{peer} crashed while Primary and may hold acknowledged writes that {me} lacks"),
    Rule("lost-quorum", lambda v: _same(v) and _lost(v) == (False, True),
         Answer.TARGET_IF_BOTH_FAILED, "{peer} lost quorum while Primary"),
    Rule("lost-quorum", lambda v: _same(v) and _lost(v) == (True, False),
         Answer.SOURCE_IF_BOTH_FAILED, "{me} lost quorum while Primary"),
    Rule("lost-quorum", lambda v: _same(v) and _lost(v) == (True, True),
         Answer.CHANCE, "both lost quorum while Primary: chance decides whose last writes stay"),
    Rule("reconnected", lambda v: v.terms.wire < 120 and _both_back(v),
         Answer.NO_SYNC, "both hold the same data, and only the connection was away"),
    # The kernel sets no name of its own for the next rows: from protocol 120 on it is still the one before.
    Rule("lost-quorum", _back_for,
         Answer.SOURCE_IF_BOTH_FAILED, "{peer} crashed while Primary, {me} survived"),
    Rule("lost-quorum", lambda v: _back_for(v.turned()),
         Answer.TARGET_IF_BOTH_FAILED, "{me} crashed while Primary, {peer} survived"),
    Rule("lost-quorum", _any_back,
         Answer.NO_SYNC, "both hold the same data"),
    Rule("both-off", lambda v: _same(v) and v.me.crashed and v.peer.crashed,
         Answer.CHANCE, "both crashed while Primary: chance decides whose last writes stay"),
    Rule("both-off", lambda v: _same(v) and v.me.crashed,
         Answer.SOURCE_IF_BOTH_FAILED, "{me} crashed while Primary: the blocks it was writing are copied to {peer}"),
    Rule("both-off", lambda v: _same(v) and v.peer.crashed,
         Answer.TARGET_IF_BOTH_FAILED, "{peer} crashed while Primary: the blocks it was writing are copied to {me}"),
    Rule("both-off", _same,
         Answer.NO_SYNC, "both hold the same data"),

    # One side is older.
    Rule("bitmap-peer", lambda v: v.mine.current == v.theirs.bitmap,
         Answer.TARGET, "{peer} went on from exactly the data {me} holds"),
    Rule("bitmap-self", lambda v: v.mine.bitmap == v.theirs.current,
         Answer.SOURCE, "{me} went on from exactly the data {peer} holds"),
    Rule("history-peer", lambda v: _in_history(v) and not _in_history(v.turned()),
         Answer.TARGET_FULL, "{peer} held {me}'s data long ago: which blocks changed since is no longer recorded"),
    Rule("history-self", lambda v: not _in_history(v) and _in_history(v.turned()),
         Answer.SOURCE_FULL, "{me} held {peer}'s data long ago: which blocks changed since is no longer recorded"),

    # Both went on from the same data.
    Rule("bitmap-both", lambda v: v.mine.bitmap == v.theirs.bitmap != 0,
         Answer.SPLIT, "both went on from the same data on their own"),
    Rule("history-both", _common_history,
         Answer.SPLIT_LOST_COUNT, "both went on from data they shared long ago, each on its own"),
    Rule("history-both", _seen_whole,
         Answer.UNRELATED, "the two sides have no identifier in common"),
)
