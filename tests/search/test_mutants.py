"""Take a guard away, and the search must find the disaster that it stands against."""

from __future__ import annotations

import pytest

from fixtures.search.far import GUARDS
from fixtures.search.mutants import MUTANTS, UNNOTICED, UNREACHABLE, Mutant, hunt, without
from fixtures.search.stack_mutants import STACK_MUTANTS, StackMutant, check_name, goldens, walk
from fixtures.search.stack_mutants import hunt as hunt_stack
from fixtures.search.stack_mutants import without as without_stack
from fixtures.search.story import story
from states import stack_rules
from states.invariants import RULES
from states.stack_rules import LAYER_RULES
from tests.sim.test_recover import MUTANTS as LOST

SLOW = frozenset({"still", "never_good+still"})
"""Over ten seconds: `python -m fixtures.search.mutants` hunts them too."""
FAST = [mutant for mutant in MUTANTS if mutant.name not in SLOW]


@pytest.mark.parametrize("mutant", FAST, ids=[mutant.name for mutant in FAST])
def test_the_disaster_is_found(mutant: Mutant) -> None:
    """The harm is one of those the guard stands against, and its story can be told."""
    search, result = hunt(mutant)
    found = [one for one in result.found if one.harm.rule in mutant.finds]
    assert found, f"{result.states} states, and only {[one.harm.rule for one in result.found]}"
    with without(mutant.guards):
        assert f"HARM {found[0].harm.rule}" in story(search, found[0])


def test_every_guard_has_a_mutant() -> None:
    """Each rule and each re-check of act.sh is taken away somewhere, or it is written down why that shows nothing."""
    taken = {guard for mutant in MUTANTS for guard in mutant.guards} | {rule for mutant in STACK_MUTANTS for rule in mutant.rules} | LOST
    assert taken | set(UNNOTICED) == set(RULES) | set(GUARDS) | {UNREACHABLE}
    assert not taken & set(UNNOTICED)
    assert {mutant.name for mutant in MUTANTS} >= SLOW


def test_guards_are_given_back() -> None:
    """A mutant leaves nothing behind."""
    before = dict(RULES)
    with without(("no-create-md", "blank")) as far:
        assert far == {"blank"}
        assert RULES["no-create-md"] is not before["no-create-md"]
    assert before == RULES


# -- the rules of the stack --------------------------------------------------------------------------------------------

WALKED = sorted({mutant.golden for mutant in STACK_MUTANTS})
"""`python -m fixtures.search.stack_mutants` walks all of them."""


@pytest.mark.parametrize("mutant", STACK_MUTANTS, ids=[f"{mutant.name}-{mutant.finds}" for mutant in STACK_MUTANTS])
def test_without_a_rule_of_the_stack_a_disaster_is_found(mutant: StackMutant) -> None:
    walked = hunt_stack(mutant)
    assert mutant.finds in {one.harm for one in walked.found}, f"{walked.worlds} worlds, and only {[str(one) for one in walked.found]}"


@pytest.mark.parametrize("name", WALKED)
def test_with_every_rule_there_is_none(name: str) -> None:
    walked = walk(goldens()[name])
    assert [str(one) for one in walked.found] == []
    assert walked.worlds > 80
    print(f"{name}: {walked.worlds} worlds, {walked.steps} steps that would be sent")


def test_every_rule_of_the_stack_has_a_mutant() -> None:
    taken = {rule for mutant in STACK_MUTANTS for rule in mutant.layer_rules}
    assert taken == {check_name(rule) for rule in LAYER_RULES}


def test_rules_of_the_stack_are_given_back() -> None:
    before = dict(RULES), stack_rules.LAYER_RULES
    with without_stack(STACK_MUTANTS[0]):
        assert before[1] != stack_rules.LAYER_RULES
    assert before == (dict(RULES), stack_rules.LAYER_RULES)


def test_a_rule_that_is_not_there_cannot_be_taken_away() -> None:
    mutant = StackMutant("stack-down", "pulled-away", layer_rules=("no such rule",))
    with pytest.raises(KeyError, match="no such rule"), without_stack(mutant):
        pass
