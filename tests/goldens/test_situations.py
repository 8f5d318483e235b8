"""Every situation: the plan is the one people have read, and a run interrupted anywhere in it ends in the same place."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from functools import cache

import pytest
from attrs import evolve

from fixtures.situations import HERE, Situation, read_facts, situations
from fixtures.situations.write import diagnoses_text, facts_text, plan_text
from states.decide import decide
from states.expect import after_event, after_step
from states.facts import ClusterFacts
from states.goal import Decision, Do, Look, Reached, Refused, Waiting
from states.plan import Item, Plan, plan

ALL = situations()
every_situation = pytest.mark.parametrize("situation", ALL, ids=[each.name for each in ALL])
RIGHT = [each for each in ALL if each.wrong is None]
every_right_one = pytest.mark.parametrize("situation", RIGHT, ids=[each.name for each in RIGHT])
"""What is known to be wrong is only written down, until it is mended."""


@cache
def planned(situation: Situation) -> Plan:
    return plan(situation.goal, situation.facts, situation.ledger)


@every_situation
def test_plan_is_the_one_that_was_read(situation: Situation) -> None:
    assert (HERE / situation.name / "plan.txt").read_text() == plan_text(situation, planned(situation))


def test_the_diagnoses_are_those_that_were_read() -> None:
    assert (HERE / "diagnoses.txt").read_text() == diagnoses_text(ALL)


@pytest.mark.parametrize("situation", [
    pytest.param(each, id=each.name, marks=pytest.mark.xfail(strict=True, reason=each.wrong.why)) for each in ALL if each.wrong
])
def test_what_is_known_to_be_wrong_is_mended(situation: Situation) -> None:
    """Fails as long as it is wrong; when it is mended, `[wrong]` goes and the plan is read again."""
    text, wrong = plan_text(situation, planned(situation)), situation.wrong
    assert wrong is not None
    assert wrong.never or wrong.lacks
    assert not wrong.never or wrong.never not in text
    assert wrong.lacks in text


@every_situation
def test_no_two_lines_of_a_plan_have_one_key(situation: Situation) -> None:
    """What comes later names by its key what it waits for."""
    keys = [item.key for item in planned(situation).items]
    assert len(set(keys)) == len(keys)


@every_situation
def test_the_facts_after_the_plan_are_those_that_were_read(situation: Situation) -> None:
    text = (HERE / situation.name / "after.toml").read_text()
    assert text == facts_text(planned(situation).after, situation.goal.stack)


@every_situation
def test_after_toml_says_everything(situation: Situation) -> None:
    """What is written can be read back: nothing that matters is left out of after.toml."""
    after = planned(situation).after
    assert read_facts(tomllib.loads(facts_text(after, situation.goal.stack))) == after


@every_situation
def test_facts_stay_short(situation: Situation) -> None:
    assert len((HERE / situation.name / "facts.toml").read_text().splitlines()) < 40


def expect(facts: ClusterFacts, item: Item, situation: Situation) -> ClusterFacts:
    """The facts after one item of a plan."""
    wanted = None if item.resource in ("", "stack") else situation.wanted(item.resource)
    if item.step is not None:
        return after_step(facts, item.step, wanted, situation.goal.stack)
    if wanted is None:  # of a layer; its words are "corosync on linux-nas01 is Starting: ..."
        layer, _, rest = item.because.partition(" on ")
        return after_event(facts, Waiting(item.key.split(":")[0], "", None, "", (rest.split(" is ")[0],), layer), None)
    return after_event(facts, Waiting(item.key.split(":")[0], "", None, wanted.name, wanted.nodes), wanted)


LONG = 60
"""More items than these: two of everything. Some of its interruptions are enough, each is of a kind that a shorter plan shows."""


def interruptions(items: tuple[Item, ...]) -> Iterator[frozenset[str]]:
    """What may be done when a run dies: each beginning of the plan, each item with no more than it needs, and all that
    goes on while one item hangs."""
    before: dict[str, frozenset[str]] = {}
    for item in items:
        before[item.key] = frozenset({item.key}).union(*(before[need] for need in item.needs))
    if len(items) > LONG:
        yield from list(before.values())[::5]
        return
    beginnings = (frozenset(item.key for item in items[:count]) for count in range(len(items)))
    hanging = (frozenset(each.key for each in items if item.key not in before[each.key]) for item in items)
    yield from {*beginnings, *before.values(), *hanging}


def ends(situation: Situation, items: tuple[Item, ...]) -> dict[ClusterFacts, frozenset[str]]:
    """What a run may leave behind when it dies, and the most it had done to get there."""
    found: dict[ClusterFacts, frozenset[str]] = {}
    for done in interruptions(items):
        facts = situation.facts
        for item in items:
            facts = expect(facts, item, situation) if item.key in done else facts
        found[facts] = max(found.get(facts, done), done, key=lambda keys: (len(keys), sorted(keys)))
    return found


def bare(facts: ClusterFacts) -> ClusterFacts:
    """Without the words: a layer that was never stopped is as Up as one that was started again."""
    return ClusterFacts(tuple(evolve(node, layers=tuple(evolve(fact, detail="") for fact in node.layers)) for node in facts.nodes))


def end_of(decision: Decision) -> tuple[object, ...]:
    """Where a plan ended, without the words."""
    return (type(decision), decision.rule, decision.kind) if isinstance(decision, Refused) else (type(decision),)


ANEW = (Do.SAVE, Do.TAKE_DOWN, Do.ATTACH, Do.RECORD_ARCHIVE)
"""What is done again where an archive of an earlier run is compared with its disk."""


@every_right_one
def test_an_interrupted_plan_ends_in_the_same_place(situation: Situation) -> None:
    """Whatever part of the plan was carried out, a new run with an empty journal gets where the first one was going."""
    whole = planned(situation)
    end = end_of(decide(situation.goal, whole.after, situation.ledger))
    fresh = evolve(situation.ledger, archives=())  # what another run verified is compared anew
    for facts, done in ends(situation, whole.items).items():
        rest = plan(situation.goal, facts, fresh)
        assert end_of(decide(situation.goal, rest.after, fresh)) == end, f"after {sorted(done)}"
        assert bare(rest.after) == bare(whole.after), f"after {sorted(done)}"
        again = {item.key for item in rest.items if item.step is not None} & done
        if any(key.startswith(Do.SAVE.value) for key in again):  # it is compared with the disk anew, and for that the side goes down
            again = {key for key in again if not key.startswith(tuple(do.value for do in ANEW))}
        assert not again, f"done twice: {again}"


@every_situation
def test_a_plan_never_looks_at_what_it_does_not_need(situation: Situation) -> None:
    """Each item's needs come before it, and name items of the same plan."""
    before: set[str] = set()
    for item in planned(situation).items:
        assert set(item.needs) <= before, item.key
        assert item.key not in before, f"{item.key} comes twice"
        before.add(item.key)


@every_situation
def test_there_is_nothing_left_to_do_after_a_plan(situation: Situation) -> None:
    after = planned(situation).after
    again = plan(situation.goal, after, situation.ledger)
    assert again.items == ()
    assert again.after == after
    answer = decide(situation.goal, after, situation.ledger)
    doubted = isinstance(answer, Waiting) and answer.event == "settled"  # a plan refuses at once, a run looks again for 5 s
    assert isinstance(answer, Reached | Refused | Look) or doubted
