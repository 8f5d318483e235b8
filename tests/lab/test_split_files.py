"""Which files a split changed, against real kernels: GFS2 on LVM and ext4 on DRBD, changed on both sides while the cable is cut.

The second side takes over a file system that was not unmounted: its journal's replay marks what nobody changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from attrs import define, frozen

from fixtures.lab import LabSpec
from fixtures.lab.config import FILE_SERVER, _fence
from orchestrator.cli.common import reaching
from orchestrator.config import load
from orchestrator.recovery.dump_md import read_dump
from orchestrator.recovery.extents import Extents
from orchestrator.recovery.file_report import approximate, clear_views, report
from orchestrator.recovery.files import Change, FileReport
from orchestrator.recovery.saved_files import SavedFiles, save_files, take_all
from orchestrator.remote import Remote
from tests.lab.cluster import DISK, N1, N2, Cluster, booted

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
M = "/srv/files"
LOCAL = f'devices {{ global_filter = [ "r|^{DISK}$|" ] }}\n'

GFS2 = f"""
printf '%s' '{LOCAL}' >/etc/lvm/lvmlocal.conf; modprobe gfs2
pvcreate -q /dev/drbd1 && vgcreate -q vg-a /dev/drbd1 && lvcreate -q -y -Wn -L 60M -n gap vg-a &&
lvcreate -q -y -Wn -l 100%FREE -n files vg-a && lvremove -q -y vg-a/gap && lvextend -q -l +5 vg-a/files &&
mkfs.gfs2 -q -O -p lock_nolock -j 2 -J 8 /dev/vg-a/files
"""
"""A volume in two pieces, the second before the first."""

KINDS = {
    "gfs2": (GFS2, f"mkdir -p {M}; vgchange -q -ay vg-a && mount -t gfs2 -o noatime /dev/vg-a/files {M}",
             f"umount {M} && vgchange -q -an vg-a"),
    "ext4": ("mkfs.ext4 -q -b 4096 -E lazy_itable_init=0 /dev/drbd1", f"mkdir -p {M}; mount -o noatime /dev/drbd1 {M}", f"umount {M}"),
}
BEFORE = f"""
cd {M} && mkdir folder many || exit
for f in base1 base2 base3 base4 both ch_v ch_s ren_v ren_s del_v del_s folder/x1 folder/x2 "$(printf 'odd\\nname \\303\\274')"; do
    head -c 50000 /dev/urandom >"$f"; done
sync; for n in $(seq 2000); do echo small $n >many/s$n; done; sync
"""
ON_VICTIM = f"""
cd {M} && dd if=/dev/urandom of=base3 bs=4096 count=1 seek=5 conv=notrunc 2>/dev/null; echo both v >>both; head -c 90000 /dev/urandom >new_v
chmod 600 ch_v; mv ren_v ren_v2; mv folder folder2; rm del_v; ln base4 hard_v
echo more >>"$(printf 'odd\\nname \\303\\274')"; echo v >many/s17
echo tiny >tiny_v; sync
"""
ON_SURVIVOR = f"""
cd {M} && dd if=/dev/urandom of=base1 bs=4096 count=1 seek=5 conv=notrunc 2>/dev/null; echo both s >>both; head -c 90000 /dev/urandom >new_s
chmod 600 ch_s; mv ren_s ren_s2; rm del_s; echo tiny >tiny_s; sync
"""
ODD = "odd\nname ü"
EXPECTED = {
    ("both", Change.BOTH, "", ""),
    *((name, Change.CHANGED, N2, "") for name in ("base3", ODD, "many/s17")),
    *((name, Change.CREATED, N2, "") for name in ("new_v", "tiny_v", "hard_v")),
    ("ren_v2", Change.RENAMED, N2, "ren_v"), *((f"folder2/{name}", Change.RENAMED, N2, f"folder/{name}") for name in ("x1", "x2")),
    ("del_v", Change.DELETED, N2, ""),
    ("base1", Change.CHANGED, N1, ""), *((name, Change.CREATED, N1, "") for name in ("new_s", "tiny_s")),
    ("ren_s2", Change.RENAMED, N1, "ren_s"), ("del_s", Change.DELETED, N1, ""),
}
INODES = {  # changed in nothing but their inode
    "gfs2": {("ch_v", Change.CHANGED, N2, ""), ("base4", Change.CHANGED, N2, ""), ("ch_s", Change.CHANGED, N1, "")},
    "ext4": {("ch_v", Change.DIFFERS, N2, ""), ("base4", Change.DIFFERS, N2, ""), ("ch_s", Change.DIFFERS, N1, "")},
}
NOTHING_OF_OURS = """
for dm in /sys/block/dm-*; do [ -r $dm/dm/name ] && grep orchestrate $dm/dm/name; done; losetup -a
grep orchestrate /proc/mounts; ls -d /run/orchestrate/view* 2>/dev/null; :
"""


SPEC = LabSpec(nodes=2, memory=400, disk=256, flavour="full")
DRBD_ONLY = {
    'name = "NASCluster"\n': 'name = "NASCluster"\naccept_no_fencing = true\n', FILE_SERVER.format(number=0): "",
    **{_fence(node): "" for node in SPEC.plan()},
}
"""The lab's cluster.toml without what stands on DRBD: GFS2 is mounted by hand, without a lock manager, and nobody is shot."""


@frozen
class Request:
    """See orchestrator.recovery.site."""

    resource: str = "r0"
    victim: str = N2
    survivor: str = N1


@define
class Split(Cluster):
    """A pair with one file system, changed on both sides."""

    kind: str = "gfs2"

    def must(self, node: str, script: str) -> str:
        """Like `sh`, and it ends well."""
        said = self.sh(node, f"{{\n{script}\n}} && echo ended well")
        assert said.endswith("ended well\n"), said
        return said

    def split(self) -> None:
        """Both sides mounted and changed, the cable cut."""
        make, mount, _ = KINDS[self.kind]
        self.resource("primaries = 1")
        self.changes |= DRBD_ONLY
        self.up()
        self.must(N1, make)
        self.must(N1, mount)
        self.must(N1, BEFORE)
        self.lab.cut(N2, "repl")
        for node in (N1, N2):
            self.until(lambda node=node: "cs:WFConnection" in self.proc(node), f"{node} lost its peer")  # type: ignore[misc]  # a default binds the loop's node
        if self.kind == "gfs2":
            self.must(N2, f"printf '%s' '{LOCAL}' >/etc/lvm/lvmlocal.conf; modprobe gfs2")
        self.must(N2, "drbdadm primary r0")
        self.must(N2, mount)
        self.must(N2, ON_VICTIM)
        self.must(N1, ON_SURVIVOR)

    def victim_extents(self) -> Extents:
        """The victim's DRBD taken down, its bitmap."""
        self.sh(N2, "cd /; drbdadm secondary r0; drbdadm disconnect r0; drbdadm down r0; drbdadm apply-al r0")
        return read_dump(self.sh(N2, "drbdmeta 1 v08 /dev/ubdb internal dump-md 2>/dev/null")).extents

    def survivor_extents(self) -> Extents:
        """The survivor's bitmap, written down while its file system stands still."""
        flush = "for word in disconnect connect disconnect; do drbdadm $word r0 >/dev/null 2>&1; done"
        return read_dump(self.sh(N1, f"fsfreeze -f {M}; {flush};"
                                     f" drbdmeta --force 1 v08 /dev/ubdb internal dump-md 2>/dev/null; fsfreeze -u {M}")).extents

    def asked(self, *calls: object) -> list[object]:
        """Async functions of (remote, request, ...), each as a tuple with its further arguments."""
        async def run() -> list[object]:
            async with reaching(load(self.config())) as remote:
                assert isinstance(remote, Remote)
                return [await call[0](remote, Request(), *call[1:]) for call in calls]  # type: ignore[index]  # (function, arguments)

        return anyio.run(run)

    def report(self, mine: Extents, theirs: Extents) -> FileReport:
        """`report`, and no view is left."""
        (found,) = self.asked((report, mine, theirs))
        assert isinstance(found, FileReport)
        assert self.both(NOTHING_OF_OURS) == {N1: "", N2: ""}
        return found


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two nodes with GFS2's tools."""
    folder = tmp_path_factory.mktemp("files")
    with booted(folder / "lab", SPEC) as lab:
        yield Cluster(lab, folder)


@pytest.fixture(params=["gfs2", "ext4"])
def split(request: pytest.FixtureRequest, labs: Cluster, tmp_path: Path) -> Iterator[Split]:
    """Split, and afterwards nothing is mounted."""
    made = Split(labs.lab, tmp_path, kind=request.param)
    made.reset()
    try:
        made.split()
        yield made
    finally:
        made.lab.heal()
        made.both(f"cd /; {KINDS[made.kind][2]}")


def files(found: FileReport) -> set[tuple[str, Change, str, str]]:
    """Every file of a report."""
    return {(one.path, one.change, one.node, one.was) for one in found.changes if one.kind == "f"}


def test_exactly_the_changed_files(split: Split, tmp_path: Path) -> None:
    """Before anything is stopped; after the victim was unmounted and taken down; and its files saved."""
    (early,) = split.asked((approximate,))
    assert isinstance(early, FileReport)
    assert early.approximate
    assert not early.unmapped
    assert {"base3", "new_v", "both"} <= {path for path, *_ in files(early)}
    split.must(N2, f"cd /; {KINDS[split.kind][2]}")
    theirs, mine = split.survivor_extents(), split.victim_extents()
    found = split.report(mine, theirs)
    assert not found.unmapped
    assert files(found) == EXPECTED | INODES[split.kind]
    wanted = {path for path, change, node, _ in files(found)
              if change is Change.DIFFERS or (node != N1 and change is not Change.DELETED)}
    assert {one.path for one in found.to_save() if one.kind == "f"} == wanted
    split.asked((save_files, found, tmp_path))
    take_all(SavedFiles.read(tmp_path), tmp_path / "out")
    folder = tmp_path / "out" / ("vg-a/files" if split.kind == "gfs2" else "r0")
    assert (folder / "tiny_v").read_text() == "tiny\n"
    assert (folder / ODD).stat().st_size == 50005
    assert (folder / "ch_v").stat().st_mode & 0o777 == 0o600
    assert json.loads((tmp_path / "files.json").read_text())["report"]["victim"] == N2
    assert split.both(NOTHING_OF_OURS) == {N1: "", N2: ""}


def test_after_a_power_cut_nothing_of_the_victims_is_missing(split: Split) -> None:
    """The victim's journal is not empty: what only it has counts; and a view that was left standing is taken down first."""
    split.must(N2, f"cd {M} && chmod 640 base2 && echo late >late_v && sync")
    split.lab.power_off(N2)
    split.lab.power_on(N2)
    split.must(N2, "modprobe drbd; modprobe gfs2; ! grep 1: /proc/drbd")
    theirs, mine = split.survivor_extents(), split.victim_extents()
    assert mine.blocks > 1024, "a power cut marks whole extents of 4 MiB"
    found = split.report(mine, theirs)
    assert not found.unmapped
    saved = {one.path for one in found.to_save() if one.kind == "f"}
    assert {path for path, change, node, _ in EXPECTED | INODES[split.kind] if node != N1 and change is not Change.DELETED} <= saved
    assert {"base2", "late_v"} <= saved
    assert len([path for path in saved if path.startswith("many/")]) == 1, "files that nobody changed"
    assert ("del_s", Change.DELETED, N1, "") in files(found)
    split.asked((clear_views,))
