"""The goldens leave nothing out: every state, row, rule, kind of step and verdict is in some of them, or it is said why not."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from fixtures.situations import NAMES, Situation, situations
from states.decide import decide
from states.facts import Generation
from states.goal import Direction, Do, Look, Waiting
from states.handshake import Verdict
from states.invariants import RULES, judge
from states.pair import Pair
from states.resource import PLANNED, classify
from states.stack import WAY_OUT as LAYER_WAY_OUT
from states.stack_rules import LAYER_RULES, judge_layer
from states.stuck import WAY_OUT
from states.vocabulary import Contents, DiskState, Layer, Resource
from tests.goldens.test_situations import planned

ALL = situations()

ROWS_NEVER_TAKEN = {
    # Taken as take_down_attached: a side goes down by what it is alone. These rows only say where the pair's way down leads.
    "take_down_stand_alone", "take_down_split_brain", "take_down_diverged", "take_down_unrelated", "take_down_unconfigured",
}
RULES_NEVER_REFUSED: set[str] = set()
STEPS_NEVER_PLANNED = {Do.VERIFY, Do.POWER_CYCLE}  # a command's own: no goal leads there
VERDICTS_NEVER_MET = {Verdict.REVERTED}  # only --discard-my-data reverts, and nothing of ours says it
FROM_EVERYWHERE = {(way, state) for way in Direction for state in Resource}


def events(situation: Situation) -> Iterator[str]:
    """Events of the rows a plan takes, and of the one that is waited for at once."""
    yield from (item.step.event if item.step else item.key.split(":")[0] for item in planned(situation).items)
    answer = decide(situation.goal, situation.facts, situation.ledger)
    if isinstance(answer, Waiting):
        yield answer.event


def refusals(situation: Situation) -> Iterator[str]:
    """Rules that end the plan, or that refuse a step the case asks about."""
    refused = planned(situation).refused
    if refused is not None:
        yield refused.rule
    for step in situation.asks:
        found = (judge(situation.facts, step, situation.wanted(step.resource), situation.goal, ledger=situation.ledger)
                 if step.resource else judge_layer(situation.facts, step, situation.goal))
        if found is not None:
            yield found.rule


def pairs(situation: Situation) -> tuple[Pair, ...]:
    return tuple(Pair.of(situation.facts, wanted, situation.ledger) for wanted in situation.goal.resources)


def uncovered(wanted: set[str], covered: set[str], what: str) -> set[str]:
    """What no golden shows; printed, so that `pytest -s` and a failure both name it."""
    left = wanted - covered
    print(f"{what}: {len(wanted & covered)} of {len(wanted)} in {len(ALL)} goldens; not covered: {sorted(left) or 'nothing'}")
    return left


def test_there_are_many() -> None:
    assert len(ALL) >= 70
    assert len({each.why for each in ALL}) == len(ALL)


def test_every_planned_row_is_taken() -> None:
    taken = {event for each in ALL for event in events(each)}
    assert uncovered({row.event for row in PLANNED}, taken, "rows") == ROWS_NEVER_TAKEN


def test_every_state_is_a_start_in_both_directions() -> None:
    seen = {(each.goal.direction, classify(found)) for each in ALL for found in pairs(each)}
    words = {f"{way.value} from {state.value}" for way, state in FROM_EVERYWHERE}
    assert uncovered(words, {f"{way.value} from {state.value}" for way, state in seen}, "starts") == set()


def known() -> set[str]:
    """Every rule that may be named in a refusal: predicates over a step, ways out, and what decide itself says."""
    ways = {rule for rule, _ in (*WAY_OUT.values(), *LAYER_WAY_OUT.values())}
    return {*RULES, *(rule.name for rule in LAYER_RULES), *ways, "right-node", "fresh-facts", "step-failed"}


def test_every_rule_refuses_something() -> None:
    named = known()
    assert uncovered(named, {rule for each in ALL for rule in refusals(each)}, "rules") == RULES_NEVER_REFUSED


def test_no_rule_is_named_that_is_not_known() -> None:
    strange = {each.name: set(refusals(each)) - known() for each in ALL if set(refusals(each)) - known()}
    assert strange == {each.name: {"no-row"} for each in ALL if each.wrong and "no-row" in each.wrong.never}


def test_every_kind_of_step_is_planned() -> None:
    steps = {item.step.do.value for each in ALL for item in planned(each).items if item.step}
    assert uncovered({each.value for each in Do}, steps, "steps") == {each.value for each in STEPS_NEVER_PLANNED}


def test_every_verdict_of_the_handshake_is_met() -> None:
    met = {found.prediction.verdict for each in ALL for found in pairs(each)}
    assert uncovered(_words(Verdict), {each.value for each in met}, "verdicts") == {each.value for each in VERDICTS_NEVER_MET}


def test_disks_contents_and_generations_are_there() -> None:
    sides = [side for each in ALL for found in pairs(each) for side in found.sides]
    rare = {DiskState.ATTACHING.value, DiskState.DETACHING.value}  # over before a second look
    assert uncovered(_words(DiskState), {side.disk.value for side in sides}, "disks") == rare
    assert uncovered(_words(Contents), {side.contents.value for side in sides}, "contents") == set()
    seen = {each.facts.node(name).generation.value for each in ALL for name in NAMES}
    assert uncovered(_words(Generation), seen, "generations") == set()


def test_layers_are_seen_down_failed_hung_and_unseen() -> None:
    seen = {fact.state.value for each in ALL for name in NAMES for fact in each.facts.node(name).layers}
    rare = {Layer.STOPPING.value}  # no probe says so
    assert uncovered(_words(Layer), seen, "layers") == rare


def test_every_number_of_primaries_is_wanted() -> None:
    assert {wanted.primaries for each in ALL for wanted in each.goal.resources} == {0, 1, 2}


def test_a_look_is_asked_for_where_facts_are_stale() -> None:
    assert any(isinstance(decide(each.goal, each.facts, each.ledger), Look) for each in ALL)


def _words(kinds: type[Enum]) -> set[str]:
    return {each.value for each in kinds}
