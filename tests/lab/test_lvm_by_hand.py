"""A plain volume group on a DRBD pair, without a stack in cluster.toml, activated on the disk below DRBD: `up` repairs nothing here,
it refuses until a human has done what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.lab.behind import HOLDERS, RULE, assert_same_data, booted_by_the_distribution
from tests.lab.cluster import DISK, N1, N2, Cluster

pytestmark = pytest.mark.long

VG = "vg_own"
MADE = f"""
vgcreate --config 'devices {{ global_filter = [ "r|^{DISK}$|" ] }}' {VG} /dev/drbd1 &&
lvcreate --config 'devices {{ global_filter = [ "r|^{DISK}$|" ] }}' -y -L 32M -n own {VG} && vgchange -an {VG}
echo code $?
"""
WRITE_BEHIND = f"yes written behind | dd of=/dev/{VG}/own bs=64k count=4 conv=notrunc iflag=fullblock oflag=direct 2>&1"


def activated(cluster: Cluster) -> None:
    """Somebody types `vgchange -ay` before DRBD is there."""
    said = cluster.sh(N2, f"vgchange -ay {VG}")
    assert "now active" in said, said


def by_the_distribution(cluster: Cluster) -> None:
    """The boot activates it: a local group, with autoactivation, on what looks like a physical volume."""
    booted_by_the_distribution(cluster, VG)


@pytest.fixture
def own(pair: Cluster) -> Iterator[Cluster]:
    """DRBD is down; on it there is a volume group that nothing hides from LVM."""
    made = pair.sh(N1, MADE)
    assert "code 0\n" in made, made
    taken = pair.run("down")
    assert taken.code == 0, taken.err
    yield pair
    pair.both(f"rm -f {RULE}")


@pytest.mark.parametrize("way", [activated, by_the_distribution])
def test_a_plain_group_behind_drbd_is_refused_until_it_is_copied_anew(own: Cluster, way: Callable[[Cluster], None]) -> None:
    way(own)
    written = own.sh(N2, f"{WRITE_BEHIND}; {HOLDERS}")
    assert "4+0 records out" in written, written
    assert written.endswith("dm-0 "), written

    said = own.run("check", "--json")
    assert said.code == 3, said
    found = {(one["where"], one["what"]): one for one in said.json()}
    held = found[N2, "something has the backing disk of r0 behind DRBD's back"]
    assert (held["weight"], held["evidence"]) == ("danger", "dm-0")
    assert "vgchange -an" in held["remedy"]
    for node in (N1, N2):
        seen = found[node, "LVM sees the disk below r0: any `vgchange -ay` takes it from DRBD, and a boot may"]
        assert (seen["weight"], seen["evidence"]) == ("danger", f"{DISK}: volume group {VG} (lock type none)")
        assert f'global_filter = [ "r|^{DISK}$|" ]' in seen["remedy"]

    refused = own.up(code=3)
    assert "rule no-lvm-under-drbd" in refused.err
    assert "dm-0" in refused.err
    assert own.sh(N2, f"vgchange -an {VG} >/dev/null; {HOLDERS}") == ""
    refused = own.up(code=3)
    assert "rule backing-touched" in refused.err
    assert "cs:Connected" not in own.proc(N2)
    typed = own.sh(N2, "drbdadm invalidate r0 </dev/null && rm /var/lib/orchestrate/touched/r0; echo code $?")
    assert "code 0\n" in typed, typed
    own.up()
    own.assert_dual_primary()
    assert_same_data(own)
