"""How DRBD 8.3 and 8.4 compare two sets of generation identifiers: its rules 10 to 100, in its order.

The first row that applies answers; the name is the number the kernel logs as `by rule N`. Source of the facts: 8.4.12
`drbd_receiver.c` (uuid comparison), confirmed live on 8.4.11, row by row (`fixtures/handshake/cases-8.4.toml`); 8.3: read in 8.3.16.

Rows 34, 35, 51 and 71 also repair identifiers in passing (a finished or a never started resync of which one side was
not told); the direction they answer already takes that into account, and nothing later looks at them again.
"""

from __future__ import annotations

from states.handshake.terms import Generation
from states.handshake.view import Answer, MissingFact, Rule, View, role
from states.vocabulary import Role

RESYNC_STEP = 0x0001000000000000
"""A source that starts a resync gives the bitmap identifier this much more than the one it retires to its history."""


def _same(v: View) -> bool:
    return v.mine.current == v.theirs.current


def _only_mine_open(v: View) -> bool:
    """Same data, but I still hold a bitmap identifier the peer has closed: the end (or start) of a resync was not
    heard.
    """
    return _same(v) and v.me.identifiers.bitmap != 0 and v.peer.identifiers.bitmap == 0


def _only_theirs_open(v: View) -> bool:
    return _only_mine_open(v.turned())


def _finished_unheard(v: View) -> bool:
    """The peer has already moved my bitmap identifier to its history: it saw the resync finish, I did not."""
    return v.mine.bitmap == v.theirs.newer and v.mine.newer == v.theirs.older


def _old(v: View) -> bool:
    return v.terms.wire < 91


def _crashed(v: View) -> bool:
    return _same(v) and (v.me.crashed or v.peer.crashed)


def _primary_now(v: View) -> bool:
    """Not 8.3: it looks only at who crashed, whoever is Primary now."""
    return _crashed(v) and v.primaries > 0 and v.terms.generation is not Generation.V83


def _start_undone(v: View) -> bool:
    """The peer began a resync as source and I never heard of it: my current identifier is the newest of its history."""
    if v.mine.current != v.theirs.newer:
        return False
    by_history, by_step = v.mine.newer == v.theirs.older, (v.theirs.newer + RESYNC_STEP) % 2**64 == v.theirs.bitmap
    if v.terms.generation is Generation.V83 and by_history is not by_step:
        raise MissingFact("which protocol these two of 8.3 speak, on which it depends whether a resync was begun")
    return by_history if v.terms.wire < 96 else by_step


def _start_undone_by_me(v: View) -> bool:
    return _start_undone(v.turned())


def _common_history(v: View) -> bool:
    return bool({*v.mine.history} & {*v.theirs.history})


RULES_84: tuple[Rule, ...] = (
    # Neither, or one of them, has ever held data.
    Rule("10", lambda v: v.mine.new and v.theirs.new,
         Answer.NO_SYNC, "neither side has ever held data"),
    Rule("20", lambda v: (v.mine.new or v.mine.current == 0) and not v.theirs.new,
         Answer.TARGET_FULL, "{me} has never held data, {peer} has"),
    Rule("30", lambda v: not v.mine.new and (v.theirs.new or v.theirs.current == 0),
         Answer.SOURCE_FULL, "{peer} has never held data, {me} has"),

    # Same current identifier: the end or the start of an earlier resync was not heard by one side ...
    Rule("30", lambda v: (_only_mine_open(v) or _only_theirs_open(v)) and _old(v),
         Answer.NEEDS_91, "an earlier resync ended unheard, and protocol 91 is needed to tell"),
    Rule("34", lambda v: _only_mine_open(v) and _finished_unheard(v),
         Answer.SOURCE, "{me} was the source of a resync and missed its end"),
    Rule("36", _only_mine_open,
         Answer.SOURCE, "{me} was the source of a resync that {peer} did not note"),
    Rule("35", lambda v: _only_theirs_open(v) and _finished_unheard(v.turned()),
         Answer.TARGET, "{peer} was the source of a resync and missed its end"),
    Rule("37", _only_theirs_open,
         Answer.TARGET, "{peer} was the source of a resync that {me} did not note"),

    # ... or a Primary crashed ...
    Rule("41", lambda v: _primary_now(v) and not v.terms.write_same,
         Answer.NEEDS_FEATURE, "a Primary crashed, one is Primary now, and the peers are too old to settle that"),
    Rule("41", lambda v: _primary_now(v) and v.primaries == 2,
         Answer.SPLIT_LOST_COUNT, "a Primary crashed, and both are Primary now with identifiers nobody renewed"),
    Rule("41", lambda v: _primary_now(v) and role(v.me) is Role.PRIMARY,
         Answer.SOURCE, "a Primary crashed, and {me} is Primary now"),
    Rule("41", _primary_now,
         Answer.TARGET, "a Primary crashed, and {peer} is Primary now"),
    Rule("40", lambda v: _crashed(v) and v.me.crashed and v.peer.crashed,
         Answer.CHANCE, "both crashed while Primary: chance decides whose last writes stay"),
    Rule("40", lambda v: _crashed(v) and v.me.crashed,
         Answer.SOURCE, "{me} crashed while Primary: the blocks it was writing are copied to {peer}"),
    Rule("40", _crashed,
         Answer.TARGET, "{peer} crashed while Primary: the blocks it was writing are copied to {me}"),
    # ... or only the link was away.
    Rule("40", _same,
         Answer.NO_SYNC, "both hold the same data"),

    # One side is older.
    Rule("50", lambda v: v.mine.current == v.theirs.bitmap,
         Answer.TARGET, "{peer} went on from exactly the data {me} holds"),
    Rule("51", lambda v: _start_undone(v) and _old(v),
         Answer.NEEDS_91, "a resync from {peer} never began here, and protocol 91 is needed to tell"),
    Rule("51", _start_undone,
         Answer.TARGET, "a resync from {peer} to {me} was started and never reached {me}"),
    Rule("60", lambda v: v.mine.current in v.theirs.history,
         Answer.TARGET_FULL, "{peer} held {me}'s data long ago: which blocks changed since is no longer recorded"),
    Rule("70", lambda v: v.mine.bitmap == v.theirs.current,
         Answer.SOURCE, "{me} went on from exactly the data {peer} holds"),
    Rule("71", lambda v: _start_undone_by_me(v) and _old(v),
         Answer.NEEDS_91, "a resync to {peer} never began there, and protocol 91 is needed to tell"),
    Rule("71", _start_undone_by_me,
         Answer.SOURCE, "a resync from {me} to {peer} was started and never reached {peer}"),
    Rule("80", lambda v: v.theirs.current in v.mine.history,
         Answer.SOURCE_FULL, "{me} held {peer}'s data long ago: which blocks changed since is no longer recorded"),

    # Both went on from the same data.
    Rule("90", lambda v: v.mine.bitmap == v.theirs.bitmap != 0,
         Answer.SPLIT, "both went on from the same data on their own"),
    # An unused history slot is zero, and zero equals zero: 8.4 calls any two devices with one a split brain.
    Rule("100", _common_history,
         Answer.SPLIT_LOST_COUNT, "both went on from data they shared long ago, each on its own"),
    Rule("100", lambda _: True,
         Answer.UNRELATED, "the two sides have no identifier in common"),
)
