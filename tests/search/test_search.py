"""The exhaustive search: a part of it to the fixed point, and every guard's mutant noticed. All of it: `python -m fixtures.search`."""

from __future__ import annotations

import pytest
from attrs import evolve

from fixtures.search.floor import Floor
from fixtures.search.liveness import lively
from fixtures.search.mutants import start_named
from fixtures.search.run import Search
from fixtures.search.starts import starts
from fixtures.search.story import story

QUICK = (
    "foreign-up2-8.4", "foreign-up2-9", "touched-up2-8.4", "touched-up2-9", "split-up2-8.4", "split-up2-9", "split-serving-down-8.4",
    "diverged-up2-8.4", "healthy-up2-8.4", "new-over-data-up2-8.4", "another-file-up2-9", "in-sync-up1-9",
)


@pytest.mark.parametrize("name", QUICK)
def test_no_rule_is_ever_broken(name: str) -> None:
    """Every reachable state of a smaller budget: no harm in the true world, and every run ends."""
    search = Search(evolve(start_named(name), adversities=1, human=0), 100_000)
    result = search.run()
    assert not result.found, story(search, result.found[0])
    assert not result.cut
    living = lively(search)
    assert not living.stuck
    assert not living.circles


def test_what_is_seen_is_the_same_every_time() -> None:
    """The counts are a floor because they do not change from run to run."""
    one, other = (Search(evolve(start_named("split-serving-down-8.4"), adversities=1, human=0)) for _ in range(2))
    first, second = one.run(), other.run()
    assert (first.states, first.edges, first.worlds) == (second.states, second.edges, second.worlds)
    assert one.order == other.order


def test_a_goal_is_really_reached() -> None:
    """The search is no empty walk: without adversity a blank pair comes up as two Primaries that hold the same."""
    search = Search(evolve(start_named("blank-up2-8.4"), adversities=0, human=0))
    search.run()
    worlds = search.machinery.worlds.values
    assert any(world.healthy(2) for world in worlds)
    assert not any(world.pair.primaries for world in worlds[:3])


def test_every_search_has_a_floor() -> None:
    """Counts are recorded for each search, and for nothing else."""
    names = {start.full_name for start in starts()}
    assert len(names) == len(starts())
    floor = Floor.read()
    assert set(floor.states) == names
    assert set(floor.known) <= names


def test_a_search_below_its_floor_fails() -> None:
    """Fewer states, a cut, a new violation, or a known one that is gone: each is said."""
    result = Search(evolve(start_named("touched-up2-8.4"), adversities=0, human=0)).run()
    name = result.start.full_name
    assert Floor({name: result.states}, {}).complaints(result) == []
    assert "floor" in Floor({name: result.states + 1}, {}).complaints(result)[0]
    assert "no longer" in Floor({}, {name: {"dual-primary-gate": "why"}}).complaints(result)[0]
    result.cut = "a reason"
    assert "cut off" in Floor({}, {}).complaints(result)[0]
