"""Two nodes that lose each other: one is switched off, the other serves on, and nothing that was acknowledged is lost.

Both write to the GFS2 all the time. The times printed are of two kernels on a busy machine.
"""

from __future__ import annotations

import os
import time

import pytest

from tests.lab.cluster import N1, N2
from tests.lab.stack_cluster import StackCluster
from tests.lab.survivor import AGAIN, assert_nothing_lost, cut_cable, until, writing

pytestmark = pytest.mark.timeout(1500)
CUTS = int(os.environ.get("STACK_CUTS", "1"))
"""How often a cable is cut."""


@pytest.mark.parametrize("number", range(CUTS))
def test_a_cut_cable_fences_one_and_the_other_goes_on(serving: StackCluster, number: int) -> None:
    cut = cut_cable(serving, (N2, N1)[number % 2])
    print(f"\ncut {number}: {cut.line()}")


def test_a_node_without_power_and_the_survivor_serves(serving: StackCluster) -> None:
    with writing(serving) as writers:
        began = time.monotonic()
        serving.lab.power_off(N2)
        put = serving.put(N1, "survivor", 7)
        seconds = time.monotonic() - began
        held = writers[N1].last
        until(lambda: writers[N1].last > held + 20, "the survivor goes on writing", AGAIN)
        _, again = writers[N1].resumed(began)
        print(f"\npower off: {N1} wrote again after {again - began:.1f} s, a file through SMB was there after {seconds:.1f} s")
        assert max(seconds, again - began) < AGAIN
        assert serving.lab.is_on(N1)
    acked = {node: writer.last for node, writer in writers.items()}
    serving.power_on()
    serving.up()
    serving.assert_serving()
    assert serving.get(N2, "survivor") == put
    assert_nothing_lost(serving, acked)
