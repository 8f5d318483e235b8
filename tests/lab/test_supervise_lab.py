"""`orchestrate supervise` on real kernels: a fault, what it sees, decides and brings about, what it tells meanwhile; nothing is lost.

The same faults on simulated nodes, with every line of their stories: tests/sim/test_supervise.py. Here the order of what a busy
machine does is not its own, so a golden has the lines that have to come, in their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen

from tests.lab.cluster import N1, N2
from tests.lab.stack_cluster import MOUNT, StackCluster
from tests.lab.supervised import Supervised, supervising

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]
STORIES = Path(__file__).parent / "supervised_stories"
OFF_WITHIN = 120.0
"""Seconds until a node that answers nobody has lost its power: corosync's token, DRBD's question, the fence agent."""

BAD_DISK = """
cd /sys/module/drbd/parameters && echo 2 >fault_devs && echo 100 >fault_rate && echo 16 >enable_faults || exit
(until grep -q 'ds:Diskless\\|ds:Failed' /proc/drbd; do sleep 0.1; done; echo 0 >enable_faults) >/dev/null 2>&1 </dev/null &
"""
"""Every write to minor 1's disk fails (16: data write) until DRBD has given it up: DRBD's own fault injection."""


@frozen
class Watched:
    """A supervisor, the cluster, and a file that both serve."""

    supervisor: Supervised
    nodes: StackCluster
    sum: str


@pytest.fixture
def watched(serving: StackCluster, tmp_path: Path) -> Iterator[Watched]:
    """All is well, and it is being watched. Afterwards all is well again, and nothing was lost."""
    sum_ = serving.put(N1, "before", 1)
    assert serving.get(N2, "before") == sum_
    with supervising(serving, tmp_path) as supervisor:
        yield Watched(supervisor, serving, sum_)


def assert_ended(watched: Watched, golden: str, *alarms: str) -> None:
    """The story is what it has to be, told and cleared; both nodes serve what they served, and what is new."""
    watched.supervisor.until_whole()
    watched.supervisor.assert_told(*alarms)
    watched.supervisor.assert_story(STORIES / f"{golden}.txt")
    for node in (N1, N2):
        assert watched.nodes.get(node, "before") == watched.sum
    assert watched.nodes.put(N2, "after", 2) == watched.nodes.get(N1, "after")
    watched.nodes.assert_serving()
    watched.supervisor.assert_harmless()


def test_smbd_killed(watched: Watched) -> None:
    watched.nodes.sh(N1, "kill -9 $(pidof smbd)")
    watched.supervisor.until_alarmed(f"layer-down:samba on {N1}")
    assert_ended(watched, "smbd-killed", f"layer-down:samba on {N1}")


def test_a_disk_that_fails(watched: Watched) -> None:
    """One write error: DRBD gives the disk up, and goes on with its peer's; it is attached again."""
    watched.nodes.sh(N2, BAD_DISK)
    watched.nodes.put(N1, "meanwhile", 3)
    watched.nodes.sh(N1, f"sync -f {MOUNT}")
    watched.supervisor.until_alarmed("not-whole:r0")
    assert_ended(watched, "disk-error", "not-whole:r0")
    assert "Local IO failed" in watched.nodes.sh(N2, "dmesg"), "nothing had failed"


def test_the_lock_manager_killed(watched: Watched) -> None:
    """The node hangs, its peer has it switched off, and it is brought back when somebody has switched it on."""
    watched.nodes.sh(N2, "kill -9 $(pidof dlm_controld)")
    off_and_on(watched)
    assert_ended(watched, "dlm-killed", f"node-off:{N2}", "degraded:r0")


def test_a_node_that_hangs(watched: Watched) -> None:
    """Its kernel stands still: it has power, and answers nobody."""
    watched.nodes.lab.hang(N2)
    off_and_on(watched)
    assert_ended(watched, "node-hung", f"node-off:{N2}", "degraded:r0")


def off_and_on(watched: Watched) -> None:
    """Its peer has it switched off; it is said to be off, nothing is done, and then a human switches it on."""
    nodes, supervisor = watched.nodes, watched.supervisor
    supervisor.until(lambda: not nodes.lab.is_on(N2), f"{N2} is switched off", OFF_WITHIN)
    for key in (f"node-off:{N2}", "degraded:r0"):
        supervisor.until_alarmed(key)
        assert key in supervisor.measured()
    assert nodes.get(N1, "before") == watched.sum, "the other one serves"
    nodes.power_on()
