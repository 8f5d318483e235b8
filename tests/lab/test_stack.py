"""The whole file server, from blank disks to SMB and back: power cuts, a killed orchestrator, and what may be wrong on a node.

In the order of this file; each scenario begins with what the one before left, or makes it so.
"""

from __future__ import annotations

import os
import re

import pytest

from tests.lab.cluster import N1, N2
from tests.lab.killed import killed_and_again
from tests.lab.stack_cluster import DEVICE, MOUNT, NAME, NOTHING_LEFT, ONCE, SMALL_FILES, VG, WATCHER, StackCluster

pytestmark = pytest.mark.timeout(1500)
KILLS = int(os.environ.get("STACK_KILLS", "2"))
"""How often `up` is killed."""


FOREIGN_GROUP = f"""
truncate -s 32M /root/foreign.img && losetup /dev/loop0 /root/foreign.img && vgcreate --config global/use_lvmlockd=0 {VG} /dev/loop0
"""


def test_blank_disks_to_shares_and_then_silence(blank: StackCluster) -> None:
    planned = blank.run("plan", "--json")
    assert planned.code == 10, planned.err
    destructive = sorted((item["node"], item["key"].split(":")) for item in planned.json()["items"] if item["destructive"])
    assert [(node, words[1] if words[0] == "start-layer" else words[0]) for node, words in destructive] == ONCE

    blank.up()
    blank.assert_serving()
    assert blank.made_once() == ONCE
    surprises = [record for record in blank.records() if record.get("surprise")]
    assert not surprises, surprises

    before = blank.both("ls -lR --time-style=full-iso /etc/drbd.d /etc/corosync /etc/dlm /etc/lvm /etc/samba /etc/orchestrate")
    sent = len([record for record in blank.records() if record["kind"] == "intent"])
    assert blank.up("--json").json()["steps_sent"] == 0
    assert "already there: nothing was changed" in blank.up().out
    assert len([record for record in blank.records() if record["kind"] == "intent"]) == sent
    assert blank.both("ls -lR --time-style=full-iso /etc/drbd.d /etc/corosync /etc/dlm /etc/lvm /etc/samba /etc/orchestrate") == before
    assert blank.run("plan").code == 0


def test_a_file_put_on_one_node_is_read_on_the_other(serving: StackCluster) -> None:
    for node, other, seed in ((N1, N2, 1), (N2, N1, 2)):
        assert "NT_STATUS_OBJECT_NAME_NOT_FOUND" in serving.get(other, f"file{seed}")
        put = serving.put(node, f"file{seed}", seed)
        assert serving.get(other, f"file{seed}") == put


def test_power_cut_of_both_and_nothing_touches_the_backing_disk(serving: StackCluster) -> None:
    assert serving.sh(N2, SMALL_FILES).strip() == "200"
    serving.sh(N1, f"cd {MOUNT}/many && sha256sum file* >/root/sums && sync /root/sums")
    serving.both(WATCHER)
    serving.power_cut()
    down = serving.layers()
    for node in (N1, N2):
        assert down[node]["mount " + NAME] == down[node]["corosync"] == down[node]["samba"] == "Down", down
    serving.up()
    serving.assert_serving()
    for node in (N1, N2):
        serving.assert_small_files(node)
    for node, (looks, seen) in serving.watched().items():
        assert looks > 20, (node, looks)
        assert "dm-0 on drbd1" in seen, f"the watcher on {node} is blind: {seen}"
        assert not [words for words in seen if "ubdb" in words], (node, seen)
    assert serving.made_once() == ONCE


def test_smb_conf_that_samba_does_not_understand(serving: StackCluster) -> None:
    serving.sh(N2, "systemctl stop smbd; cd /etc/samba; cp -p smb.conf /root; printf '[global]\\n\\tno such parameter = 1\\n' >>smb.conf")
    try:
        said = serving.up(code=4)
        assert "no such parameter" in said.err
        assert N2 in said.err
        assert serving.layers()[N2]["samba"] == "Down"
    finally:
        serving.sh(N2, "mv /root/smb.conf /etc/samba/smb.conf")
    serving.up()
    serving.assert_serving()


@pytest.mark.long
def test_a_missing_package(serving: StackCluster) -> None:
    serving.sh(N1, "mv /usr/sbin/mkfs.gfs2 /root")
    try:
        said = serving.run("up")
        assert said.code in (3, 4), said
        assert "gfs2-utils" in said.err
        assert N1 in said.err
        assert serving.layers()[N1]["mount " + NAME] == "Up", "what serves goes on serving"
    finally:
        serving.sh(N1, "mv /root/mkfs.gfs2 /usr/sbin")
    assert serving.up("--json").json()["steps_sent"] == 0


@pytest.mark.long
def test_no_room_for_a_file(serving: StackCluster) -> None:
    serving.sh(N2, "mount -t tmpfs -o size=4k none /etc/corosync; head -c 4096 /dev/zero >/etc/corosync/filler")
    try:
        said = serving.up(code=4)
        assert re.search(r"/etc/corosync/(corosync.conf|authkey) could not be written", said.err), said.err
        assert "100%" in said.err
        assert N2 in said.err
        assert serving.sh(N2, "ls -A /etc/corosync").split() == ["filler"], "half-written"
        assert serving.layers()[N2]["corosync"] == "Up"
    finally:
        serving.sh(N2, "umount /etc/corosync")
    assert serving.up("--json").json()["steps_sent"] == 0


@pytest.mark.long
def test_a_file_system_of_another_cluster(serving: StackCluster) -> None:
    serving.both(f"systemctl stop smbd; umount {MOUNT}")
    label = f"tunegfs2 -o locktable={{}}:{NAME} {DEVICE} && sync"
    serving.sh(N1, label.format("OtherCluster"))
    try:
        said = serving.up(code=3)
        assert "OtherCluster" in said.err
        assert "no-mkfs-over-data" in said.err
        assert serving.layers()[N1]["mount " + NAME] == serving.layers()[N2]["mount " + NAME] == "Down"
    finally:
        serving.sh(N1, label.format("NASCluster"))
    serving.up()
    serving.assert_serving()
    assert serving.made_once() == ONCE


def test_down_goes_strictly_backwards(serving: StackCluster) -> None:
    needs = {item["key"]: item["needs"] for item in serving.run("plan", "--down", "--json").json()["items"]}
    serving.machine = "down"
    down = serving.run("down")
    assert down.code == 0, down.err
    done: set[str] = set()
    for record in serving.records():
        if record["kind"] == "intent":
            assert set(needs[record["key"]]) <= done, f"{record['key']} went before what stood on it"
        if record["kind"] == "outcome" or record.get("key", "").startswith("demote:"):  # the kernel tells of it before drbdadm ends
            done.add(record["key"])
        if record["kind"] == "moved" and record["to"] == "Down" and " on " in record["resource"]:  # another lane's look saw it first
            layer, _, node = record["resource"].rpartition(" on ")
            done.add(f"stop-layer:{layer.replace(' ', '-')}:{node}")
    assert set(needs) <= done
    serving.machine = "one"
    for node, left in serving.both(NOTHING_LEFT).items():
        assert left == "", f"{node}: {left}"
    assert serving.run("down", "--json").json()["steps_sent"] == 0


@pytest.mark.long
def test_two_keys(stopped: StackCluster) -> None:
    stopped.sh(N2, "cp -p /etc/corosync/authkey /root; head -c 256 /dev/urandom >/etc/corosync/authkey")
    try:
        said = stopped.up(code=3)
        assert "same-key" in said.err
        assert N1 in said.err
        assert N2 in said.err
        assert "corosync runs" not in "".join(stopped.both(NOTHING_LEFT).values())
    finally:
        stopped.sh(N2, "mv /root/authkey /etc/corosync/authkey")


@pytest.mark.long
def test_a_foreign_group_of_the_same_name(stopped: StackCluster) -> None:
    """It can be made only while ours is not seen: the stack is down. Without it everything comes up again."""
    made = stopped.sh(N1, FOREIGN_GROUP)
    try:
        assert "successfully created" in made, made
        said = stopped.run("up")
        assert said.code in (3, 4), said
        assert "Multiple VGs found with the same name: skipping " + VG in said.err or "/dev/loop0" in said.err, said.err
        assert stopped.layers()[N1]["active " + NAME] == "Down"
    finally:
        stopped.sh(N1, "losetup -d /dev/loop0; rm /root/foreign.img")
    stopped.up()
    stopped.assert_serving()
    assert stopped.made_once() == ONCE


@pytest.mark.parametrize("seed", range(KILLS))
def test_killed_anywhere_and_run_again(nodes: StackCluster, seed: int) -> None:
    told = killed_and_again(nodes, seed)
    print(f"seed {seed}: killed after {told!r}")
