"""What happens to a file server that is in use: its nodes are restarted one by one, and a cable is cut while it comes up."""

from __future__ import annotations

import time

import pytest

from tests.lab.cluster import N1, N2
from tests.lab.stack_cluster import NAME, StackCluster
from tests.lab.survivor import Writer, assert_nothing_lost, until
from tests.lab.writers import POLITE_WRITER

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]
GIVEN_UP = 120.0
"""Seconds after which `up` must have given up on a node it cannot reach any more: what its peer is doing is waited for."""
GAP = 40.0
"""Seconds the peer's writer may be silent at most while a node leaves and comes back: the locks are recovered both times. Both
limits are for a machine that is busy with other things; what it took is printed."""


def test_the_management_network_is_cut_while_it_comes_up(serving: StackCluster) -> None:
    serving.power_cut()
    process = serving.start("up")
    assert process.stderr is not None
    for line in process.stderr:
        if f"{N2}: corosync: start corosync" in line:
            break
    began = time.monotonic()
    serving.lab.cut(N2, "mgmt")
    _, said = process.communicate(timeout=GIVEN_UP * 2)
    took = time.monotonic() - began
    print(f"\n`up` gave up {took:.1f} s after the cut:\n{said}")
    assert process.returncode == 6, said
    assert N2 in said
    assert f"mount {NAME}" in said, "what was left undone is not said"
    assert took < GIVEN_UP
    assert serving.lab.is_on(N1)
    assert serving.lab.is_on(N2)
    serving.lab.heal()
    serving.up()
    serving.assert_serving()


@pytest.mark.parametrize("words", [(), ("--reboot",)], ids=["", "reboot"])
def test_one_node_after_the_other_and_its_peer_serves(serving: StackCluster, words: tuple[str, ...]) -> None:
    boots = serving.both("cat /proc/sys/kernel/random/boot_id")
    before = len(serving.records())
    writers = {N2: Writer.start(serving, N2, POLITE_WRITER)}
    until(lambda: writers[N2].last > 5, "the peer of the first writes", 60)
    process = serving.start("restart", "--rolling", *words)
    assert process.stderr is not None
    turn: dict[str, float] = {}
    lines = []
    for line in process.stderr:
        lines.append(line)
        for node in (N1, N2):
            if f"{node}: samba: stop smbd" in line:
                turn.setdefault(node, time.monotonic())
            if node == N1 and f"{node}: samba: start smbd" in line and N1 not in writers:
                writers[N1] = Writer.start(serving, N1, POLITE_WRITER)
    ended = time.monotonic()
    for writer in writers.values():
        writer.stop()
    process.communicate()
    assert process.returncode == 0, "".join(lines)
    gaps = {N2: writers[N2].longest(turn[N1], turn[N2]), N1: writers[N1].longest(turn[N2], ended)}
    print(f"\nfirst turn {turn[N2] - turn[N1]:.0f} s, second {ended - turn[N2]:.0f} s; the peer's longest gap: "
          + ", ".join(f"{node} {gap:.1f} s" for node, gap in gaps.items()))
    assert max(gaps.values()) < GAP
    assert_one_at_a_time(serving, before)
    serving.assert_serving()
    assert_nothing_lost(serving, {node: writer.last for node, writer in writers.items()})
    rebooted = {node for node, boot in serving.both("cat /proc/sys/kernel/random/boot_id").items() if boot != boots[node]}
    assert rebooted == ({N1, N2} if words else set())


def assert_one_at_a_time(nodes: StackCluster, since: int) -> None:
    """By the journal: no layer of the second is stopped before the first has everything back, and both sides are UpToDate."""
    records = nodes.records()[since:]
    stops = [n for n, one in enumerate(records) if one["kind"] == "intent" and one["key"].startswith("stop-layer:")]
    second = next(n for n in stops if records[n]["node"] == N2)
    assert all(records[n]["node"] == N1 for n in stops if n < second)
    assert all(records[n]["node"] == N2 for n in stops if n > second)
    roles = [one["to"] for one in records[:second] if one["kind"] == "moved" and one["resource"] == "r0"]
    assert roles[-1] == "DualPrimary", roles


def test_ctdb_is_healthy_on_both_and_files_go_across(serving: StackCluster) -> None:
    """From plain Samba, with both down: two nodes that serve by different rules would share no locks."""
    assert serving.run("down").code == 0
    serving.changes = {f"[share.{NAME}]\n": f'[samba]\nclustering = "ctdb"\n\n[share.{NAME}]\n'}
    try:
        began = time.monotonic()
        serving.up("--apply-config")
        print(f"\nup with ctdb took {time.monotonic() - began:.0f} s")
        serving.assert_serving()
        for node, said in serving.both("ctdb nodestatus all").items():
            assert said.count(" OK") == 2, (node, said)
        for node, other, seed in ((N1, N2, 21), (N2, N1, 22)):
            put = serving.put(node, f"shared{seed}", seed)
            assert serving.get(other, f"shared{seed}") == put
        assert serving.up("--json").json()["steps_sent"] == 0
    finally:
        serving.run("down")
