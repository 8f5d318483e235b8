"""`recover-splitbrain` on real kernels: what is asked, what is kept, and what the pair is afterwards."""

from __future__ import annotations

import hashlib
import os
import random
import re
import signal
from pathlib import Path

import pytest

from orchestrator.recovery.archive import Archive
from orchestrator.recovery.restore import restore
from tests.lab.cluster import N1, N2, Cluster
from tests.lab.test_save import copy_of, gi, image_of

pytestmark = pytest.mark.timeout(1200)  # on a busy machine everything that is read twice takes its time

VICTIM, SURVIVOR = N2, N1
KILLS = int(os.environ.get("RECOVER_KILLS", "1"))
"""Random moments at which the recovery is killed."""
LONG = 400.0
"""Seconds a recovery may take before the test gives up: everything is read twice, on nodes that may share their cores with others."""


WRITES = {
    # node: runs of 4 KiB blocks that it writes alone; block 5 is written by both
    N1: ((0, 1), (5, 1), (300, 40)),
    N2: ((5, 1), (63, 2), (777, 1), (2000, 900), (9000, 1)),
}


def split(cluster: Cluster) -> None:
    """Both Primaries cut off, each writes; healed: StandAlone and StandAlone."""
    cluster.lab.cut(N2, "repl")
    cluster.until(lambda: all("cs:Connected" not in cluster.proc(node) for node in (N1, N2)), "both notice", 60)
    for node, runs in WRITES.items():
        cluster.sh(node, "\n".join(f"dd if=/dev/urandom of=/dev/drbd1 bs=4096 count={count} seek={first} conv=notrunc,fsync 2>/dev/null"
                                   for first, count in runs))
    cluster.lab.heal(N2)
    cluster.until(lambda: all("cs:StandAlone" in cluster.proc(node) for node in (N1, N2)), "both give up", 60)


@pytest.fixture
def torn(pair: Cluster) -> Cluster:
    """Both Primaries wrote alone, both StandAlone, the link whole again."""
    split(pair)
    return pair


def shown(cluster: Cluster) -> str:
    """What --plan says, as JSON; it changes nothing."""
    before = [gi(cluster, node) for node in (N1, N2)]
    said = cluster.run("recover-splitbrain", "r0", "--plan", "--json")
    assert said.code == 10, said
    assert [gi(cluster, node) for node in (N1, N2)] == before
    (found,) = said.json()
    assert found["split_brain"]
    assert found["common_ancestor"]
    assert found["harmless_victim"] is None
    assert {side["node"]: side["changed_kib"] > 0 for side in found["sides"]} == {N1: True, N2: True}
    token: str = found["token"]
    return token


def archive_in(tmp_path: Path) -> Path:
    """The one archive; the report of the recovery is beside it."""
    (folder,) = (path for path in (tmp_path / "archives").iterdir() if path.is_dir())
    assert folder.with_name(f"{folder.name}.report.txt").exists()
    return folder


def discards(cluster: Cluster) -> list[tuple[str, str, str]]:
    return [claim for claim in cluster.claims() if claim[1] == "discard-changes"]


def same_disks(cluster: Cluster, size: int) -> str:
    """sha256 of both sides' data, once it is the same."""
    sums = {node: image_of(cluster, node, size) for node in (N1, N2)}
    assert sums[N1] == sums[N2]
    return sums[N1]


def test_evidence_consent_archive_and_the_pair_whole_again(torn: Cluster, tmp_path: Path) -> None:
    assert torn.state()["state"] == "SplitBrain"
    refused = torn.run("up")
    assert (refused.code, "SplitBrain" in refused.err) == (3, True)
    for words, why in (((), "both sides may have changes"), (("--victim", VICTIM), "nobody has seen yet"),
                       (("--victim", VICTIM, "--shown", "0123456789"), "is void")):
        said = torn.run("recover-splitbrain", "r0", *words)
        assert (said.code, why in said.err) == (3, True), said
    assert torn.run("recover-splitbrain", "r0", "--victim", "nobody").code == 2
    token = shown(torn)
    size = int(torn.sh(N1, "cat /sys/class/block/drbd1/size")) * 512
    kept, lost = (image_of(torn, node, size) for node in (SURVIVOR, VICTIM))
    base = tmp_path / "base.img"
    copy_of(torn, SURVIVOR, "/dev/drbd1", base)
    said = torn.run("recover-splitbrain", "r0", "--victim", VICTIM, "--shown", token, "--archive", str(tmp_path / "archives"), timeout=LONG)
    assert said.code == 0, said.err
    torn.assert_dual_primary()
    assert same_disks(torn, size) == kept
    assert discards(torn) == [(VICTIM, "discard-changes", "0")]
    assert torn.sh(N1, "ls /var/lib/orchestrate/recovery") == "" == torn.sh(N2, "ls /var/lib/orchestrate/recovery")
    folder = archive_in(tmp_path)
    assert restore(Archive.open(folder), base, lambda *_: None)
    assert hashlib.sha256(base.read_bytes()).hexdigest() == lost, "the victim's image, byte for byte"
    again = torn.run("recover-splitbrain", "r0")
    assert (again.code, "not split brain" in again.err) == (3, True)


def test_a_blip_between_two_idle_primaries_needs_no_hand(pair: Cluster) -> None:
    """8.4 rotates both identifiers when the link goes, written or not: nothing is discarded, and nobody is asked."""
    pair.sh(N1, "head -c 1048576 /dev/urandom | dd of=/dev/drbd1 bs=4k seek=100 conv=fsync 2>/dev/null")
    size = int(pair.sh(N1, "cat /sys/class/block/drbd1/size")) * 512
    before = same_disks(pair, size)
    pair.lab.cut(N2, "repl")
    pair.until(lambda: all("cs:Connected" not in pair.proc(node) for node in (N1, N2)), "both notice", 40)
    pair.lab.heal(N2)
    pair.until(lambda: all("cs:StandAlone" in pair.proc(node) for node in (N1, N2)), "both give up", 40)
    said = pair.run("recover-splitbrain", "--all", timeout=LONG)
    assert said.code == 0, said.err
    pair.assert_dual_primary()
    assert same_disks(pair, size) == before
    assert len(discards(pair)) == 1


@pytest.mark.long
def test_recovered_before_the_link_is_healed(pair: Cluster, tmp_path: Path) -> None:
    """Both still wait for each other. The victim is saved and waits, flagged; with the cable back the pair is whole."""
    pair.lab.cut(N2, "repl")
    pair.until(lambda: all("cs:Connected" not in pair.proc(node) for node in (N1, N2)), "both notice", 60)
    for node, runs in WRITES.items():
        pair.sh(node, "\n".join(f"dd if=/dev/urandom of=/dev/drbd1 bs=4096 count={count} seek={first} conv=notrunc,fsync 2>/dev/null"
                                for first, count in runs))
    size = int(pair.sh(N1, "cat /sys/class/block/drbd1/size")) * 512
    kept, lost = (image_of(pair, node, size) for node in (SURVIVOR, VICTIM))
    token = shown(pair)
    archives = ("--archive", str(tmp_path / "archives"))
    said = pair.run("recover-splitbrain", "r0", "--victim", VICTIM, "--shown", token, *archives, timeout=LONG)
    assert (said.code, "Connecting" in said.err) == (5, True), said  # it waited for the cable as long as it may
    pair.lab.heal(N2)
    said = pair.run("recover-splitbrain", "r0", *archives, timeout=LONG)
    assert said.code == 0, said.err
    pair.assert_dual_primary()
    assert same_disks(pair, size) == kept
    assert len(discards(pair)) == 1
    folder = archive_in(tmp_path)
    assert Archive.open(folder).manifest.image_sha256 == lost


def test_a_victim_that_lost_its_power_is_saved_before_anything_connects_it(torn: Cluster, tmp_path: Path) -> None:
    size = int(torn.sh(N1, "cat /sys/class/block/drbd1/size")) * 512
    lost = image_of(torn, VICTIM, size)
    torn.lab.power_off(VICTIM)
    torn.lab.power_on(VICTIM)
    for words in (("up",), ("status",)):
        said = torn.run(*words)
        assert said.code == (3 if words == ("up",) else 0), said
    assert torn.state()["state"] == "SplitBrain"
    assert image_of(torn, VICTIM, size) == lost
    token = shown(torn)
    said = torn.run("recover-splitbrain", "r0", "--victim", VICTIM, "--shown", token, "--archive", str(tmp_path / "archives"), timeout=LONG)
    assert said.code == 0, said.err
    torn.assert_dual_primary()
    folder = archive_in(tmp_path)
    manifest = Archive.open(folder).manifest
    assert manifest.image_sha256 == lost
    print(f"own {manifest.victim.extents.kib} KiB, of which the activity log added {manifest.victim.inflated}")


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(KILLS))
def test_killed_at_any_moment_it_goes_on(torn: Cluster, tmp_path: Path, seed: int) -> None:
    size = int(torn.sh(N1, "cat /sys/class/block/drbd1/size")) * 512
    kept, lost = (image_of(torn, node, size) for node in (SURVIVOR, VICTIM))
    token = shown(torn)
    archives = ("--archive", str(tmp_path / "archives"))
    process = torn.start("recover-splitbrain", "r0", "--victim", VICTIM, "--shown", token, *archives)
    lines = random.Random(seed).randint(1, 14)
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line.rstrip())
        if len(seen) >= lines:
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    print(f"killed after {len(seen)} lines: {seen[-1:]}")
    if seed % 2:
        torn.machine = "two"  # another machine, with an empty journal
    said = torn.run("recover-splitbrain", "r0", *archives, timeout=LONG)
    if said.code == 3:  # nothing was written down on the nodes yet
        said = torn.run("recover-splitbrain", "r0", "--victim", VICTIM, "--shown", shown(torn), *archives, timeout=LONG)
    assert said.code == 0, said
    torn.assert_dual_primary()
    assert same_disks(torn, size) == kept
    assert len(discards(torn)) == 1, discards(torn)
    found = [path for path in (tmp_path / "archives").iterdir() if path.is_dir() and not re.search(r"\.partial$", path.name)]
    assert [Archive.open(path).manifest.image_sha256 for path in found] == [lost]
