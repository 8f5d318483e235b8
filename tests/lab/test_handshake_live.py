"""The handshake's prediction against real 8.4 kernels: fabricated identifiers, both kernels' own verdicts.

All cases run by default in one shell per node (some three seconds a case); each must agree, rule number and outcome.
"""

from __future__ import annotations

import pytest

from fixtures.handshake import live
from fixtures.handshake.cases import load
from tests.lab.cluster import N1, N2, Cluster, first_of

CASES = load("cases-8.4.toml")
BATCH = 24


TRIES = 3
"""A case is wrong when the kernels disagree with it every time: on a busy machine the two nodes may miss each other, and
a kernel that is taken down a hundred times may die of it (seen: idr_get_next below conn_try_outdate_peer)."""


@pytest.mark.parametrize("first", first_of(range(0, len(CASES), BATCH), 1))
@pytest.mark.timeout(1200)
def test_the_kernels_decide_as_predicted(cluster: Cluster, first: int) -> None:
    """A batch of cases; together all of them."""
    left = CASES[first:first + BATCH]
    wrong: dict[str, list[str]] = {}
    for _ in range(TRIES):
        wrong = {case.name: found for case, logs in live.run(left, ssh_to(cluster)) if (found := live.differences(case, logs))}
        left = [case for case in left if case.name in wrong]
        if not left:
            break
        cluster.reset()
    assert not wrong


def ssh_to(cluster: Cluster) -> live.Ssh:
    """A shell on node 1 or 2. One that dies in the middle has said what it has said."""
    def ssh(node: int, script: str) -> str:
        return cluster.lab.run((N1, N2)[node - 1], "bash", stdin=script, timeout=800).stdout

    return ssh


def test_there_are_enough_cases() -> None:
    """A shrunken file must not pass for proof."""
    assert len(CASES) >= 72
