"""The prediction (`states.handshake`) against the simulator's own model, which was written apart from it: any pair."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from states.handshake import Generation, Prediction, RrConflict, Side, Terms, Verdict, predict
from states.identifiers import Flag, Identifiers
from states.vocabulary import AfterSplit, DiskState, Role
from tests.sim.handshake_pairs import Outcome, met

MODELLED = (Generation.V84, Generation.V9)
"""Kernels there is a model of: 8.3: tests/unit/rhcs/test_drbd83.py."""


def disagreement(sides: tuple[Side, Side], terms: tuple[Terms, Terms], *, races: tuple[int, ...] = (0, 1)) -> str | None:
    """Where prediction and model differ, or "" if nowhere; None if the prediction does not know.

    `races`: the winners of the connection race to try where the prediction says that it does not matter.
    """
    expected = predict(*sides, *terms)
    if expected.verdict is Verdict.UNKNOWN:
        return None
    if expected.connects and expected.source is None:
        races = (0, 1)
    unsaid = [(side.reconnecting,) if side.reconnecting is not None else (True, False) for side in sides]
    backs = [(False, False)] if terms[0].generation is Generation.V84 else [(a, b) for a, b in product(*unsaid)]
    for back in backs:
        seen = [Outcome.of(sides, met(sides, terms, first, back=back)) for first in races]
        unsaid_decides = any(len(each) > 1 for each in unsaid) and expected.verdict is Verdict.BITMAP_SYNC and expected.source is None
        if problem := differs(expected, seen) if not unsaid_decides else harmful(seen):
            return f"{problem}: predicted {expected}, model {seen}, back {back}, sides {sides}, terms {terms}"
    return ""


def harmful(seen: list[Outcome]) -> str:
    """Where it cannot be known whether the kernels were connected before: whichever way it goes, nothing is thrown away."""
    calm = {Verdict.IN_SYNC, Verdict.BITMAP_SYNC}
    return "" if {one.verdict for one in seen} <= calm else "not harmless"


def differs(expected: Prediction, seen: list[Outcome]) -> str:
    """The first thing that differs. With a source the race does not matter; without one it decides who it is."""
    if {one.verdict for one in seen} != {expected.verdict}:
        return "verdict"
    if any(one.full != expected.full for one in seen if expected.connects):
        return "full"
    chance = expected.connects and expected.source is None and expected.verdict not in (Verdict.IN_SYNC, Verdict.BOTH_NEW)
    sources = [one.source for one in seen]
    if chance and {*sources} != {0, 1}:
        return "source (by chance)"
    if not chance and {*sources} != {expected.source}:
        return "source"
    for side in (0, 1):
        if expected.rules[side] and not {one.rules[side] for one in seen} <= {*expected.rules[side].split("|")}:
            return "rule"
    return ""


# --- against the prediction: any pair, by chance

A, B, C, D = (number << 8 for number in (0x11, 0x22, 0x33, 0x44))
STEP = 0x0001000000000000
UP = frozenset({Flag.CONSISTENT, Flag.WAS_UP_TO_DATE})
GOOD_DISKS = (DiskState.INCONSISTENT, DiskState.OUTDATED, DiskState.CONSISTENT, DiskState.UP_TO_DATE)
NUMBERS = st.sampled_from([0, 4, A, A, A | 1, B, B, B | 1, C, B + STEP, D])
FLAGS = st.frozensets(st.sampled_from([Flag.CRASHED_PRIMARY, Flag.LOST_QUORUM, Flag.PRIMARY]), max_size=2).map(lambda few: few | UP)
SIDES = st.builds(
    Side, st.builds(Identifiers, NUMBERS, NUMBERS, st.tuples(NUMBERS, NUMBERS), FLAGS),
    st.sampled_from([Role.PRIMARY, Role.SECONDARY, Role.SECONDARY]), st.sampled_from((*GOOD_DISKS, DiskState.UP_TO_DATE)),
    st.sampled_from([0, 4, 64]), st.booleans(), st.sampled_from([None, True, False]), st.booleans(),
)
KNOWN = [policy for policy in AfterSplit if policy is not AfterSplit.UNKNOWN]
CONFLICTS = [each for each in RrConflict if each is not RrConflict.UNKNOWN]


@st.composite
def agreed_terms(draw: st.DrawFn, generation: Generation) -> tuple[Terms, Terms]:
    """Two sides' settings that mostly fit each other; what DRBD does not compare may differ."""
    policy = st.sampled_from(KNOWN)
    one = Terms(
        generation, draw(policy), draw(policy), draw(policy), protocol=draw(st.sampled_from("ABCCC")),
        allow_two_primaries=draw(st.booleans()), quorum=draw(st.booleans()) and generation is Generation.V9,
    )
    two = one.counterpart()
    if draw(st.integers(0, 15)) == 0:
        other = draw(policy)
        two = draw(st.sampled_from([
            evolve(two, after_sb_0pri=other), evolve(two, after_sb_1pri=other), evolve(two, after_sb_2pri=other)]))
    conflict = st.sampled_from([each for each in CONFLICTS if generation is Generation.V9 or each.value in (
        "disconnect", "call-pri-lost", "violently")])
    return (
        evolve(one, rr_conflict=draw(conflict), always_asbp=draw(st.booleans())),
        evolve(two, rr_conflict=draw(conflict), always_asbp=draw(st.booleans())),
    )


@pytest.mark.timeout(900)
@pytest.mark.parametrize("generation", MODELLED, ids=lambda each: str(each.value))
def test_prediction_and_model_agree_on_any_pair(generation: Generation) -> None:
    known: list[bool] = []

    @limits(max_examples=1500, derandomize=True, deadline=None, database=None)
    @given(SIDES, SIDES, agreed_terms(generation))
    def agree(one: Side, two: Side, terms: tuple[Terms, Terms]) -> None:
        found = disagreement((one, two), terms)
        known.append(found is not None)
        assert not found, found

    agree()
    assert sum(known) > 700, f"the prediction knew only {sum(known)} of {len(known)}"


@limits(max_examples=500, derandomize=True, deadline=None, database=None)
@given(SIDES, SIDES, st.sampled_from(MODELLED).flatmap(agreed_terms), st.booleans())
def test_the_model_is_symmetric(one: Side, two: Side, terms: tuple[Terms, Terms], first: bool) -> None:
    there = met((one, two), terms, int(first))
    back = met((two, one), (terms[1], terms[0]), int(not first))
    assert there == back[::-1]


# --- against the prediction: every pair that is small

SITUATIONS = tuple(product((Role.PRIMARY, Role.SECONDARY), GOOD_DISKS, (0, 4), (False, True), (False, True)))
"""Role, disk, KiB marked, the flag, crashed: everything a side can be, but for its identifiers."""


def canonical(slots: int) -> Iterator[tuple[int, ...]]:
    """All ways to fill the slots with nothing, "just created" and up to four names, but for which name is which."""
    def fill(done: tuple[int, ...], names: int) -> Iterator[tuple[int, ...]]:
        if len(done) == slots:
            yield done
            return
        for number in (0, 4, *(A, B, C, D)[: names + 1]):
            fresh = names < 4 and number == (A, B, C, D)[names]
            yield from fill((*done, number), names + fresh)
    return fill((), 0)


def placed(numbers: tuple[int, ...], situation: tuple[Role, DiskState, int, bool, bool]) -> Side:
    """A side of four identifiers in a situation."""
    role, disk, dirty, discard, crashed = situation
    flags = UP | {Flag.CRASHED_PRIMARY} if crashed else UP
    ids = Identifiers(numbers[0], numbers[1], (numbers[2], numbers[3]), flags)
    return Side(ids, role, disk, dirty, discard, reconnecting=False, has_quorum=True)


PLAIN = (Role.SECONDARY, DiskState.UP_TO_DATE, 4, False, False)


def small_pairs(generation: Generation, slots: int, disks: tuple[DiskState, ...]) -> Iterator[tuple[tuple[Side, Side], Terms]]:
    """First all identifiers in one situation, then one pair of identifiers of each kind in all situations.

    `slots`: how many of a side's four identifiers vary; the others are unused.
    """
    kinds: dict[tuple[object, ...], tuple[int, ...]] = {}
    terms, unused = Terms(generation), (0,) * (4 - slots)
    for found in canonical(2 * slots):
        numbers = (*found[:slots], *unused, *found[slots:], *unused)
        sides = placed(numbers[:4], PLAIN), placed(numbers[4:], PLAIN)
        yield sides, terms
        pair = met(sides, (terms, terms), 0)
        kinds.setdefault(tuple((each.rule, each.answer) for each in pair), numbers)
    terms = evolve(terms, after_sb_0pri=AfterSplit.DISCARD_LEAST_CHANGES, after_sb_1pri=AfterSplit.CONSENSUS)
    situations = [each for each in SITUATIONS if each[1] in disks]
    for numbers, one, two in product(kinds.values(), situations, situations):
        yield (placed(numbers[:4], one), placed(numbers[4:], two)), terms


@pytest.mark.timeout(900)
@pytest.mark.parametrize("generation", MODELLED, ids=lambda each: str(each.value))
def test_prediction_and_model_agree_on_all_small_pairs(generation: Generation) -> None:
    count = known = 0
    for sides, terms in small_pairs(generation, 3, (DiskState.INCONSISTENT, DiskState.UP_TO_DATE)):
        found = disagreement(sides, (terms, terms), races=(count % 2,))
        assert not found, found
        count, known = count + 1, known + (found is not None)
    print(f"DRBD {generation.value}: {count} pairs, {known} of them predicted")
    assert known > 10_000


def test_a_reversed_resync_that_is_not_done_over_reverts_nothing() -> None:
    """Found by all small pairs with every disk state: the end of a resync was missed, its source carries the flag, and
    the side that would be the source instead is not UpToDate. The model: nothing is copied, nobody reverts.
    """
    target = placed((A, 0, 0, 0), (Role.SECONDARY, DiskState.OUTDATED, 0, False, False))
    source = placed((A, B, 0, 0), (Role.SECONDARY, DiskState.UP_TO_DATE, 4, True, False))
    terms = Terms(Generation.V9)
    seen = [Outcome.of((target, source), met((target, source), (terms, terms), first)) for first in (0, 1)]
    assert differs(predict(target, source, terms), seen) == ""
