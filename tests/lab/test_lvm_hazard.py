"""LVM behind DRBD's back, in the three ways it happens, on real kernels: what `check` says of it, and what `up` makes of it.

The stack is up once and taken down; then the second node's volumes are activated on its backing disk. A way ends with the stack
down and both disks the same, byte for byte, as far as DRBD replicates them.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.behind import HOLDERS, RULE, assert_same_data, booted_by_the_distribution
from tests.lab.cluster import N1, N2, booted
from tests.lab.stack_cluster import DEVICE, NAME, NOTHING_LEFT, SPEC, UNHURRIED, VG, StackCluster

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]

FILTER = "/etc/lvm/lvmlocal.conf"
NO_FILTER = f"mv {FILTER} {FILTER}.taken"
BREAK_OPEN = f"vgchange -y --config global/use_lvmlockd=0 --lock-type none --lock-opt force {VG}"
"""Whoever repairs a group that is shared, and has no lock manager, types this."""

HANDS_OFF = f"""
{{ umount /mnt; vgchange -an --config global/use_lvmlockd=0 {VG} || dmsetup remove {VG}-{NAME}; }} >/dev/null 2>&1
printf 'held by: '; {HOLDERS}
"""
WRITE_BEHIND = f"yes written behind | dd of={DEVICE} bs=64k count=4 seek=1024 conv=notrunc iflag=fullblock oflag=direct 2>&1"
MOUNT_BEHIND = f"mount -t gfs2 -o lockproto=lock_nolock {DEVICE} /mnt && echo precious >/mnt/only-here && sync -f /mnt"
KEPT = 7
"""Seed of a file that was put while all was well."""


def broken_open(nodes: StackCluster) -> None:
    """Way 1: a group of lock type none, no filter, and `vgchange -ay` before DRBD is there."""
    said = nodes.sh(N2, f"{NO_FILTER}; {BREAK_OPEN} && vgchange -ay {VG}")
    assert "1 logical volume(s)" in said, said


def shared(nodes: StackCluster) -> None:
    """Way 2: the group is shared and its locks are there, but DRBD is not."""
    nodes.both("systemctl start corosync && systemctl start dlm")
    nodes.until(lambda: all("quorate 1" in text for text in nodes.both("dlm_tool status").values()), "both are quorate", 60)
    config = "--config global/use_lvmlockd=1"
    said = nodes.sh(N2, f"{NO_FILTER}; systemctl start lvmlockd; vgchange --lock-start {config} {VG} && lvchange -asy {config} {VG}/{NAME}")
    assert "failed" not in said.lower(), said


def by_the_distribution(nodes: StackCluster) -> None:
    """Way 3: the boot itself activates a group whose label is all it sees on the disk, as it is under external metadata."""
    said = nodes.sh(N2, f"{NO_FILTER}; {BREAK_OPEN}; sync /etc/lvm")
    assert "successfully changed" in said, said
    booted_by_the_distribution(nodes, VG)


WAYS: dict[str, Callable[[StackCluster], None]] = {
    "broken open": broken_open,
    "shared, with its locks": shared,
    "activated at boot": by_the_distribution,
}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackCluster]:
    """Two nodes, blank at first."""
    folder: Path = tmp_path_factory.mktemp("lvm")
    with booted(folder / "lab", SPEC) as lab:
        yield StackCluster(lab, folder, changes=UNHURRIED)


@pytest.fixture
def down(nodes: StackCluster) -> StackCluster:
    """The stack was up once, and is down; nothing was ever done behind DRBD's back."""
    if not nodes.used:
        nodes.up("-q")
        nodes.put(N1, "kept", KEPT)
    taken = nodes.run("down")
    assert taken.code == 0, taken.err
    nodes.both(f"rm -f {RULE}")
    for node, left in nodes.both(NOTHING_LEFT).items():
        assert left == "", f"{node}: {left}"
    assert set(nodes.both(HOLDERS).values()) == {""}
    return nodes


def checked(nodes: StackCluster) -> list[dict[str, Any]]:
    """`check` finds something, and these of its findings say that somebody has, or had, the second node's backing disk."""
    said = nodes.run("check", "--json")
    assert said.code == 3, said
    assert [one["where"] for one in said.json() if one["what"].startswith("LVM sees the disk below r0")] == [N2], said.out
    return [one for one in said.json() if one["where"] == N2 and "behind DRBD's back" in one["what"]]


def intents(nodes: StackCluster) -> list[str]:
    """Keys of every step that was sent, oldest first."""
    return [record["key"] for record in nodes.records() if record["kind"] == "intent"]


def assert_whole(nodes: StackCluster) -> None:
    """It serves what was put before, and both disks hold the same."""
    nodes.assert_serving()
    assert nodes.get(N2, "kept") == hashlib.sha256(random.Random(KEPT).randbytes(500_000)).hexdigest()
    assert_same_data(nodes)


@pytest.mark.parametrize("way", WAYS)
def test_what_nobody_mounted_is_taken_away_and_copied_anew(down: StackCluster, way: str) -> None:
    WAYS[way](down)
    written = down.sh(N2, f"{WRITE_BEHIND}; {HOLDERS}")
    assert "4+0 records out" in written, written
    assert written.endswith("dm-0 "), written

    found = checked(down)
    assert [(one["weight"], one["evidence"]) for one in found] == [("danger", "dm-0")]
    assert "`orchestrate up` takes the volumes away" in found[0]["remedy"]
    assert down.sh(N2, "ls /var/lib/orchestrate/touched 2>/dev/null") == "", "check changes nothing"

    before = len(intents(down))
    down.sh(N2, "dmesg -C")
    down.up()
    sent = intents(down)[before:]
    order = [sent.index(f"{step}:r0:{N2}") for step in ("release-backing", "distrust", "attach")]
    assert order == sorted(order), sent
    assert not [key for key in sent if key.startswith(f"distrust:r0:{N1}")]
    log = down.sh(N2, "dmesg")
    resynced = re.findall(r"Began resync as SyncTarget \(will sync (\d+) KB", log)
    size = int(down.sh(N2, "cat /sys/class/block/drbd1/size")) // 2
    assert resynced, log
    assert int(resynced[0]) >= size, "all of it"
    assert_whole(down)


@pytest.mark.parametrize("way", WAYS)
def test_what_somebody_mounted_is_refused_until_a_human_has_decided(down: StackCluster, way: str) -> None:
    WAYS[way](down)
    mounted = down.sh(N2, f"{MOUNT_BEHIND}; {HOLDERS}")
    assert mounted.startswith("dm-0 "), mounted

    found = checked(down)
    assert [(one["weight"], one["evidence"]) for one in found] == [("danger", "dm-0, mount:/mnt")]
    assert "unmount it first" in found[0]["remedy"]
    before = len(intents(down))
    refused = down.up(code=3)
    assert N2 in refused.err
    assert "mount:/mnt" in refused.err
    assert "rule no-lvm-under-drbd" in refused.err
    assert intents(down)[before:] == []
    assert down.sh(N2, "cat /mnt/only-here") == "precious\n"

    assert down.sh(N2, HANDS_OFF) == "held by: "
    assert [one["evidence"] for one in checked(down)] == ["/var/lib/orchestrate/touched says so, and it was mounted"]
    refused = down.up(code=3)
    assert "rule backing-touched" in refused.err
    assert not down.proc(N2).startswith("cs:Connected")
    assert f"on {N2}: drbdadm invalidate r0, then rm /var/lib/orchestrate/touched/r0" in " ".join(refused.err.split())
    typed = down.sh(N2, "drbdadm invalidate r0 </dev/null && rm /var/lib/orchestrate/touched/r0; echo code $?")
    assert "code 0\n" in typed, typed
    down.up()
    assert_whole(down)
