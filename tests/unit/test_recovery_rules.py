# ruff: noqa: E501 - the cases are tables: one line each
"""Rules of a split brain's end: where each lets the discard pass, each reason why it refuses, and what stands behind the others."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from fixtures.situations import NAMES, WANTED, pair
from states import invariants
from states.assessment import assess
from states.consent import NOTHING_CHANGED, Consent, Record
from states.facts import ClaimFact, ClusterFacts, Generation, LayerFact
from states.goal import DESTRUCTIVE, Direction, Do, Goal, Ledger, Step
from states.identifiers import Flag, Identifiers
from states.invariants import RULES, Rule, judge
from states.vocabulary import ConnectionState, DiskState, Layer, Role

ONE, OTHER = NAMES
GOOD = frozenset({Flag.CONSISTENT, Flag.WAS_UP_TO_DATE})
IDS_1, IDS_2 = (Identifiers(current, 0xB0, (0xB2, 0xB4), GOOD) for current in (0xA0, 0xC0))
SAVED = "archive:1"
DISCARD = Step(Do.DISCARD, OTHER, "r0")
VERIFIED = Ledger(archives=(("r0", SAVED),))


def split(one: dict[str, Any] | None = None, other: dict[str, Any] | None = None) -> ClusterFacts:
    """A survivor and a victim, attached, apart, both with changes."""
    seen = pair("attached")
    for name, ids, values in ((ONE, IDS_1, one or {}), (OTHER, IDS_2, other or {})):
        node = seen.node(name)
        seen = seen.replace(node.with_side("r0", evolve(node.side("r0"), **{"identifiers": ids, "out_of_sync": 80, **values})))
    return seen


def consent(victim: str = OTHER, *, shown: tuple[Identifiers, Identifiers] = (IDS_1, IDS_2), by: str = "an operator") -> Consent:
    return Consent("r0", victim, ((ONE, shown[0]), (OTHER, shown[1])), by)


def kept(seen: ClusterFacts, agreed: Consent | None = None, saved: str = SAVED, nodes: tuple[str, ...] = NAMES) -> ClusterFacts:
    """These nodes have it on disk."""
    return ClusterFacts(tuple(evolve(node, recoveries=(Record(agreed or consent(), saved),) if node.name in nodes else ()) for node in seen.nodes))


def asked(seen: ClusterFacts, step: Step = DISCARD, agreed: Consent | None = None, ledger: Ledger = VERIFIED, **wanted: Any) -> invariants.Asked:
    chosen = evolve(WANTED, **wanted)
    return invariants.Asked(seen, step, chosen, Goal(Direction.UP, (chosen,), consents=(agreed or consent(),)), ledger)


AGREED = kept(split())
UNREAD = AGREED.replace(evolve(AGREED.node(OTHER), recoveries=(), unread=("r0",)))
OLD = evolve(IDS_1, current=0xD0)
LONG_AGO = tuple(Identifiers(current, bitmap, (0xB2, older), GOOD) for current, bitmap, older in ((0xA0, 0xA2, 0xA4), (0xC0, 0xC2, 0xC4)))
"""They went on from one generation, and each has forgotten what it changed since: only the history has it."""
LEAST: dict[str, Any] = {"accept_auto_discard": True, "net": tuple(sorted({**dict(WANTED.net), "after-sb-0pri": "discard-least-changes"}.items()))}

REFUSES: tuple[tuple[str, invariants.Asked, str, str], ...] = (
    # rule                        asked about                                                              evidence                            remedy
    ("no-discard-without-consent", invariants.Asked(AGREED, DISCARD, WANTED, Goal(Direction.UP, (WANTED,))), "nobody has agreed", "--plan"),
    ("no-discard-without-consent", asked(kept(split(), consent(ONE)), agreed=consent(ONE)), f"agreed that {ONE} loses", "--plan"),
    ("no-discard-without-consent", asked(AGREED, agreed=consent(shown=(OLD, IDS_2))), "the consent is void", "--plan"),
    ("no-discard-without-consent", asked(kept(split({"identifiers": None}))), "none that could be read", "--plan"),
    ("no-discard-without-consent", asked(AGREED, agreed=consent(by=NOTHING_CHANGED)), "has changed something since", "name a victim"),
    ("one-victim", asked(kept(split(), nodes=(ONE,))), f"{OTHER} has no record", "--plan"),
    ("one-victim", asked(kept(split(), consent(ONE))), f"{ONE} loses its changes, not {OTHER}", f"--victim {ONE}"),
    ("one-victim", asked(UNREAD), f"{OTHER} has a record of a recovery that cannot be read: /var/lib/orchestrate/recovery/r0", f"on {OTHER}: mv /var/lib/"),
    ("one-victim", asked(kept(split(), consent(shown=(OLD, IDS_2)))), "the record of another recovery", "--plan"),
    ("victim-is-idle", asked(kept(split(None, {"role": Role.PRIMARY}))), f"{OTHER} is Primary", "Secondary first"),
    ("victim-is-idle", asked(kept(split(None, {"role": Role.UNKNOWN}))), "is not known", "look again"),
    ("victim-is-idle", asked(kept(split(None, {"disk": DiskState.DISKLESS, "holders": ("dm-0",)})), Step(Do.SAVE, OTHER, "r0")), "in use by dm-0", "docs/hazards.md"),
    ("never-discard-the-only-good", asked(kept(split({"disk": DiskState.INCONSISTENT}))), f"{OTHER} has the only good copy", "name the other side"),
    ("never-discard-the-only-good", asked(kept(split({"disk": DiskState.UNKNOWN}))), "only good copy", "name the other side"),
    ("never-discard-the-only-good", asked(kept(split({"identifiers": evolve(IDS_1, flags=frozenset({Flag.CONSISTENT}))}))), "does not call its data complete", "mend this one"),
    ("never-discard-the-only-good", asked(kept(split({"touched": True}))), "behind DRBD's back", "mend this one"),
    ("never-discard-the-only-good", asked(kept(split({"suspended": True}))), "frozen", "docs/safety.md"),
    ("save-before-discard", asked(AGREED, ledger=Ledger()), "are not saved", "saves them first"),
    ("save-before-discard", asked(kept(split(), saved="archive:0")), "does not know", "again"),
    ("save-before-discard", asked(kept(split(None, {"out_of_sync": None})), ledger=Ledger()), "are not saved", "saves them first"),
    ("discards-the-victim-only", asked(kept(split({"out_of_sync": 0})), **LEAST), "an after-sb policy decides before the flag", "docs/split-brain.md"),
    ("discards-the-victim-only", asked(kept(split({"identifiers": LONG_AGO[0]}, {"identifiers": LONG_AGO[1]}))), "they parted long ago", "whole disk"),
    ("save-before-discard", asked(kept(split({"identifiers": LONG_AGO[0]}, {"identifiers": LONG_AGO[1], "out_of_sync": 0})), ledger=Ledger()), "are not saved", "saves them first"),
    ("discards-the-victim-only", asked(kept(split(None, {"identifiers": IDS_1}))), "in sync", "nothing was connected"),
    ("discards-the-victim-only", asked(kept(split(None, {"identifiers": Identifiers(0xE0, 0, (0xF0, 0xF2), GOOD)}))), "unrelated", "nothing was connected"),
)
LOSSES = frozenset(name for name, *_ in REFUSES)


@pytest.mark.parametrize("rule", sorted(LOSSES))
def test_it_lets_the_agreed_discard_pass(rule: str) -> None:
    assert RULES[rule].check(asked(AGREED)) is None


def test_a_discard_that_was_agreed_and_saved_may_be_sent() -> None:
    case = asked(AGREED)
    assert judge(case.facts, DISCARD, case.wanted, case.goal, ledger=VERIFIED) is None


@pytest.mark.parametrize(("rule", "case", "evidence", "remedy"), REFUSES, ids=[f"{row[0]}-{n}" for n, row in enumerate(REFUSES)])
def test_it_refuses(rule: str, case: invariants.Asked, evidence: str, remedy: str) -> None:
    found = RULES[rule].check(case)
    assert found is not None
    assert evidence in found[0]
    assert remedy in found[1]
    assert judge(case.facts, case.step, case.wanted, case.goal, ledger=case.ledger) is not None


def broken_off(*, claimed: bool = True, flags: frozenset[Flag] = frozenset({Flag.WAS_UP_TO_DATE}), saved: str = SAVED) -> ClusterFacts:
    """A discard was sent, and its copying ended half-way: DRBD 9 still has both sides' identifiers of the split."""
    seen = kept(split(None, {"identifiers": evolve(IDS_2, flags=flags)}), saved=saved)
    claim = ClaimFact(f"run-001-discard-changes-r0-{consent().token}", Do.DISCARD.value, "r0", 0, running=False)
    return seen.replace(evolve(seen.node(OTHER), claims=(claim,) if claimed else ()))


def test_a_discard_that_was_broken_off_goes_on_with_the_archive_on_record() -> None:
    check = RULES["save-before-discard"].check
    assert check(asked(broken_off(), ledger=Ledger())) is None
    assert check(asked(broken_off(claimed=False), ledger=Ledger())) is not None
    assert check(asked(broken_off(saved=""), ledger=Ledger())) is not None
    assert check(asked(broken_off(flags=GOOD), ledger=Ledger())) is not None, "it is whole: it may hold more than was saved"


def test_who_changed_nothing_loses_nothing_and_need_not_be_saved() -> None:
    idle = kept(split(None, {"out_of_sync": 0}), consent(by=NOTHING_CHANGED), saved="")
    case = asked(idle, agreed=consent(by=NOTHING_CHANGED), ledger=Ledger())
    assert judge(case.facts, DISCARD, case.wanted, case.goal, ledger=Ledger()) is None
    crashed = kept(split(None, {"out_of_sync": 0, "identifiers": evolve(IDS_2, flags=GOOD | {Flag.CRASHED_PRIMARY})}), consent(by=NOTHING_CHANGED), saved="")
    found = judge(crashed, DISCARD, case.wanted, case.goal, ledger=Ledger())
    assert found is not None
    assert found.rule == "no-discard-without-consent"


def test_two_resources_that_one_cut_split_can_both_be_recovered() -> None:
    """The plan of each choice counts on the other resource's being recovered, too."""
    two = tuple(evolve(WANTED, name=name) for name in ("r0", "r1"))
    seen = ClusterFacts(tuple(evolve(node, sides=tuple((name, side) for name in ("r0", "r1") for _, side in node.sides)) for node in split().nodes))
    for name in ("r0", "r1"):
        found = assess(Goal(Direction.UP, two), seen, name)
        assert [choice.refused for choice in found.choices] == [None, None]
        assert [choice.loses for choice in found.choices] == [80, 80]


def test_nobody_serves_from_a_victim_that_was_not_named() -> None:
    """To take a mounted side away is to write to it: it would not have changed nothing any more."""
    from fixtures.situations.stacked import read_stack, with_stack

    stack = read_stack({}, NAMES)
    seen = split({"out_of_sync": 0, "role": Role.PRIMARY}, {"out_of_sync": 0, "role": Role.PRIMARY})
    served = seen
    for node in seen.nodes:
        served = served.replace(with_stack(node, stack, None))
    goal = Goal(Direction.UP, (WANTED,), stack=stack)
    assert assess(goal, served, "r0").harmless is None
    for node in seen.nodes:
        seen = seen.replace(with_stack(node, stack, "lvmlockd"))
    assert assess(goal, seen, "r0").harmless == ONE


def test_what_still_runs_on_the_victim_forbids_it() -> None:
    from fixtures.situations.stacked import read_stack, with_stack

    stack = read_stack({}, NAMES)
    seen = AGREED
    for node in seen.nodes:
        seen = seen.replace(with_stack(node, stack, "lvmlockd"))
    case = asked(seen)
    served = evolve(case.goal, stack=stack)
    assert judge(seen, DISCARD, case.wanted, served, ledger=VERIFIED) is None
    mounted = seen.replace(seen.node(OTHER).with_layer(LayerFact("mount opt", Layer.UP, "mounted")))
    found = judge(mounted, DISCARD, case.wanted, served, ledger=VERIFIED)
    assert found is not None
    assert (found.rule, "mount opt" in found.evidence) == ("victim-is-idle", True)


def test_on_drbd_9_the_flag_never_reaches_a_side_that_is_merely_ahead() -> None:
    """There it would throw the newer side back to older data, without any split brain (capture drbd-9.2.18)."""
    ahead = Identifiers(0xC0, 0xA0, (0, 0), GOOD)
    seen = ClusterFacts(tuple(evolve(node, generation=Generation.V9, version="9.2.18") for node in split(None, {"identifiers": ahead}).nodes))
    agreed = consent(shown=(IDS_1, ahead))
    found = RULES["discards-the-victim-only"].check(asked(kept(seen, agreed), agreed=agreed))
    assert found is not None
    assert "reverted" in found[0] or "unknown" in found[0]


# -- the survivor's connection -------------------------------------------------------------------------------------------

CONNECT = Step(Do.CONNECT, ONE, "r0")
WAITS = kept(split(None, {"connection": ConnectionState.CONNECTING}))


def test_the_survivor_connects_only_to_a_victim_that_waits() -> None:
    case = asked(WAITS, CONNECT)
    assert judge(WAITS, CONNECT, case.wanted, case.goal, ledger=VERIFIED) is None
    for seen, ledger in ((AGREED, VERIFIED), (kept(WAITS, saved=""), Ledger())):
        found = judge(seen, CONNECT, case.wanted, case.goal, ledger=ledger)
        assert found is not None
        assert found.rule == "look-before-connect"


def test_a_flag_that_may_be_gone_is_not_relied_on_where_a_policy_would_decide() -> None:
    seen = kept(split({"out_of_sync": 4}, {"connection": ConnectionState.CONNECTING}))
    case = asked(seen, CONNECT, **LEAST)
    assert judge(seen, CONNECT, case.wanted, case.goal, ledger=VERIFIED) is not None


def test_without_the_rules_a_side_that_serves_would_be_discarded(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = kept(split(None, {"role": Role.PRIMARY}), saved="")
    case = asked(seen, ledger=Ledger())
    assert judge(seen, DISCARD, case.wanted, case.goal) is not None
    for name in LOSSES:
        monkeypatch.setitem(invariants.RULES, name, Rule(name, RULES[name].judges, lambda _: None))
    assert judge(seen, DISCARD, case.wanted, case.goal) is None


# -- a victim that hangs -------------------------------------------------------------------------------------------------

HANGS = "fence-the-hung-victim-only"
CYCLE = Step(Do.POWER_CYCLE, ONE, "r0", says=OTHER)


def hung(*nodes: str, one: dict[str, Any] | None = None) -> ClusterFacts:
    """Agreed, on record, and a mount hangs on these nodes."""
    from fixtures.situations.stacked import read_stack, with_stack

    seen = kept(split(one))
    for name in NAMES:
        node = with_stack(seen.node(name), read_stack({}, NAMES), None)
        seen = seen.replace(node.with_layer(LayerFact("mount opt", Layer.HUNG, "lockspaces stopped")) if name in nodes else node)
    return seen


def ask_power(seen: ClusterFacts, step: Step = CYCLE, agreed: Consent | None = None) -> invariants.Violation | None:
    from fixtures.situations.stacked import read_stack

    goal = Goal(Direction.UP, (WANTED,), stack=read_stack({}, NAMES), consents=() if agreed is None else (agreed,))
    return judge(seen, step, WANTED, goal)


def test_a_victim_that_hangs_may_be_switched_off_and_on() -> None:
    assert ask_power(hung(OTHER), agreed=consent()) is None


@pytest.mark.parametrize(("seen", "step", "agreed", "evidence", "remedy"), [
    (hung(OTHER), CYCLE, None, "not the victim", "--plan"),
    (hung(OTHER), evolve(CYCLE, says=ONE), consent(), "not the victim", "--plan"),
    (hung(OTHER), evolve(CYCLE, node=OTHER), consent(), "shoot itself", "--plan"),
    (hung(OTHER), CYCLE, consent(shown=(OLD, IDS_2)), "the consent is void", "--plan"),
    (ClusterFacts(tuple(evolve(node, recoveries=()) for node in hung(OTHER).nodes)), CYCLE, consent(), "has no record", "--plan"),
    (hung(), CYCLE, consent(), f"nothing hangs on {OTHER}", "orchestrate status"),
    (hung(*NAMES), CYCLE, consent(), f"mount opt hangs on {ONE}, too", "which one is ill"),
    (hung(OTHER, one={"disk": DiskState.INCONSISTENT}), CYCLE, consent(), f"{OTHER} may have the only good copy", "mend that first"),
    (hung(OTHER, one={"disk": DiskState.UNKNOWN}), CYCLE, consent(), "may have the only good copy", "mend that first"),
])
def test_nobody_else_is(seen: ClusterFacts, step: Step, agreed: Consent | None, evidence: str, remedy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = ask_power(seen, step, agreed)
    assert found is not None
    assert (found.rule, evidence in found.evidence, remedy in found.remedy) == (HANGS, True, True), found
    monkeypatch.setitem(invariants.RULES, HANGS, Rule(HANGS, RULES[HANGS].judges, lambda _: None))
    assert ask_power(seen, step, agreed) is None, "nothing else stands in the way"


# -- what is written down --------------------------------------------------------------------------------------------------

NUMBERS = st.integers(0, 2**64 - 1)
IDENTIFIERS = st.builds(Identifiers, NUMBERS, NUMBERS, st.tuples(NUMBERS, NUMBERS), st.just(GOOD))


@given(IDENTIFIERS, IDENTIFIERS, st.text(min_size=1), st.text())
def test_a_record_comes_back_from_the_node_as_it_went(one: Identifiers, other: Identifiers, by: str, saved: str) -> None:
    record = Record(consent(shown=(one, other), by=by), saved)
    line = record.text()
    assert "\n" not in line
    back = Record.parse("r0", line)
    assert back.consent.agrees(record.consent)
    assert (back.saved, back.consent.by) == (saved if saved != "-" else "", by if by != "-" else "")


@pytest.mark.parametrize("line", ["", "linux-nas02", "a b c d", "a b c d=1 e=2", "a b c d=1:2:3:x e=1:2:3:4"])
def test_a_damaged_record_is_none(line: str) -> None:
    with pytest.raises(ValueError, match=r"record|unpack|invalid"):
        Record.parse("r0", line)


@given(IDENTIFIERS, IDENTIFIERS)
def test_a_consent_holds_for_what_was_shown_and_a_demotion(one: Identifiers, other: Identifiers) -> None:
    agreed = consent(shown=(one, other))
    assert agreed.holds(((ONE, one), (OTHER, other)))
    assert agreed.holds(((ONE, evolve(one, current=one.current ^ 1)), (OTHER, other)))
    assert not agreed.holds(((ONE, evolve(one, current=one.current ^ 2)), (OTHER, other)))
    assert not agreed.holds(((ONE, one), (OTHER, None)))


def test_a_claim_of_another_recovery_does_not_count_as_armed() -> None:
    from states.recovery import case_of, stage
    from states.vocabulary import Recovery

    for token, expected in ((consent().token, Recovery.DISCARDING), ("0123456789", Recovery.VICTIM_DEMOTED)):
        node = evolve(WAITS.node(OTHER), claims=(ClaimFact(f"run-1-discard-changes-r0-{token}", "discard-changes", "r0", 0, running=False),))
        case = case_of(asked(WAITS).goal, WAITS.replace(node), WANTED, Ledger())
        assert case is not None
        assert stage(case) is expected


@pytest.mark.parametrize("do", sorted((*DESTRUCTIVE, Do.SAVE, Do.RECORD_CONSENT, Do.RECORD_ARCHIVE), key=str))
def test_nothing_is_ended_for_ever_beside_a_record_that_cannot_be_read(do: Do, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of that resource: another one's record says nothing about this one. And the rule alone is what forbids it."""
    check = RULES["one-victim"].check
    found = [check(asked(UNREAD, Step(do, name, "r0"))) for name in NAMES]
    assert all(one is not None and "cannot be read" in one[0] for one in found)
    about_another = AGREED.replace(evolve(AGREED.node(OTHER), unread=("r1",)))
    assert check(asked(about_another, Step(do, OTHER, "r0"))) is None
    assert do in RULES["one-victim"].judges
    for name in RULES.keys() - {"one-victim"}:
        monkeypatch.setitem(invariants.RULES, name, Rule(name, RULES[name].judges, lambda _: None))
    case = asked(UNREAD, Step(do, OTHER, "r0"))
    refused = judge(case.facts, case.step, case.wanted, case.goal, ledger=case.ledger)
    assert refused is not None
    assert refused.rule == "one-victim"


def test_a_survivor_does_not_open_the_way_beside_a_record_that_cannot_be_read() -> None:
    """The victim waits, flagged: connecting is what discards."""
    flagged = split(None, {"connection": ConnectionState.CONNECTING, "role": Role.SECONDARY})
    case = asked(kept(flagged), Step(Do.CONNECT, ONE, "r0"))
    assert RULES["look-before-connect"].check(case) is None
    unread = evolve(case, facts=UNREAD.replace(evolve(kept(flagged).node(OTHER), recoveries=(), unread=("r0",))))
    assert RULES["look-before-connect"].check(unread) is not None
