"""Take a guard away, and the search must find the disaster that it stands against."""

from __future__ import annotations

import pytest

from fixtures.search.far import GUARDS
from fixtures.search.mutants import MUTANTS, UNNOTICED, UNREACHABLE, Mutant, hunt, without
from fixtures.search.story import story
from states.invariants import RULES

SLOW = frozenset({"still", "no-auto-discard", "never_good+still"})
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
    taken = {guard for mutant in MUTANTS for guard in mutant.guards}
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
