"""Two nodes with storage and a third that only votes: the majority serves, whoever is lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fixtures.lab import LabSpec
from tests.lab.cluster import N1, N2, booted
from tests.lab.stack_cluster import MOUNT, NAME, UNHURRIED, StackCluster

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]
N3 = "linux-nas03"
SPEC = LabSpec(nodes=3, memory=400, disk=256, flavour="full")


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackCluster]:
    """Three nodes; all that is there is up."""
    folder = tmp_path_factory.mktemp("voter")
    with booted(folder / "lab", SPEC) as lab:
        cluster = StackCluster(lab, folder, changes=UNHURRIED)
        cluster.up()
        yield cluster


def whole(nodes: StackCluster) -> None:
    """Everybody is there, and nothing is left to do."""
    nodes.assert_serving()
    votes = dict.fromkeys(("packages", "files", "authkey", "corosync"), "Up")
    nodes.until(lambda: nodes.layers()[N3] == votes, f"{N3} votes and does nothing else")  # busy: quorumtool is slow
    assert nodes.up("--json").json()["steps_sent"] == 0


def writes(nodes: StackCluster, node: str, name: str) -> bool:
    """A write is there within a few seconds; what hangs is left behind."""
    nodes.sh(node, f"(echo {name} >{MOUNT}/{name} && sync {MOUNT}/{name} && echo done >/run/wrote.{name}) >/dev/null 2>&1 </dev/null &")
    try:
        nodes.until(lambda: "done" in nodes.sh(node, f"cat /run/wrote.{name} 2>/dev/null"), f"{name} is written on {node}", 60)
    except AssertionError:
        return False
    return True


def test_three_votes_and_two_copies(nodes: StackCluster) -> None:
    whole(nodes)
    said = nodes.sh(N1, "corosync-quorumtool -s")
    assert "Expected votes:   3" in said, said
    assert "Total votes:      3" in said, said
    assert "2Node" not in said, said
    assert nodes.sh(N3, "ls /etc/drbd.d/*.res 2>/dev/null; grep cs: /proc/drbd 2>/dev/null; :") == ""  # its module may be loaded
    assert nodes.run("status").code == 0
    assert N3 not in "".join(line for line in nodes.run("check").out.splitlines() if "PROBLEM" in line.upper())


def test_the_third_may_go_and_nobody_waits(nodes: StackCluster) -> None:
    nodes.lab.power_off(N3)
    nodes.until(lambda: "Total votes:      2" in nodes.sh(N1, "corosync-quorumtool -s"), "corosync has lost the third", 60)
    for node in (N1, N2):
        assert writes(nodes, node, f"without-{node}"), node
    said = nodes.up(code=6)
    assert f"{N3} cannot be reached" in said.err
    assert "the others have what was wanted" in said.err
    assert nodes.lab.is_on(N1)
    assert nodes.lab.is_on(N2)
    nodes.lab.power_on(N3)
    nodes.up()
    whole(nodes)


def test_who_is_cut_off_alone_is_shot_also_if_it_is_the_first(nodes: StackCluster) -> None:
    nodes.lab.cut(N1)
    nodes.until(lambda: not nodes.lab.is_on(N1), f"{N1} is switched off", 120)
    assert nodes.lab.is_on(N2), "the majority was shot"
    assert writes(nodes, N2, "majority")
    assert nodes.up(code=6).code == 6
    assert nodes.up("--degraded").code == 0
    nodes.lab.heal(N1)
    nodes.lab.power_on(N1)
    nodes.up()
    whole(nodes)
    assert "majority" in nodes.sh(N1, f"cat {MOUNT}/majority")


def test_one_storage_node_dies_and_the_other_has_a_quorum(nodes: StackCluster) -> None:
    nodes.lab.power_off(N2)
    assert writes(nodes, N1, "survivor")
    said = nodes.sh(N1, "corosync-quorumtool -s")
    assert "Quorate:          Yes" in said, said
    assert "Total votes:      2" in said, said
    nodes.lab.power_on(N2)
    nodes.up()
    whole(nodes)


def test_down_takes_all_three(nodes: StackCluster) -> None:
    assert nodes.run("down").code == 0
    layers = nodes.layers()
    assert [layers[node]["corosync"] for node in (N1, N2, N3)] == ["Down"] * 3
    assert layers[N1][f"mount {NAME}"] == "Down"
    nodes.up()
    whole(nodes)
