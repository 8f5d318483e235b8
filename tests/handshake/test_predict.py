"""The prediction against what kernels did (captured), what they were made to do (live, 8.4) and what 9's rules say."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from fixtures.handshake.cases import HERE, Case, captured, load
from states.handshake import Generation, RrConflict, Side, Terms, Verdict, discards_nothing, predict
from states.handshake.course import compared
from states.handshake.rules9 import ELSEWHERE, RULES_9
from states.handshake.rules84 import RESYNC_STEP, RULES_84
from states.handshake.view import MissingFact, Rule, View
from states.identifiers import Flag, Identifiers
from states.vocabulary import AfterSplit, DiskState, Role
from tests.unit.strategies import STEADY

FABRICATED = {name: load(name) for name in ("cases-8.4.toml", "cases-9.toml")}
CAPTURED = captured()
ALL = [*FABRICATED["cases-8.4.toml"], *FABRICATED["cases-9.toml"], *CAPTURED]

UNREACHED = {
    ("30", "protocol 91 is needed"): "the lab's peers agree on protocol 101; shown with wire=90 below",
    ("41", "peers are too old"): "the lab's peers have the feature; shown with write_same=False below",
    ("51", "protocol 91 is needed"): "as rule 30",
    ("71", "protocol 91 is needed"): "as rule 30",
}
"""Rows of 8.4's table that no live case can hit, and why."""

NOT_IN_84 = {"38", "39"}
"""Numbers that later sources than 8.4.12 (9's, when it talks to 8.4) use; 8.4's own comparison has no such rule."""


def rows(case: Case) -> Iterator[Rule]:
    """The rows both sides of a case go by; all of them if it depends on what cannot be read."""
    table = RULES_84 if case.terms[0].generation is Generation.V84 else RULES_9
    for me, peer, terms in ((0, 1, case.terms[0]), (1, 0, case.terms[1])):
        view = View(case.sides[me], case.sides[peer], terms)
        try:
            yield next(rule for rule in table if rule.when(view))
        except MissingFact:
            continue


@pytest.mark.parametrize("case", ALL, ids=str)
def test_prediction_is_what_the_case_says(case: Case) -> None:
    seen = predict(*case.sides, *case.terms)
    assert (seen.verdict, seen.source, seen.losers, seen.full) == (case.verdict, case.source, case.losers, case.full)
    assert all(a in ("", b) or a in b.split("|") for a, b in zip(case.rules, seen.rules, strict=True))


@pytest.mark.parametrize("case", ALL, ids=str)
def test_swapping_the_sides_mirrors_the_prediction(case: Case) -> None:
    one = predict(*case.sides, *case.terms)
    other = predict(*case.sides[::-1], *case.terms[::-1])
    assert evolve(other, why="") == evolve(one.mirrored(), why="")


@pytest.mark.parametrize("case", [case for case in ALL if case.values], ids=str)
def test_the_comparison_answers_as_the_kernel_logged(case: Case) -> None:
    assert case.values
    for me, peer in ((0, 1), (1, 0)):
        view = View(case.sides[me], case.sides[peer], case.terms[me])
        answer = compared(view).answer
        said = answer.word if view.terms.generation is Generation.V9 else str(answer.number)
        if case.rules[me]:
            assert said == case.values[me]


def test_every_row_of_the_8_4_table_is_hit_live_or_explained() -> None:
    hit = {rule for case in FABRICATED["cases-8.4.toml"] for rule in rows(case)}
    missed = [rule for rule in RULES_84 if rule not in hit]
    assert [rule.name for rule in missed] == [number for number, _ in UNREACHED]
    assert all(words in rule.why for rule, (_, words) in zip(missed, UNREACHED, strict=True))


def test_rule_numbers_are_the_kernels() -> None:
    assert {rule.name for rule in RULES_84} == {
        "10", "20", "30", "34", "35", "36", "37", "40", "41", "50", "51", "60", "70", "71", "80", "90", "100"}
    assert not NOT_IN_84 & {rule.name for rule in RULES_84}


def test_every_row_of_the_9_table_is_hit_or_belongs_elsewhere() -> None:
    hit = {rule for case in (*FABRICATED["cases-9.toml"], *CAPTURED) for rule in rows(case)}
    assert [rule.name for rule in RULES_9 if rule not in hit] == []
    assert not ELSEWHERE.keys() & {rule.name for rule in RULES_9}
    assert len(ELSEWHERE.keys() | {rule.name for rule in RULES_9}) == 24


def test_there_are_enough_cases() -> None:
    assert len(FABRICATED["cases-8.4.toml"]) >= 40
    assert len(CAPTURED) >= 30
    for cases in (*FABRICATED.values(), CAPTURED):
        names = [(case.name, case.seen) for case in cases]
        assert len({*names}) == len(names)


def test_every_captured_case_says_where_it_was_seen() -> None:
    content = tomllib.loads((HERE / "captured.toml").read_text())
    assert all(case["seen"] for case in content["case"])


# --- old peers, which no lab of ours has

OLD = Terms(Generation.V84, wire=90)
UP = frozenset({Flag.CONSISTENT, Flag.WAS_UP_TO_DATE})
A, B, C, D, E = (number << 8 for number in (0x11, 0x22, 0x33, 0x44, 0x55))


def side(current: int, bitmap: int = 0, newer: int = 0, older: int = 0, **more: object) -> Side:
    """A Secondary, UpToDate, nothing marked, unless `more` says otherwise."""
    base = Side(Identifiers(current, bitmap, (newer, older), UP), Role.SECONDARY, DiskState.UP_TO_DATE, 0)
    return evolve(base, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("one", "two", "rules"), [
    (side(A, B, C, D), side(A, 0, B, C), ("30", "30")),
    (side(B, 0, C, D), side(A, E, B, C), ("51", "71")),
])
def test_too_old_a_protocol_is_refused(one: Side, two: Side, rules: tuple[str, str]) -> None:
    seen = predict(one, two, OLD)
    assert (seen.verdict, seen.rules) == (Verdict.REFUSED, rules)


def test_protocol_95_undoes_an_unheard_resync_by_the_history_alone() -> None:
    seen = predict(side(B, 0, C, D), side(A, E, B, C), Terms(Generation.V84, wire=95))
    assert (seen.verdict, seen.source, seen.rules) == (Verdict.BITMAP_SYNC, 1, ("51", "71"))
    now = predict(side(B, 0, C, D), side(A, E, B, C), Terms(Generation.V84))
    assert (now.verdict, now.rules) == (Verdict.FULL_SYNC, ("60", "80"))


def test_a_crashed_primary_beside_a_peer_without_the_feature() -> None:
    crashed = side(A, B, identifiers=Identifiers(A, B, (C, D), UP | {Flag.CRASHED_PRIMARY}))
    seen = predict(crashed, side(A, B, C, D, role=Role.PRIMARY), Terms(Generation.V84, write_same=False))
    assert (seen.verdict, seen.rules) == (Verdict.REFUSED, ("41", "41"))


# --- what is not known is not guessed

SPLIT = (side(A, B, C, D, dirty=64), side(E, B, C, D, dirty=0))


@pytest.mark.parametrize(("one", "terms", "missing"), [
    (evolve(SPLIT[0], dirty=None), Terms(Generation.V84, AfterSplit.DISCARD_ZERO_CHANGES), "out of sync"),
    (evolve(SPLIT[0], role=Role.UNKNOWN), Terms(Generation.V84), "role"),
    (evolve(SPLIT[0], disk=DiskState.UNKNOWN), Terms(Generation.V84), "disk state"),
    (evolve(SPLIT[0], disk=DiskState.DISKLESS), Terms(Generation.V84), "nothing is compared"),
    (SPLIT[0], Terms(Generation.V84, AfterSplit.UNKNOWN), "after-sb-0pri"),
    (evolve(SPLIT[0], role=Role.PRIMARY), Terms(Generation.V84, after_sb_1pri=AfterSplit.CALL_PRI_LOST,
                                                after_sb_0pri=AfterSplit.DISCARD_LOCAL), "demoted"),
    (SPLIT[0], Terms(Generation.V9, quorum=True), "quorum"),
])
def test_a_missing_fact_makes_it_unknown(one: Side, terms: Terms, missing: str) -> None:
    seen = predict(one, SPLIT[1], terms)
    assert seen.verdict is Verdict.UNKNOWN
    assert missing in seen.why
    assert not discards_nothing(seen)


def test_an_unknown_rr_conflict_matters_only_to_a_primary_target() -> None:
    older, newer, terms = side(B, E), side(A, B), Terms(Generation.V84, rr_conflict=RrConflict.UNKNOWN)
    assert predict(older, newer, terms).verdict is Verdict.BITMAP_SYNC
    assert predict(evolve(older, role=Role.PRIMARY), newer, terms).verdict is Verdict.UNKNOWN


def test_generations_do_not_mix() -> None:
    assert predict(*SPLIT, Terms(Generation.V84), Terms(Generation.V9)).verdict is Verdict.UNKNOWN


# --- what is discarded

def test_how_much_the_victim_loses() -> None:
    seen = predict(*SPLIT, Terms(Generation.V84, after_sb_0pri=AfterSplit.DISCARD_LOCAL))
    assert (seen.loser, seen.discards, discards_nothing(seen)) == (0, 64, False)
    idle = predict(*SPLIT, Terms(Generation.V84, after_sb_0pri=AfterSplit.DISCARD_ZERO_CHANGES))
    assert (idle.loser, idle.discards, discards_nothing(idle)) == (None, 0, True)


def test_an_uncounted_victim_loses_something() -> None:
    victim = side(A, B, C, D, dirty=None, discard=True)
    seen = predict(victim, SPLIT[1], Terms(Generation.V84))
    assert (seen.verdict, seen.loser, seen.discards) == (Verdict.SPLIT_AUTO, 0, None)


def test_a_detached_side_attaches_by_its_flags() -> None:
    primary = Identifiers(A, B, (C, D), UP | {Flag.PRIMARY})
    assert Side.detached(primary, 0).crashed
    assert Side.detached(primary, 0).disk is DiskState.CONSISTENT
    assert Side.detached(Identifiers(A, B, (C, D), frozenset({Flag.CONSISTENT})), 0).disk is DiskState.OUTDATED
    assert Side.detached(Identifiers(A, B, (C, D), frozenset()), 0).disk is DiskState.INCONSISTENT


# --- symmetry and honesty, for any pair

NUMBERS = st.sampled_from([0, 4, A, A | 1, B, B | 1, C, B + RESYNC_STEP, D])
FLAGS = st.frozensets(st.sampled_from([Flag.CRASHED_PRIMARY, Flag.LOST_QUORUM, Flag.PRIMARY])).map(lambda few: few | UP)
SIDES = st.builds(
    Side, st.builds(Identifiers, NUMBERS, NUMBERS, st.tuples(NUMBERS, NUMBERS), FLAGS),
    st.sampled_from([Role.PRIMARY, Role.SECONDARY, Role.UNKNOWN]), st.sampled_from(DiskState),
    st.sampled_from([None, 0, 4, 64]), st.booleans(), st.sampled_from([None, True, False]),
    st.sampled_from([None, True, False]),
)
POLICY = st.sampled_from(AfterSplit)


@st.composite
def settings(draw: st.DrawFn) -> tuple[Terms, Terms]:
    """Two compatible sides' settings; what DRBD does not compare may differ."""
    def own(terms: Terms) -> Terms:
        return evolve(terms, rr_conflict=draw(st.sampled_from(RrConflict)), always_asbp=draw(st.booleans()))
    shared = Terms(
        draw(st.sampled_from(Generation)), draw(POLICY), draw(POLICY), draw(POLICY),
        protocol=draw(st.sampled_from("ABC")), allow_two_primaries=draw(st.booleans()), quorum=draw(st.booleans()),
    )
    return own(shared), own(shared.counterpart())


@STEADY
@given(SIDES, SIDES, settings())
def test_any_pair_is_judged_alike_from_both_sides(one: Side, two: Side, terms: tuple[Terms, Terms]) -> None:
    seen = predict(one, two, *terms)
    other = predict(two, one, terms[1], terms[0])
    assert evolve(other, why="") == evolve(seen.mirrored(), why="")


@STEADY
@given(SIDES, SIDES, settings())
def test_only_a_resync_discards_and_only_from_its_target(one: Side, two: Side, terms: tuple[Terms, Terms]) -> None:
    seen = predict(one, two, *terms)
    assert seen.source not in seen.losers
    if seen.losers:
        assert seen.connects
    if not seen.connects or seen.verdict in (Verdict.IN_SYNC, Verdict.BOTH_NEW):
        assert seen.source is None
        assert not seen.losers


@STEADY
@given(SIDES, SIDES, settings())
def test_nothing_is_discarded_unconsented_with_every_policy_disconnect(
    one: Side, two: Side, terms: tuple[Terms, Terms],
) -> None:
    """Without the flag and with the policies we render, a split brain is never solved by the kernels."""
    off = AfterSplit.DISCONNECT
    ours, theirs = (
        evolve(each, after_sb_0pri=off, after_sb_1pri=off, after_sb_2pri=off, quorum=False) for each in terms
    )
    seen = predict(evolve(one, discard=False), evolve(two, discard=False), ours, theirs)
    assert seen.verdict is not Verdict.SPLIT_AUTO
