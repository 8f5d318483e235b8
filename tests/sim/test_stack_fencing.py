"""Two nodes that serve lose each other: exactly one is switched off, the other goes on, and nothing that was promised is gone."""

from __future__ import annotations

import pytest

from fixtures.sim.stack.parting import Parting, parting
from fixtures.sim.stack.stage import stack_config

SEEDS = 50


def told(seed: int, found: Parting) -> str:
    """A seed and the end of its trace."""
    return "\n".join([f"seed {seed}: {found.on}, {found.lost}, {found.harms}", *found.trace[-80:]])


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_cut_costs_one_node_and_no_write(seed: int) -> None:
    found = parting(seed)
    assert found.on == (True, False), told(seed, found)  # the first of cluster.toml has the head start
    assert found.written[0] > 0, told(seed, found)
    assert found.gap < 20.0, told(seed, found)
    assert found.runs[-1].code == 0, told(seed, found)
    assert not found.lost, told(seed, found)
    assert not found.harms, told(seed, found)


@pytest.mark.parametrize("seed", range(12))
def test_a_cut_that_heals_by_itself_costs_at_most_one(seed: int) -> None:
    found = parting(seed, heals=True)
    assert sum(found.on) >= 1, told(seed, found)
    assert all(count > 0 for count, on in zip(found.written, found.on, strict=True) if on), told(seed, found)
    assert found.runs[-1].code == 0, told(seed, found)
    assert not found.lost, told(seed, found)
    assert not found.harms, told(seed, found)


def test_without_the_head_start_some_kill_each_other() -> None:
    """The test above can fail: nothing but the delay keeps two that shoot at once from both dying."""
    ends = [parting(seed, stack_config(fence_delay=0.0), mend=False).on for seed in range(12)]
    assert (False, False) in ends
    assert {(True, False), (False, True)} & set(ends)


def test_without_fencing_promises_are_broken() -> None:
    """The judge of lost writes can fail: where nobody is switched off both go on, and what one side promised the other never had."""
    found = parting(1, stack_config(fencing=False))
    assert found.on == (True, True)
    assert all(count > 0 for count in found.written)
    assert found.runs[-1].code != 0
    assert found.lost
