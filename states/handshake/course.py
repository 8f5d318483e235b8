"""What becomes of an answer: disk states, policies, the flag and roles may each turn or stop it. One kernel's view.

`STEPS_84` and `STEPS_9` are the order in which the kernels ask. Source of the facts: sync handshake and state reception
in 8.4.12 and 9.3.3 `drbd_receiver.c`; captures (C01, C02, C08, 9's 30, 31, 35); live on 8.4.11.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen

from states.evolve import evolve
from states.handshake.policies import Winner, split_winner
from states.handshake.rules9 import RULES_9
from states.handshake.rules84 import RULES_84
from states.handshake.terms import Generation, Refusal, RrConflict, Side, Verdict
from states.handshake.view import Answer, MissingFact, Rule, View, role
from states.vocabulary import DiskState, Role

DISKS = (
    DiskState.DISKLESS, DiskState.ATTACHING, DiskState.DETACHING, DiskState.FAILED, DiskState.NEGOTIATING,
    DiskState.INCONSISTENT, DiskState.OUTDATED, DiskState.CONSISTENT, DiskState.UP_TO_DATE,
)
"""Worst first, as DRBD ranks them."""


@frozen
class Course:
    """How things stand on one side.

    `winner` ME means SyncSource; NOBODY with `split` means unresolved, else no resync.
    """

    rule: str
    answer: Answer
    why: tuple[str, ...]
    winner: Winner = Winner.NOBODY
    full: bool = False
    split: bool = False           # a split brain, solved or not
    uncounted: bool = False       # ... whose bitmaps do not count from a common point
    if_failed: bool = False       # the direction holds only if neither is Primary (DRBD 9)
    reverted: bool = False        # the newer side was made the target (DRBD 9)
    end: Verdict | None = None    # the connection is dropped
    refusal: Refusal | None = None  # ... because of this, if it is REFUSED

    def but(self, why: str, **changes: Any) -> Course:
        """This course, changed, and the reason."""
        return evolve(self, why=(*self.why, why), **changes)


Step = Callable[[View, Course], Course]


def disk_rank(side: Side) -> int:
    """How good the side's disk is; MissingFact if it is not known, or there is none to compare."""
    if side.disk is DiskState.UNKNOWN:
        raise MissingFact(f"the disk state of {side.name}")
    rank = DISKS.index(side.disk)
    if rank < DISKS.index(DiskState.INCONSISTENT):
        raise MissingFact(f"any data on {side.name}: its disk is {side.disk.value}, and nothing is compared")
    return rank


def inconsistent(side: Side) -> bool:
    """The disk holds no usable data."""
    return disk_rank(side) == DISKS.index(DiskState.INCONSISTENT)


def flagged(side: Side) -> bool:
    """--discard-my-data, which DRBD does not take from a Primary and drops at a promotion (captures C02, C08)."""
    return side.discard and role(side) is not Role.PRIMARY


def flag_winner(view: View) -> Winner:
    """Whom the flag favours; NOBODY if none or both carry it."""
    return {(True, False): Winner.PEER, (False, True): Winner.ME}.get(
        (flagged(view.me), flagged(view.peer)), Winner.NOBODY)


def compared(view: View) -> Course:
    """The first rule that applies, and its answer."""
    table: tuple[Rule, ...] = RULES_9 if view.terms.generation is Generation.V9 else RULES_84
    rule = next(rule for rule in table if rule.when(view))
    a = rule.answer
    if a in (Answer.SOURCE, Answer.SOURCE_FULL, Answer.SOURCE_IF_BOTH_FAILED):
        winner = Winner.ME
    elif a in (Answer.TARGET, Answer.TARGET_FULL, Answer.TARGET_IF_BOTH_FAILED):
        winner = Winner.PEER
    else:
        winner = Winner.CHANCE if a is Answer.CHANCE else Winner.NOBODY
    return Course(
        rule.name, a, (rule.why.format(me=view.me.name, peer=view.peer.name),), winner,
        full=a in (Answer.SOURCE_FULL, Answer.TARGET_FULL),
        split=a in (Answer.SPLIT, Answer.SPLIT_LOST_COUNT),
        uncounted=a is Answer.SPLIT_LOST_COUNT,
        if_failed=a in (Answer.SOURCE_IF_BOTH_FAILED, Answer.TARGET_IF_BOTH_FAILED)
        or (a is Answer.CHANCE and view.terms.generation is Generation.V9),
        end={Answer.UNRELATED: Verdict.UNRELATED, Answer.NEEDS_91: Verdict.REFUSED,
             Answer.NEEDS_FEATURE: Verdict.REFUSED, Answer.RETRY: Verdict.REFUSED}.get(a),
        refusal={Answer.NEEDS_91: Refusal.TOO_OLD, Answer.NEEDS_FEATURE: Refusal.TOO_OLD, Answer.RETRY: Refusal.RETRY}.get(a),
    )


def by_disks_84(view: View, now: Course) -> Course:
    """If only one disk is Inconsistent, the other is the source, whatever the identifiers say; even in a split
    brain.
    """
    if inconsistent(view.me) == inconsistent(view.peer):
        return now
    winner, bad = (Winner.PEER, view.me) if inconsistent(view.me) else (Winner.ME, view.peer)
    return now.but(
        f"{bad.name} is Inconsistent", winner=winner, full=now.full or now.uncounted, split=False, uncounted=False)


def by_disks_9(view: View, now: Course) -> Course:
    """The better disk is the source where identifiers say "no resync" or only guess by who crashed."""
    mine, theirs = disk_rank(view.me), disk_rank(view.peer)
    guessed = now.if_failed and now.rule in ("reconnected", "lost-quorum", "both-off")
    mended = now.answer is Answer.NO_SYNC and inconsistent(view.me) != inconsistent(view.peer)
    if mine == theirs or not (guessed or mended):
        return now
    winner = Winner.ME if mine > theirs else Winner.PEER
    if {view.me.disk, view.peer.disk} == {DiskState.CONSISTENT, DiskState.UP_TO_DATE} and winner is not now.winner:
        raise MissingFact("whether a disk that was up to date attaches as Consistent or UpToDate")
    return now.but("the disk states decide", winner=winner, if_failed=False)


def by_policy(view: View, now: Course) -> Course:
    """The after-sb policies; without a common point to count from only with always-asbp, and then every block is
    copied.
    """
    if not now.split or now.winner is not Winner.NOBODY or (now.uncounted and not view.terms.always_asbp):
        return now
    winner, policy = split_winner(view), f"after-sb-{view.primaries}pri {view.terms.after_split(view.primaries).value}"
    if winner is Winner.NOBODY:
        return now.but(f"{policy} does not solve it")
    return now.but(f"solved by {policy}", winner=winner, full=now.uncounted)


def by_quorum_9(view: View, now: Course) -> Course:
    """With quorum configured, the side that has it wins a split brain against the one that has not."""
    if not view.terms.quorum or not now.split or (now.uncounted and not view.terms.always_asbp):
        return now
    mine, theirs = view.me.has_quorum, view.peer.has_quorum
    if mine is None or theirs is None:
        raise MissingFact("which side has quorum")
    if mine == theirs:
        return now
    return now.but("solved by quorum", winner=Winner.ME if mine else Winner.PEER, full=now.uncounted)


def by_flag(view: View, now: Course) -> Course:
    """--discard-my-data, asked only where the policy left it open. 9 copies every block if there is no common point."""
    winner = flag_winner(view)
    if not now.split or now.winner is not Winner.NOBODY or winner is Winner.NOBODY:
        return now
    full = now.uncounted and view.terms.generation is Generation.V9
    return now.but("solved by --discard-my-data", winner=winner, full=full)


def unresolved(_: View, now: Course) -> Course:
    """Nobody decided."""
    if not now.split or now.winner is not Winner.NOBODY:
        return now
    return now.but("both drop the connection", end=Verdict.SPLIT_BRAIN)


def good_source(view: View, now: Course) -> Course:
    """An Inconsistent source is refused by 8.4; what 9 does with one was never seen."""
    if now.winner is Winner.NOBODY or not inconsistent(view.me):
        return now
    if now.winner is Winner.PEER and not inconsistent(view.peer):
        return now
    if now.winner is Winner.CHANCE or view.terms.generation is Generation.V9:
        raise MissingFact("what becomes of a resync whose source is Inconsistent")
    if now.winner is Winner.PEER:
        return now
    return now.but(f"{view.me.name} should be the source, but is Inconsistent", end=Verdict.REFUSED, refusal=Refusal.NO_GOOD_SOURCE)


def good_primary(view: View, now: Course) -> Course:
    """rr-conflict: a Primary with good data does not become a target, unless told to.

    9 asks only if a block is marked.
    """
    if now.winner not in (Winner.PEER, Winner.CHANCE) or role(view.me) is not Role.PRIMARY:
        return now
    if disk_rank(view.me) < DISKS.index(DiskState.CONSISTENT) or now.if_failed:
        return now
    if view.terms.generation is Generation.V9 and not view.any_dirty:
        return now
    match view.terms.rr_conflict:
        case RrConflict.UNKNOWN:
            raise MissingFact("what rr-conflict says")
        case RrConflict.VIOLENTLY:
            return now.but(f"{view.me.name} is Primary and gives in (rr-conflict violently)")
        case RrConflict.AUTO_DISCARD:
            return now
    if now.winner is Winner.CHANCE:
        raise MissingFact("who wins the race: a Primary that should become target refuses")
    return now.but(f"{view.me.name} should become the target, but is Primary", end=Verdict.REFUSED, refusal=Refusal.PRIMARY_IS_OLDER)


def reversed_by_flag_9(view: View, now: Course) -> Course:
    """DRBD 9 turns *any* resync round by --discard-my-data, split brain or not (capture 31), if the source has good
    data.
    """
    winner = flag_winner(view)
    if view.terms.wire < 121 or Winner.NOBODY in (winner, now.winner) or winner is now.winner:
        return now
    source = view.me if winner is Winner.ME else view.peer
    if inconsistent(source):
        return now.but("--discard-my-data is ignored: the other side has no good data")
    if now.winner is Winner.CHANCE:
        return now.but("--discard-my-data decides", winner=winner)
    return now.but("--discard-my-data turns the resync round", winner=winner, reverted=not now.split)


def auto_discard_9(view: View, now: Course) -> Course:
    """rr-conflict auto-discard: a crashed Primary's extra writes give way to the one that is Primary now."""
    if view.terms.rr_conflict is not RrConflict.AUTO_DISCARD or now.rule != "crashed-primary" or now.full:
        return now
    target = view.me if now.winner is Winner.PEER else view.peer
    if role(target) is not Role.PRIMARY or disk_rank(target) < DISKS.index(DiskState.CONSISTENT):
        return now
    if target is view.me and not view.any_dirty:
        return now
    return now.but("turned round by rr-conflict auto-discard", winner=now.winner.turned(), reverted=True)


def ended_unheard_9(view: View, now: Course) -> Course:
    """A resync whose end was missed is done over only from an UpToDate source."""
    if not now.rule.endswith("missed-finish") or now.winner is Winner.NOBODY:
        return now
    source = view.me if now.winner is Winner.ME else view.peer
    if source.disk is DiskState.CONSISTENT:
        raise MissingFact(f"whether {source.name} attaches as Consistent or UpToDate")
    if source.disk is DiskState.UP_TO_DATE:
        return now
    return now.but(f"not done over: {source.name} is not UpToDate", winner=Winner.NOBODY, reverted=False)


def if_both_failed_9(view: View, now: Course) -> Course:
    """A direction guessed from crashes gives way to who is Primary now."""
    if not now.if_failed or view.primaries == 0:
        return now
    if view.primaries == 2:
        return now.but("both are Primary: nothing is copied", winner=Winner.NOBODY)
    winner = Winner.ME if role(view.me) is Role.PRIMARY else Winner.PEER
    return now.but("the one that is Primary is the source", winner=winner)


def two_primaries(view: View, now: Course) -> Course:
    """Two Primaries connect only where that is allowed."""
    if view.terms.allow_two_primaries or view.primaries < 2:
        return now
    return now.but("both are Primary, and allow-two-primaries is no", end=Verdict.REFUSED, refusal=Refusal.TWO_PRIMARIES)


STEPS_84: tuple[Step, ...] = (
    by_disks_84, by_policy, by_flag, unresolved, good_source, good_primary, two_primaries,
)
STEPS_9: tuple[Step, ...] = (
    by_disks_9, by_quorum_9, by_policy, by_flag, unresolved, reversed_by_flag_9, good_primary, auto_discard_9,
    ended_unheard_9, if_both_failed_9, good_source, two_primaries,
)


def run(view: View) -> Course:
    """What one side's kernel decides."""
    now = compared(view)
    for step in STEPS_9 if view.terms.generation is Generation.V9 else STEPS_84:
        if now.end:
            break
        now = step(view, now)
    return now
