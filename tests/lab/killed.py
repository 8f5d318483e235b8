"""`up` of the whole stack, killed at some moment, and run again."""

from __future__ import annotations

import random

from tests.lab.cluster import N1, N2
from tests.lab.stack_cluster import ONCE, StackCluster


def killed_and_again(nodes: StackCluster, seed: int) -> str:
    """SIGKILL after a random number of lines told: even seeds from blank disks, odd ones after a power cut of both.

    The last line told before it; "" if `up` ended first. Raises AssertionError: the second `up` does not bring it all up, or
    something that may be made once was made twice.
    """
    chance = random.Random(seed)
    if seed % 2:
        nodes.power_on()
        if not nodes.used:
            nodes.up("-q")
        nodes.power_cut()
    else:
        nodes.renew()
    told = nodes.killed_up(chance.randrange(1, 50 if seed % 2 else 70))
    nodes.up()
    nodes.assert_serving()
    assert nodes.made_once() == ONCE
    put = nodes.put(N1, f"after{seed}", seed)
    assert nodes.get(N2, f"after{seed}") == put
    return told
