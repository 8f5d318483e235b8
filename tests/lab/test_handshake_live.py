"""The handshake's prediction against real 8.4 kernels: fabricated identifiers, both kernels' own verdicts.

All cases run by default in one shell per node (some three seconds a case); each must agree, rule number and outcome.
"""

from __future__ import annotations

import pytest

from fixtures.handshake import live
from fixtures.handshake.cases import load
from tests.lab.cluster import N1, N2, Cluster

CASES = load("cases-8.4.toml")
BATCH = 24


@pytest.mark.parametrize("first", range(0, len(CASES), BATCH))
@pytest.mark.timeout(900)
def test_the_kernels_decide_as_predicted(cluster: Cluster, first: int) -> None:
    """A batch of cases; together all of them."""
    cases = CASES[first:first + BATCH]

    def ssh(node: int, script: str) -> str:
        done = cluster.lab.run((N1, N2)[node - 1], "bash", stdin=script, timeout=800)
        return done.stdout

    wrong = {case.name: found for case, logs in live.run(cases, ssh) if (found := live.differences(case, logs))}
    assert not wrong


def test_there_are_enough_cases() -> None:
    """A shrunken file must not pass for proof."""
    assert len(CASES) >= 72
