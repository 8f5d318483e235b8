"""Power, links, reboots, and an orchestrator that is killed: the pair comes back, or `up` says why not and changes nothing."""

from __future__ import annotations

import os
import random
import signal

import pytest

from tests.lab.cluster import N1, N2, Cluster, first_of


def identifiers(cluster: Cluster) -> dict[str, str]:
    """What both sides' status says of the data."""
    return {node: side["identifiers"] for node, side in cluster.state()["sides"].items()}


@pytest.mark.parametrize("seed", first_of(range(5), 2))
def test_killed_anywhere_and_run_again(cluster: Cluster, seed: int) -> None:
    """SIGKILL after a random number of lines told; odd seeds go on from another machine, with an empty journal."""
    told = random.Random(seed).randrange(1, 18)
    process = cluster.start("up")
    assert process.stderr is not None
    for _ in range(told):
        if not process.stderr.readline():
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()
    if process.stdout is not None:
        process.stdout.close()
    kinds = [record["kind"] for record in cluster.records()]
    if kinds.count("intent") > kinds.count("outcome"):
        assert "intent without outcome" in cluster.run("journal").out
    if seed % 2:
        cluster.machine = "two"
        assert cluster.records() == []
    cluster.up()
    cluster.assert_dual_primary()
    assert cluster.claims() == [(N1, "create-metadata", "0"), (N1, "force-primary", "0"), (N2, "create-metadata", "0")]
    if not seed % 2:
        records = cluster.records()
        destructive = [record["key"] for record in records if record["kind"] == "intent" and record["effect"] == "destructive"]
        assert len(destructive) == len(set(destructive)), "a DESTRUCTIVE step was sent twice"


def test_power_cut_of_one_node_and_back(pair: Cluster) -> None:
    pair.sh(N1, "printf before | dd of=/dev/drbd1 bs=4096 seek=7 conv=fsync 2>/dev/null")
    pair.lab.power_off(N2)
    said = pair.up(code=6)
    assert N2 in said.err
    assert "counts as Primary" in said.err
    pair.until(lambda: "WFConnection" in pair.proc(N1), "the survivor notices", 30)
    pair.sh(N1, "printf during | dd of=/dev/drbd1 bs=4096 seek=8 conv=fsync 2>/dev/null")
    pair.lab.power_on(N2)
    assert pair.proc(N2) == "", "something brought DRBD up at boot, before anybody looked"
    assert pair.state()["state"] == "Degraded"
    pair.up()
    pair.assert_dual_primary()
    assert pair.sh(N2, "dd if=/dev/drbd1 bs=4096 skip=7 count=2 2>/dev/null | tr -d '\\000'") == "beforeduring"


@pytest.mark.long
def test_a_nodes_own_reboot(pair: Cluster) -> None:
    pair.lab.reboot(N1)
    assert pair.proc(N1) == ""
    pair.up()
    pair.assert_dual_primary()


@pytest.mark.long
def test_both_nodes_lose_power(pair: Cluster) -> None:
    pair.sh(N2, "printf kept | dd of=/dev/drbd1 bs=4096 seek=3 conv=fsync 2>/dev/null")
    for node in (N1, N2):
        pair.lab.power_off(node)
    assert pair.up(code=6).code == 6
    for node in (N1, N2):
        pair.lab.power_on(node)
    assert (pair.proc(N1), pair.proc(N2)) == ("", "")
    pair.up()
    pair.assert_dual_primary()
    assert pair.sh(N1, "dd if=/dev/drbd1 bs=4096 skip=3 count=1 2>/dev/null | head -c 4") == "kept"


def test_link_cut_and_healed_without_a_write_is_a_split_brain_with_nothing_changed(pair: Cluster) -> None:
    """8.4 rotates the identifiers of two Primaries at the loss itself (capture A01)."""
    pair.lab.cut(N2, "repl")
    pair.until(lambda: all("cs:Connected" not in pair.proc(node) for node in (N1, N2)), "both notice", 40)
    pair.lab.heal(N2)
    pair.until(lambda: all("cs:StandAlone" in pair.proc(node) for node in (N1, N2)), "both give up", 40)
    before = identifiers(pair)
    said = pair.up(code=3)
    assert "SplitBrain" in said.err
    assert "no-discard-without-consent" in said.err
    assert "out of sync 0 KiB" in said.err
    assert identifiers(pair) == before
    assert pair.state()["state"] == "SplitBrain"


@pytest.mark.long
def test_split_brain_survives_a_reboot_of_the_victim(pair: Cluster) -> None:
    """Both wrote. A rebooted side would be discarded by a plain `drbdadm up` under the how-to's policies: not by us."""
    pair.lab.cut(N2, "repl")
    pair.until(lambda: all("cs:Connected" not in pair.proc(node) for node in (N1, N2)), "both notice", 40)
    for node, text in ((N1, "mine"), (N2, "yours")):
        pair.sh(node, f"printf {text} | dd of=/dev/drbd1 bs=4096 seek=5 conv=fsync 2>/dev/null")
    pair.lab.power_off(N2)
    pair.lab.heal()
    pair.lab.power_on(N2)
    said = pair.up(code=3)
    assert "SplitBrain" in said.err
    assert pair.proc(N2).startswith("cs:StandAlone"), "attached at most"
    assert pair.sh(N1, "dd if=/dev/drbd1 bs=4096 skip=5 count=1 2>/dev/null | head -c 4") == "mine"
    pair.sh(N2, "drbdadm primary r0")
    assert pair.sh(N2, "dd if=/dev/drbd1 bs=4096 skip=5 count=1 2>/dev/null | head -c 5") == "yours"


@pytest.mark.long
def test_link_cut_during_the_first_sync(cluster: Cluster) -> None:
    cluster.changes['rate = "400M"'] = 'rate = "8M"'
    process = cluster.start("up")
    assert process.stderr is not None
    for line in process.stderr:
        if "copying" in line:
            break
    cluster.lab.cut(N2, "repl")
    cluster.until(lambda: "cs:WFConnection" in cluster.proc(N1), "the source notices", 40)
    cluster.lab.heal(N2)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    cluster.assert_dual_primary()
    assert len([claim for claim in cluster.claims() if claim[1] == "force-primary"]) == 1


def test_a_second_orchestrator_is_turned_away(cluster: Cluster) -> None:
    cluster.changes['rate = "400M"'] = 'rate = "8M"'
    first = cluster.start("up")
    assert first.stderr is not None
    for line in first.stderr:
        if "copying" in line:
            break
    cluster.machine = "two"
    said = cluster.run("up")
    assert said.code == 75, said.err
    assert "holds the lease" in said.err
    _, err = first.communicate(timeout=120)
    assert first.returncode == 0, err
    cluster.assert_dual_primary()
