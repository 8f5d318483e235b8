"""The victim's blocks saved on real kernels: byte for byte, with the survivor serving, at the disk's and the link's own speed."""

from __future__ import annotations

import hashlib
import subprocess
import time
from pathlib import Path

import anyio
import pytest

from orchestrator.cli.common import reaching
from orchestrator.config import load
from orchestrator.recovery.archive import Archive
from orchestrator.recovery.extents import Extents
from orchestrator.recovery.manifest import Manifest
from orchestrator.recovery.restore import restore
from orchestrator.recovery.save import SaveRequest, save
from orchestrator.watch import Silent
from tests.lab.cluster import DISK, N1, N2, Cluster

VICTIM, SURVIVOR = N2, N1
SIZE = "$(($(cat /sys/class/block/drbd1/size) * 512))"
SLOW = pytest.mark.timeout(900)


def gi(cluster: Cluster, node: str) -> str:
    """As the look has it: four words, no flags."""
    script = "drbdsetup get-gi 1 2>/dev/null || /lib/drbd/drbdsetup-84 get-gi 1 2>/dev/null || drbdmeta - v08 /dev/ubdb internal get-gi"
    return ":".join(cluster.sh(node, script).strip().split("\n")[-1].split(":")[:4])


def split(cluster: Cluster) -> None:
    """Both Primaries cut off, each writes blocks of its own and one that both write; healed: StandAlone and StandAlone."""
    cluster.lab.cut(N2, "repl")
    cluster.until(lambda: all("cs:Connected" not in cluster.proc(node) for node in (N1, N2)), "both notice", 40)
    seeks = {N1: (0, 5, 130, *range(300, 340)), N2: (5, 8, 63, 64, 777, *range(1000, 1100), *range(2000, 6000, 3))}
    for node, places in seeks.items():
        cluster.sh(node, "head -c 4096 /dev/urandom >/run/one\n" + "\n".join(
            f"{{ printf '%s {place} ' {node}; cat /run/one; }} | head -c 4096 |"
            f" dd of=/dev/drbd1 bs=4096 seek={place} conv=notrunc,nocreat 2>/dev/null" for place in places) + "\nsync /dev/drbd1")
    cluster.sh(N2, "head -c 25165824 /dev/urandom | dd of=/dev/drbd1 bs=1M seek=64 conv=fsync 2>/dev/null")
    cluster.lab.heal(N2)
    cluster.until(lambda: all("cs:StandAlone" in cluster.proc(node) for node in (N1, N2)), "both give up", 40)


@pytest.fixture
def torn(pair: Cluster) -> Cluster:
    """A split brain; the victim's DRBD is down, the survivor is Primary."""
    split(pair)
    pair.sh(VICTIM, "drbdadm secondary r0; drbdadm disconnect r0; drbdadm down r0")
    assert pair.proc(VICTIM) == ""
    return pair


def request(cluster: Cluster) -> SaveRequest:
    return SaveRequest("r0", 1, VICTIM, SURVIVOR, DISK, DISK, gi(cluster, VICTIM), gi(cluster, SURVIVOR))


def image_of(cluster: Cluster, node: str, size: int) -> str:
    """sha256 of the first `size` bytes of a node's backing disk, read by the node itself."""
    return cluster.sh(node, f"dd if={DISK} bs=1M iflag=direct 2>/dev/null | head -c {size} | sha256sum").split()[0]


def copy_of(cluster: Cluster, node: str, device: str, into: Path) -> None:
    argv = cluster.lab.ssh_argv(node)
    with into.open("wb") as file:
        subprocess.run([*argv, f"dd if={device} bs=1M iflag=direct 2>/dev/null"], stdout=file, check=True, timeout=120)


def on(cluster: Cluster, call: object) -> object:
    """Run `call(remote)` against the lab's nodes."""
    async def inside() -> object:
        async with reaching(load(cluster.config()), compare=False) as remote:
            return await call(remote)  # type: ignore[operator]

    return anyio.run(inside)


def nothing_left(cluster: Cluster) -> None:
    for said in cluster.both("dmsetup ls; ls /run/orchestrate 2>/dev/null | grep -v lock; iptables-legacy -S | grep flush").values():
        assert said.replace("No devices found", "").strip() in ("", "dump-r0.code\ndump-r0.gz\ndump-r0.said"), said


def saved(cluster: Cluster, wanted: SaveRequest, into: Path) -> Manifest:
    made = on(cluster, lambda remote: save(remote, wanted, into, Silent()))
    assert isinstance(made, Manifest)
    return made


def test_saved_discarded_and_brought_back_byte_for_byte(torn: Cluster, tmp_path: Path) -> None:
    wanted, into = request(torn), tmp_path / "r0"
    kernel = torn.sh(SURVIVOR, "sed -n 's/.*oos://p' /proc/drbd").strip()
    began = time.monotonic()
    made = saved(torn, wanted, into)
    print(f"save: {made.length / 2**20:.1f} MiB in {len(made.saved.runs)} runs, {time.monotonic() - began:.1f} s with all verification")
    assert not into.with_name("r0.partial").exists()
    nothing_left(torn)
    assert f"{made.survivor.extents.kib}" == kernel
    assert made.survivor.extents == Extents.of([(0, 1), (5, 1), (130, 1), (300, 40)])
    assert made.victim.extents >= Extents.of([(5, 1), (8, 1), (63, 2), (777, 1), (1000, 100), (16384, 6144)])
    assert made.victim.inflated == 0
    assert gi(torn, SURVIVOR) == wanted.survivor_identifiers
    assert "cs:StandAlone ro:Primary" in torn.proc(SURVIVOR)
    assert made.image_sha256 == image_of(torn, VICTIM, made.size)
    base = tmp_path / "base.img"
    copy_of(torn, SURVIVOR, "/dev/drbd1", base)
    # the discard, by hand
    torn.sh(VICTIM, "s=/lib/drbd/drbdsetup-84; $s new-resource r0; $s new-minor r0 1 0; drbdadm attach r0;"
                    " drbdadm -- --discard-my-data connect r0 || drbdadm connect --discard-my-data r0")
    torn.sh(SURVIVOR, "drbdadm connect r0")
    torn.until(lambda: "cs:Connected ro:Secondary/Primary ds:UpToDate/UpToDate" in torn.proc(VICTIM), "resynced", 60)
    now = image_of(torn, VICTIM, made.size)
    assert now == hashlib.sha256(base.read_bytes()).hexdigest() != made.image_sha256, "the victim's blocks are gone from the nodes"
    # and back
    assert restore(Archive.open(into), base, lambda *_: None)
    assert hashlib.sha256(base.read_bytes()).hexdigest() == made.image_sha256
    assert not restore(Archive.open(into), base, lambda *_: None), "it was the image already"
