"""The victim's blocks saved on real kernels: byte for byte, with the survivor serving, at the disk's and the link's own speed."""

from __future__ import annotations

import hashlib
import subprocess
import time
from functools import partial
from itertools import pairwise
from pathlib import Path

import anyio
import pytest
from attrs import evolve

from orchestrator.cli.common import reaching
from orchestrator.config import load
from orchestrator.errors import OrchestrateError, RefusedError
from orchestrator.recovery.archive import Archive, SaveFailedError
from orchestrator.recovery.extents import Extents
from orchestrator.recovery.manifest import Changed, Manifest
from orchestrator.recovery.restore import restore
from orchestrator.recovery.save import SaveRequest, save, survivor_extents, victim_extents
from orchestrator.remote import Remote
from orchestrator.watch import Silent
from states.progress import Progress
from tests.lab.cluster import DISK, N1, N2, Cluster

VICTIM, SURVIVOR = N2, N1


def gi(cluster: Cluster, node: str) -> str:
    """As the look has it: four words, no flags."""
    script = "drbdsetup get-gi 1 2>/dev/null || /lib/drbd/drbdsetup-84 get-gi 1 2>/dev/null || drbdmeta - v08 /dev/ubdb internal get-gi"
    return ":".join(cluster.sh(node, script).strip().split("\n")[-1].split(":")[:4])


def split(cluster: Cluster) -> None:
    """Both Primaries cut off, each writes blocks of its own and one that both write; healed: StandAlone and StandAlone."""
    cluster.lab.cut(N2, "repl")
    cluster.until(lambda: all("cs:Connected" not in cluster.proc(node) for node in (N1, N2)), "both notice", 40)
    seeks = {N1: (0, 5, 130, *range(300, 340)), N2: (5, 8, 63, 64, 777, *range(1000, 1100), *range(2000, 2090, 3))}
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
            return await call(remote)  # type: ignore[operator]  # each caller knows what its call gives

    return anyio.run(inside)


def nothing_left(cluster: Cluster) -> None:
    script = "dmsetup ls; losetup -a; ls /run/orchestrate 2>/dev/null | grep -v lock; iptables-legacy -S | grep flush"
    for said in cluster.both(script).values():
        words = [word for word in said.replace("No devices found", "").split() if not word.startswith(("dump-r0.", "flush-r0.said"))]
        assert not words, said


def saved(cluster: Cluster, wanted: SaveRequest, into: Path) -> Manifest:
    made = on(cluster, lambda remote: save(remote, wanted, into, Silent()))
    assert isinstance(made, Manifest)
    return made


def test_saved_discarded_and_brought_back_byte_for_byte(torn: Cluster, tmp_path: Path) -> None:
    wanted, into = evolve(request(torn), compare=True), tmp_path / "r0"
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
    assert made.survivor_base_sha256 == made.base_sha256, "the two bitmaps are all that differs"
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


@pytest.mark.long
def test_broken_off_it_goes_on_and_leaves_nothing_on_the_node(torn: Cluster, tmp_path: Path) -> None:
    class Breaks(Silent):
        def progress(self, resource: str, progress: Progress) -> None:
            if "saving" in resource and progress.percent > 40:
                raise InterruptedError(resource)

    wanted, into = request(torn), tmp_path / "r0"
    with pytest.raises(InterruptedError):
        on(torn, lambda remote: save(remote, wanted, into, Breaks()))
    torn.until(lambda: "save" not in torn.sh(VICTIM, "dmsetup ls; dmsetup info -c"), "the view is gone with its reader", 20)
    assert not into.exists()
    blocks = into.with_name("r0.partial") / "blocks"
    before = {path.name: path.stat().st_mtime_ns for path in blocks.glob("*.z")}
    assert before
    torn.sh(SURVIVOR, "true")
    made = saved(torn, wanted, into)
    after = {path.name: path.stat().st_mtime_ns for path in (into / "blocks").glob("*.z")}
    assert {name: after[name] for name in before} == before, "what was there was not read again"
    assert len(after) > len(before)
    Archive.open(into).verify(lambda _: None)
    assert saved(torn, wanted, into) == made, "it was complete"
    assert made.image_sha256 == image_of(torn, VICTIM, made.size)
    nothing_left(torn)


@pytest.mark.long
def test_it_saves_only_what_it_was_told_of(torn: Cluster, tmp_path: Path) -> None:
    wanted, into = request(torn), tmp_path / "r0"

    def refused(changed: SaveRequest, *words: str) -> None:
        with pytest.raises(RefusedError) as told:
            saved(torn, changed, into)
        assert told.value.refused.rule == "save-before-discard"
        assert all(word in str(told.value) for word in words), told.value

    refused(evolve(wanted, victim_identifiers=wanted.survivor_identifiers), "identifiers are")
    refused(evolve(wanted, survivor_identifiers=wanted.victim_identifiers), "identifiers are")
    torn.sh(VICTIM, f"echo 0 2048 linear {DISK} 0 | dmsetup create --readonly somebody")
    refused(wanted, f"{DISK} is in use by dm-0")
    torn.sh(VICTIM, "dmsetup remove somebody; s=/lib/drbd/drbdsetup-84; $s new-resource r0; $s new-minor r0 1 0; drbdadm attach r0")
    refused(wanted, "r0 is StandAlone here")
    torn.sh(VICTIM, "drbdadm down r0")
    into.mkdir()
    (into / "manifest.json").write_text("{}")
    with pytest.raises(OrchestrateError, match="not a manifest of ours"):
        saved(torn, wanted, into)
    assert gi(torn, SURVIVOR) == wanted.survivor_identifiers
    nothing_left(torn)


def test_a_survivor_that_serves_stands_still_only_for_a_moment(pair: Cluster) -> None:
    """ext4 on the survivor, something written to it all the time; chmod sits in the journal until the freeze."""
    pair.sh(SURVIVOR, "mkfs.ext4 -q /dev/drbd1; mkdir -p /srv/x; mount /dev/drbd1 /srv/x; echo a >/srv/x/kept; sync")
    try:
        split_under(pair)
        wanted = evolve(request(pair), mount="/srv/x")
        pair.sh(SURVIVOR, "cd /srv/x; setsid sh -c 'while [ -e /srv/x/kept ]; do read a _ </proc/uptime; echo $a >>tick; done'"
                          " </dev/null >/dev/null 2>&1 &")
        found = on(pair, lambda remote: survivor_extents(remote, wanted))
        assert isinstance(found, Changed)
        assert found.extents
        ticks = [float(line) for line in pair.sh(SURVIVOR, "rm /srv/x/kept; cat /srv/x/tick").split()]
        pause = max(after - before for before, after in pairwise(ticks))
        print(f"flush: {found.extents.blocks} blocks; the longest pause of a writer: {pause:.2f} s")
        assert pause < 10
        assert "cs:StandAlone ro:Primary" in pair.proc(SURVIVOR)
        nothing_left(pair)
    finally:
        pair.sh(SURVIVOR, "cd /; rm -f /srv/x/kept; for n in 1 2 3 4 5 6 7 8 9; do umount /srv/x && break; sleep 0.2; done")


@pytest.mark.long
@pytest.mark.parametrize("moment", ["armed", "port", "frozen", "connecting"])
def test_a_flush_that_is_killed_is_undone_by_its_timer(pair: Cluster, moment: str) -> None:
    """SIGKILL as soon as that has been noted: what is noted has been done, is being done, or never will be."""
    pair.sh(SURVIVOR, "mkfs.ext4 -q /dev/drbd1; mkdir -p /srv/x; mount /dev/drbd1 /srv/x")
    try:
        split_under(pair)
        wanted = evolve(request(pair), mount="/srv/x")
        pair.sh(SURVIVOR, f"setsid sh -c 'until [ -e /run/orchestrate/flush-r0.{moment} ]; do :; done;"
                          " read p </run/orchestrate/flush-r0.armed; kill -9 $p' </dev/null >/dev/null 2>&1 &")
        with pytest.raises(SaveFailedError, match=r"exit 137|signal KILL"):
            on(pair, lambda remote: survivor_extents(remote, wanted))
        pair.until(lambda: "undone" in pair.sh(SURVIVOR, "[ -e /run/orchestrate/flush-r0.armed ] || echo undone"), "the timer", 30)
        pair.sh(SURVIVOR, "timeout 20 sh -c 'echo x >/srv/x/after; sync -f /srv/x'")
        assert pair.sh(SURVIVOR, "cat /srv/x/after").strip() == "x"
        assert "cs:StandAlone ro:Primary" in pair.proc(SURVIVOR)
        assert gi(pair, SURVIVOR) == wanted.survivor_identifiers
        nothing_left(pair)
        found = on(pair, lambda remote: survivor_extents(remote, wanted))
        assert isinstance(found, Changed)
        assert found.extents
    finally:
        pair.sh(SURVIVOR, "fsfreeze -u /srv/x; umount /srv/x")


@pytest.mark.long
def test_a_freeze_that_comes_after_everybody_gave_up_is_undone(pair: Cluster) -> None:
    """The disk stands still, so fsfreeze waits for it in the kernel, where nobody can end it. It freezes when the disk moves again."""
    pair.sh(SURVIVOR, "mkfs.ext4 -q /dev/drbd1; mkdir -p /srv/x; mount /dev/drbd1 /srv/x")
    try:
        split_under(pair)
        wanted = evolve(request(pair), mount="/srv/x")
        pair.sh(SURVIVOR, "echo late >/srv/x/late; drbdadm suspend-io r0")
        with pytest.raises(SaveFailedError, match="did not end in 10 s"):
            on(pair, lambda remote: survivor_extents(remote, wanted))
        assert "fsfreeze" in pair.sh(SURVIVOR, "ps ax")
        pair.sh(SURVIVOR, "drbdadm resume-io r0; flock -w 60 /run/orchestrate/flush-r0.lock true")
        assert "after" in pair.sh(SURVIVOR, "timeout 20 sh -c 'echo after >/srv/x/after; sync -f /srv/x' && cat /srv/x/after")
        assert "cs:StandAlone ro:Primary" in pair.proc(SURVIVOR)
        nothing_left(pair)
        assert isinstance(on(pair, lambda remote: survivor_extents(remote, wanted)), Changed)
    finally:
        pair.sh(SURVIVOR, "drbdadm resume-io r0; fsfreeze -u /srv/x; umount /srv/x")


def split_under(cluster: Cluster) -> None:
    """As `split`, with a file system on the survivor that is mounted; the victim is down."""
    cluster.lab.cut(N2, "repl")
    cluster.until(lambda: all("cs:Connected" not in cluster.proc(node) for node in (N1, N2)), "both notice", 40)
    cluster.sh(SURVIVOR, "head -c 300000 /dev/urandom >/srv/x/mine; sync")
    cluster.sh(VICTIM, "head -c 4096 /dev/urandom | dd of=/dev/drbd1 bs=4096 seek=20000 conv=fsync,nocreat 2>/dev/null")
    cluster.lab.heal(N2)
    cluster.until(lambda: all("cs:StandAlone" in cluster.proc(node) for node in (N1, N2)), "both give up", 40)
    cluster.sh(VICTIM, "drbdadm secondary r0; drbdadm disconnect r0; drbdadm down r0")


@pytest.mark.long
def test_after_a_power_cut_more_is_marked_and_it_is_said(pair: Cluster) -> None:
    split(pair)
    pair.sh(VICTIM, "printf late | dd of=/dev/drbd1 bs=4096 seek=25000 conv=fsync 2>/dev/null")
    wanted = request(pair)
    pair.lab.power_off(VICTIM)
    pair.lab.power_on(VICTIM)
    assert pair.proc(VICTIM) == ""
    for _ in range(2):  # said the second time, too
        found = on(pair, lambda remote: victim_extents(remote, wanted))
        assert isinstance(found, Changed)
        assert found.inflated > 1024
        assert 25000 in found.extents


@pytest.mark.long
def test_our_own_view_of_a_disk_is_not_somebody_who_has_it(torn: Cluster) -> None:
    for option, counts in (("--readonly", False), ("", True)):
        torn.sh(VICTIM, f"echo 0 2048 linear {DISK} 0 | dmsetup create {option} orchestrate-save-r0")
        torn.up(code=3)  # takes the lease: its look keeps what it saw on the node
        assert ("touched" in torn.sh(VICTIM, "ls /var/lib/orchestrate/touched/r0 && echo touched")) == counts
        torn.sh(VICTIM, "dmsetup remove orchestrate-save-r0")


@pytest.mark.long
def test_as_fast_as_dd_over_the_same_link(torn: Cluster, tmp_path: Path) -> None:
    wanted = request(torn)
    shares = []
    for attempt in range(3):
        victim = on(torn, lambda remote: victim_extents(remote, wanted))
        assert isinstance(victim, Changed)
        table = "".join(f"{at} {count * 8} linear {DISK} {first * 8}\n" for at, first, count in placed(victim.extents))
        torn.sh(VICTIM, f"dmsetup create --readonly plain <<'END'\n{table}END")
        began = time.monotonic()
        argv = [*torn.lab.ssh_argv(VICTIM), "dd if=/dev/mapper/plain bs=1M iflag=direct 2>/dev/null"]
        plain = subprocess.run([*argv], stdout=(tmp_path / "plain").open("wb"), check=True, timeout=120)
        plain_took = time.monotonic() - began
        assert plain.returncode == 0
        torn.sh(VICTIM, "dmsetup remove plain")
        clock = Clock()
        into = tmp_path / f"r0-{attempt}"
        on(torn, partial(save_with, wanted, into, clock))
        size = (tmp_path / "plain").stat().st_size / 2**20
        shares.append(plain_took / clock.streaming)
        print(f"{size:.0f} MiB: plain dd over ssh {plain_took:.2f} s, our stream {clock.streaming:.2f} s: share {shares[-1]:.2f}; "
              f"whole save {clock.total:.1f} s")
    assert max(shares) > 0.5


def placed(found: Extents) -> list[tuple[int, int, int]]:
    rows, at = [], 0
    for first, count in found.runs:
        rows.append((at, first, count))
        at += count * 8
    return rows


class Clock(Silent):
    """How long the streaming took, and all of it."""

    def __init__(self) -> None:
        self.began = self.last = 0.0
        self.total = 0.0

    def progress(self, resource: str, progress: Progress) -> None:
        if "saving" in resource:
            self.last = time.monotonic()

    def note(self, text: str) -> None:
        if "saving" in text:
            self.began = time.monotonic()

    @property
    def streaming(self) -> float:
        return self.last - self.began


async def save_with(wanted: SaveRequest, into: Path, clock: Clock, remote: Remote) -> None:
    began = time.monotonic()
    await save(remote, wanted, into, clock)
    clock.total = time.monotonic() - began
