"""Addresses that lead elsewhere, and a healthy pair that runs what it must not: neither is "already there"."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from fixtures.situations import NAMES, WANTED, pair
from states.decide import decide
from states.facts import ClusterFacts
from states.goal import Direction, Goal, Ledger, Reached, Refused

ONE, OTHER = NAMES
UP = Goal(Direction.UP, (WANTED,))


def test_the_healthy_pair_is_reached() -> None:
    assert isinstance(decide(UP, pair(), Ledger()), Reached)


@pytest.mark.parametrize(("change", "said"), [
    ({"hostname": "somebody-else"}, "somebody-else"),
    ({"hostname": ONE}, ONE),
    ({"boot_id": f"boot-of-{ONE}"}, f"leads to {ONE}"),
])
def test_an_address_that_leads_elsewhere(change: dict[str, Any], said: str) -> None:
    seen = pair()
    answer = decide(UP, seen.replace(evolve(seen.node(OTHER), **change)), Ledger())
    assert isinstance(answer, Refused)
    assert answer.rule == "right-node"
    assert said in answer.evidence


def running(seen: ClusterFacts, **settings: str) -> ClusterFacts:
    """The same pair, one kernel running something else."""
    node = seen.node(OTHER)
    changed = {**dict(WANTED.net), **{name.replace("_", "-"): value for name, value in settings.items()}}
    return seen.replace(node.with_side("r0", evolve(node.side("r0"), running=tuple(sorted(changed.items())))))


@pytest.mark.parametrize(("settings", "rule"), [
    ({"after_sb_1pri": "discard-secondary"}, "no-auto-discard"),
    ({"verify_alg": "md5"}, "same-settings"),
])
def test_what_runs_is_judged_though_nothing_has_to_be_done(settings: dict[str, str], rule: str) -> None:
    answer = decide(UP, running(pair(), **settings), Ledger())
    assert isinstance(answer, Refused)
    assert answer.rule == rule
