"""Both kernels' decisions, put together: what happens to the pair."""

from __future__ import annotations

from functools import lru_cache
from itertools import product

from states.evolve import evolve
from states.handshake.course import Course, flagged, inconsistent, run
from states.handshake.policies import Winner
from states.handshake.terms import Generation, Prediction, Refusal, Side, Terms, Verdict, incompatible
from states.handshake.view import MissingFact, View
from states.identifiers import JUST_CREATED

DROPS = (Verdict.UNRELATED, Verdict.SPLIT_BRAIN, Verdict.REFUSED)
"""If either side drops the connection, that is the outcome; the most telling reason first."""


@lru_cache(maxsize=1024)  # the same two sides are asked about after every look
def predict(a: Side, b: Side, terms: Terms, other: Terms | None = None) -> Prediction:
    """What DRBD will decide when these two sides connect. Never a guess: what is not known and decides makes it
    UNKNOWN.

    `terms` are a's settings, `other` b's (by default what a's require of it). Symmetric: swapping the sides, with their
    settings, gives the mirrored prediction.
    """
    a, b = evolve(a, name=a.name or "the first"), evolve(b, name=b.name or "the second")
    other = other or terms.counterpart()
    if terms.generation is not other.generation:
        return _unknown(f"how DRBD {terms.generation.value} and {other.generation.value} compare with each other")
    if setting := incompatible(terms, other):
        return Prediction(Verdict.REFUSED, ("", ""), f"incompatible settings: {setting} differs", refusal=Refusal.SETTINGS)
    try:
        if terms.generation is Generation.V9 and flagged(a) and flagged(b):
            why = "incompatible settings: both carry --discard-my-data"
            return Prediction(Verdict.REFUSED, ("", ""), why, refusal=Refusal.BOTH_FLAGGED)
        return _agreed([
            _joined(one, two, terms, other) for one, two in product(_completed(a, terms), _completed(b, terms))
        ], (a, b))
    except MissingFact as missing:
        return _unknown(str(missing))


def _unknown(what: str) -> Prediction:
    return Prediction(Verdict.UNKNOWN, ("", ""), f"not known: {what}", discards=None)


def _completed(side: Side, terms: Terms) -> list[Side]:
    """The side with what cannot be read from outside filled in, both ways."""
    if terms.generation is not Generation.V9 or side.reconnecting is not None:
        return [side]
    if side.crashed and side.identifiers.bitmap == 0:  # a connection since the crash would have ended the mark, or left a resync open
        return [evolve(side, reconnecting=False)]
    return [evolve(side, reconnecting=value) for value in (True, False)]


def _agreed(tried: list[Prediction], sides: tuple[Side, Side]) -> Prediction:
    """One prediction for all the possibilities, if it makes no difference which is true, or none of them does harm.

    To connect without a resync is harm where blocks are marked: DRBD 9 forgets them (capture 40).
    """
    first = tried[0]
    rules = tuple("|".join(dict.fromkeys(each.rules[side] for each in tried)) for side in (0, 1))
    if all(evolve(each, rules=first.rules, why=first.why) == first for each in tried):
        return evolve(first, rules=(rules[0], rules[1]))
    forgets = any(each.verdict is Verdict.IN_SYNC for each in tried) and any(side.dirty != 0 for side in sides)
    if forgets or any(not each.connects or each.discards != 0 or each.losers for each in tried):
        return _unknown("whether the kernels were connected before (RECONNECT), on which it depends")
    return Prediction(
        Verdict.BITMAP_SYNC, (rules[0], rules[1]), "which side is copied from, if any, depends on whether the kernels were connected before"
        f" (RECONNECT); nothing is lost either way: {first.why}", full=any(each.full for each in tried),
    )


def _joined(a: Side, b: Side, terms: Terms, other: Terms) -> Prediction:
    """Both sides' courses as one."""
    ours, theirs = run(View(a, b, terms)), run(View(b, a, other))
    rules = (ours.rule, theirs.rule)
    why = "; ".join(dict.fromkeys((*ours.why, *(theirs.why if theirs.end and not ours.end else ()))))
    for verdict in DROPS:
        if verdict in (ours.end, theirs.end):
            dropped = ours if ours.end is verdict else theirs
            return Prediction(verdict, rules, why, uncounted=ours.uncounted or theirs.uncounted, refusal=dropped.refusal)
    if ours.winner is not theirs.winner.turned():
        return evolve(_unknown(f"what follows when the two contradict each other: {a.name} goes by rule {ours.rule}, "
                               f"{b.name} by rule {theirs.rule}"), rules=rules)
    full = ours.full or theirs.full
    losers, discards = _losses(ours, (a, b), terms, full=full)
    return Prediction(
        _verdict(ours, a, b, full=full), rules, _with_remains(why, ours, (a, b), terms),
        source={Winner.ME: 0, Winner.PEER: 1}.get(ours.winner), full=full, losers=losers, discards=discards,
        uncounted=ours.uncounted or theirs.uncounted,
    )


def _verdict(now: Course, a: Side, b: Side, *, full: bool) -> Verdict:
    if now.split:
        return Verdict.SPLIT_AUTO
    if now.reverted:
        return Verdict.REVERTED
    if now.winner is Winner.NOBODY:
        new = all(side.identifiers.current & ~1 in (0, JUST_CREATED) for side in (a, b))
        return Verdict.BOTH_NEW if new else Verdict.IN_SYNC
    return Verdict.FULL_SYNC if full else Verdict.BITMAP_SYNC


def _losses(now: Course, sides: tuple[Side, Side], terms: Terms, *, full: bool) -> tuple[frozenset[int], int | None]:
    """Which sides may lose acknowledged writes the other does not have, and how many KiB at most."""
    targets = {Winner.ME: (1,), Winner.PEER: (0,), Winner.CHANCE: (0, 1), Winner.NOBODY: ()}[now.winner]
    lost = {index: _loss(now, sides[index], terms, full=full) for index in targets}
    lost = {index: amount for index, amount in lost.items() if amount != 0}
    amounts = [amount for amount in lost.values() if amount is not None]
    return frozenset(lost), max(amounts, default=0) if len(amounts) == len(lost) else None


def _loss(now: Course, target: Side, terms: Terms, *, full: bool) -> int | None:
    """KiB of acknowledged writes that the target of this resync loses; None: some, nobody knows how many.

    - Split brain or reversal: its own marked blocks, if they count from the common point.
    - Full resync: unless it was never written or is Inconsistent, what it holds cannot be told from what the source
      has.
    - Older by one step (bitmap resync): nothing. A crashed Primary rolls back writes it never acknowledged; with
      protocol A or B it acknowledged some before the peer had them.
    """
    if target.identifiers.current & ~1 in (0, JUST_CREATED) or inconsistent(target):
        return 0
    if now.split or now.reverted:
        return None if now.uncounted or full else target.dirty
    if full or (target.crashed and terms.protocol != "C"):
        return None
    return 0


def _with_remains(why: str, now: Course, sides: tuple[Side, Side], terms: Terms) -> str:
    """Without a resync, marked blocks stay as they are: 8.4 keeps the marks, 9 erases them (seen on both)."""
    marked = any(side.dirty for side in sides)
    new = all(side.identifiers.just_created for side in sides)
    if now.winner is not Winner.NOBODY or not marked or new:
        return why
    kept = "lose their marks" if terms.generation is Generation.V9 else "stay marked"
    return f"{why}; blocks marked out of sync are not copied and {kept}"
