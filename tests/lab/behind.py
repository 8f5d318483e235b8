"""LVM on the disk below DRBD: how it gets there, who has it, and whether the two disks still hold the same."""

from __future__ import annotations

import re

from tests.lab.cluster import DISK, N1, N2, Cluster

RULE = "/etc/udev/rules.d/66-as-under-external-metadata.rules"
AS_EXTERNAL = f"""
cat >{RULE} <<'END'
# Internal metadata makes blkid say `drbd`. Under external metadata there is only LVM's label on this disk, and udev is told of that.
KERNEL=="ubdb", ENV{{ID_FS_TYPE}}="LVM2_member"
END
sync /etc/udev/rules.d {RULE}
"""
HOLDERS = "for one in /sys/class/block/ubdb/holders/*; do [ -e $one ] && printf '%s ' ${one##*/}; done"
REPLICATED = f"""
size=$(drbdmeta - v08 {DISK} internal dump-md 2>/dev/null | sed -n 's/^la-size-sect \\([0-9]*\\);/\\1/p')
echo 3 >/proc/sys/vm/drop_caches; head -c $((size * 512)) {DISK} | sha256sum
"""
"""What DRBD replicates of the disk."""


def booted_by_the_distribution(cluster: Cluster, group: str) -> None:
    """The second node boots as over external metadata, and its boot activates the group."""
    cluster.sh(N2, f"{AS_EXTERNAL}\nsync")
    cluster.lab.power_off(N2)
    cluster.lab.power_on(N2)
    cluster.until(lambda: cluster.sh(N2, HOLDERS).strip() == "dm-0", "the distribution activates it", 30)
    assert f"lvm-activate-{group}" in cluster.sh(N2, f"journalctl -b -u lvm-activate-{group}.service")


def assert_same_data(cluster: Cluster) -> None:
    """Taken down, both disks hold the same, byte for byte, as far as DRBD replicates them."""
    taken = cluster.run("down")
    assert taken.code == 0, taken.err
    sums = cluster.both(REPLICATED)
    assert re.fullmatch(r"[0-9a-f]{64}  -\n", sums[N1]), sums
    assert len(set(sums.values())) == 1, sums
