"""A mounted file system grows while it is written to, on both nodes; what GFS2 cannot do is refused and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.cluster import N1, N2, booted
from tests.lab.stack_cluster import DEVICE, MOUNT, NAME, ONCE, SPEC, VG, StackCluster

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]
MIB = 2**20

WRITER = f"""
cat >/usr/local/sbin/writer <<'END'
#!/bin/bash
# One file after the other, each with its sum beside it; the count is of those that were synced.
count=0
while [ ! -e /run/writer.stop ]; do
    count=$((count + 1)); file={MOUNT}/$1.$((count % 40))
    head -c 100000 /dev/urandom >$file && sync $file && sha256sum $file >/run/writer.sum.$((count % 40)) ||
        echo failed $count >>/run/writer.failed
    echo $count >/run/writer.count
done
END
chmod 755 /usr/local/sbin/writer; rm -f /run/writer.*
setsid writer $(uname -n) >/dev/null 2>&1 </dev/null &
"""
WRONG = "cat /run/writer.failed 2>/dev/null; sha256sum -c /run/writer.sum.* | grep -v ': OK$'"


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackCluster]:
    """Two nodes that serve a file system of 100 MiB, on a group of some 250."""
    folder = tmp_path_factory.mktemp("grow")
    with booted(folder / "lab", SPEC) as lab:
        cluster = StackCluster(lab, folder)
        size(cluster, "100M")
        cluster.up()
        yield cluster


def size(nodes: StackCluster, text: str) -> None:
    """What cluster.toml wants from now on."""
    line = f'mount = "{MOUNT}"\n'
    nodes.changes[line] = f'{line}size = "{text}"\n'


def seen(nodes: StackCluster, node: str) -> tuple[int, int]:
    """MiB of the volume as that kernel has it, and of the file system as that node counts it."""
    text = nodes.sh(node, f"cat /sys/class/block/$(basename $(readlink -f {DEVICE}))/size; stat -f -c '%b %S' {MOUNT}")
    sectors, blocks, block = map(int, text.split())
    return sectors * 512 // MIB, blocks * block // MIB


def steps(nodes: StackCluster) -> list[str]:
    """What `plan` would do."""
    return [item["key"] for item in nodes.run("plan", "--json").json()["items"]]


def test_it_grows_while_both_nodes_write(nodes: StackCluster) -> None:
    assert nodes.up("--json").json()["steps_sent"] == 0
    for node in (N1, N2):
        volume, files = seen(nodes, node)
        assert (volume, files in range(98, 101)) == (100, True), node
    nodes.both(WRITER)
    size(nodes, "180M")
    assert steps(nodes) == [f"start-layer:extended-{NAME}:{N1}", f"start-layer:extended-{NAME}:{N2}", f"start-layer:grown-{NAME}:{N1}"]
    nodes.up()
    grown = {node: int(text) for node, text in nodes.both("cat /run/writer.count").items()}
    assert nodes.up("--json").json()["steps_sent"] == 0
    nodes.until(lambda: all(int(nodes.sh(node, "cat /run/writer.count")) > grown[node] + 3 for node in (N1, N2)), "both go on writing")
    nodes.both("touch /run/writer.stop")
    nodes.until(lambda: nodes.both("pidof -x writer") == {N1: "", N2: ""}, "both writers end")
    assert nodes.both(WRONG) == {N1: "", N2: ""}
    assert seen(nodes, N1)[0] == seen(nodes, N2)[0] == 180
    nodes.until(lambda: all(seen(nodes, node)[1] in range(178, 181) for node in (N1, N2)), "both count the new room", 90)
    nodes.assert_serving()
    assert nodes.made_once() == ONCE


@pytest.mark.parametrize(("text", "code", "rule", "words"), [
    ("100M", 3, "grow-only", "a GFS2 cannot be made smaller"),
    ("190M", 3, "grow-only", "grows by 33 MiB at least"),
    ("400M", 4, "step-failed", "has room for 252 MiB in all"),
])
def test_what_cannot_be_had_is_said_and_nothing_changes(nodes: StackCluster, text: str, code: int, rule: str, words: str) -> None:
    size(nodes, text)
    said = nodes.up(code=code)
    assert rule in said.err
    assert words in said.err, said.err
    assert seen(nodes, N1)[0] == seen(nodes, N2)[0] == 180
    size(nodes, "180M")
    assert nodes.up("--json").json()["steps_sent"] == 0
    nodes.assert_serving()


def test_it_grows_while_one_node_is_down_and_the_other_finds_it_so(nodes: StackCluster) -> None:
    assert nodes.run("down", "--node", N2).code == 0
    size(nodes, "216M")
    nodes.up()
    assert seen(nodes, N1)[0] == seen(nodes, N2)[0] == 216
    nodes.assert_serving()
    assert VG in nodes.sh(N1, "vgs --noheadings")


def test_who_comes_up_after_a_power_cut_has_the_new_size(nodes: StackCluster) -> None:
    nodes.power_cut()
    nodes.up()
    for node in (N1, N2):
        volume, files = seen(nodes, node)
        assert (volume, files in range(212, 217)) == (216, True), node
    nodes.assert_serving()


def test_a_file_system_made_for_one_node_gets_a_journal_for_the_other(nodes: StackCluster) -> None:
    nodes.both(f"systemctl stop smbd; umount {MOUNT}")
    made = nodes.sh(N1, f"mkfs.gfs2 -q -O -K -p lock_dlm -t NASCluster:{NAME} -j 1 -J 8 {DEVICE}; gfs2_edit -p journals {DEVICE} | cat")
    assert made.count("\njournal") == 1, made
    nodes.up()
    nodes.assert_serving()
    assert nodes.sh(N1, f"gfs2_edit -p journals {DEVICE} | cat").count("\njournal") == 2
