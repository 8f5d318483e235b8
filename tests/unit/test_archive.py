"""An archive on this machine: made, broken off, damaged, brought back. The disks are files; the blocks of the victim are known."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path
from random import Random

import pytest
from attrs import evolve, frozen
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.cli import cli
from orchestrator.errors import ConfigError, RefusedError, StepFailedError
from orchestrator.recovery import archive as module
from orchestrator.recovery.archive import Archive, Partial, SaveFailedError
from orchestrator.recovery.extents import BLOCK, Extents
from orchestrator.recovery.manifest import Changed, DamagedArchiveError, Manifest
from orchestrator.recovery.request import SaveRequest
from orchestrator.recovery.restore import restore

ONE, TWO = "0000000000000001:0000000000000002:0000000000000003:0000000000000004", "000000000000000A:0000000000000002:0:0"
REQUEST = SaveRequest("r0", 1, "nas02", "nas01", "/dev/vdb", "/dev/vdb", ONE, TWO)


def silent(*_: object) -> None:
    """Nobody looks."""


@frozen
class Split:
    """Two images that differ in the union of what both changed."""

    victim: bytes
    survivor: bytes
    own: Extents
    theirs: Extents

    @property
    def sides(self) -> tuple[Changed, Changed]:
        size = len(self.victim)
        return Changed("nas02", ONE, self.own, size, 12, "drbd 8.4.11"), Changed("nas01", TWO, self.theirs, size)

    @property
    def saved(self) -> Extents:
        return self.own | self.theirs


def split(seed: int = 0, size: int = 300 * BLOCK + 1536, chance: float = 0.2) -> Split:
    """A size that is no whole number of blocks: the last one is cut short."""
    dice = Random(seed)
    base = bytearray(dice.randbytes(size))
    images, changed = [], []
    for _ in range(2):
        image, blocks = bytearray(base), [block for block in range(-(-size // BLOCK)) if dice.random() < chance]
        for block in blocks:
            end = min(size, (block + 1) * BLOCK)
            image[block * BLOCK : end] = dice.randbytes(end - block * BLOCK) if dice.random() < 0.5 else bytes(end - block * BLOCK)
        images.append(bytes(image))
        changed.append(Extents.of((block, 1) for block in blocks))
    return Split(images[0], images[1], changed[0], changed[1])


def cut(image: bytes, extents: Extents) -> bytes:
    return b"".join(image[offset : offset + length] for offset, length in extents.spans(len(image)))


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def begin(into: Path, torn: Split) -> Partial:
    return Partial.open(into, REQUEST, torn.sides, torn.saved)


def manifest_of(torn: Split, partial: Partial) -> Manifest:
    saved = torn.saved
    rest = Extents.whole(len(torn.victim)) - saved
    return Manifest("r0", *torn.sides, len(torn.victim), saved, partial.chunk_size, partial.chunks(), digest(cut(torn.victim, saved)),
                    digest(cut(torn.victim, rest)), digest(torn.victim), 1.0, 2.0, 3.0)


def put_all(partial: Partial, torn: Split) -> None:
    data = cut(torn.victim, torn.saved)
    for number in partial.missing():
        partial.put(number, data[number * partial.chunk_size :][: partial.length_of(number)])


def made(into: Path, torn: Split) -> Archive:
    partial = begin(into, torn)
    put_all(partial, torn)
    partial.finish(manifest_of(torn, partial))
    return Archive.open(into)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 16 * BLOCK)


# -- making ------------------------------------------------------------------------------------------------------------

@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 1000), st.integers(1, 40 * BLOCK), st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_any_split_is_brought_back(tmp_path_factory: pytest.TempPathFactory, seed: int, sectors: int, chance: float) -> None:
    folder = tmp_path_factory.mktemp("split")
    torn = split(seed, max(1, sectors // 512) * 512, chance)
    archive = made(folder / "r0", torn)
    archive.verify(silent)
    target = folder / "image"
    target.write_bytes(torn.survivor + b"metadata behind it")
    assert restore(archive, target, silent) == (torn.victim != torn.survivor)
    assert target.read_bytes() == torn.victim + b"metadata behind it"
    assert not restore(archive, target, silent)
    assert Manifest.from_json(archive.manifest.to_json()) == archive.manifest


def test_it_has_its_name_only_when_it_is_finished(tmp_path: Path) -> None:
    torn, into = split(), tmp_path / "deep" / "r0"
    partial = begin(into, torn)
    put_all(partial, torn)
    assert partial.sha256() == digest(cut(torn.victim, torn.saved))
    assert not into.exists()
    with pytest.raises(DamagedArchiveError, match="never finished"):
        Archive.open(partial.folder)
    partial.finish(manifest_of(torn, partial))
    assert sorted(path.name for path in into.iterdir()) == ["blocks", "manifest.json"]
    assert not partial.folder.exists()


def test_what_is_there_and_right_is_not_read_again(tmp_path: Path) -> None:
    torn, into = split(), tmp_path / "r0"
    first = begin(into, torn)
    data = cut(torn.victim, torn.saved)
    assert first.count > 4
    for number in (0, 1, 3):
        first.put(number, data[number * first.chunk_size :][: first.length_of(number)])
    (first.folder / "blocks" / "000001.z").write_bytes(b"damaged")
    with (first.folder / "sums").open("a") as sums:
        sums.write("2 65536 abc")  # torn by a power cut
    again = begin(into, torn)
    assert again.missing() == [number for number in range(again.count) if number not in (0, 3)]
    put_all(again, torn)
    again.finish(manifest_of(torn, again))
    Archive.open(into).verify(silent)


@pytest.mark.parametrize("what", ["identifiers", "blocks", "victim"])
def test_what_is_there_of_another_split_is_of_no_use(tmp_path: Path, what: str) -> None:
    torn, into = split(), tmp_path / "r0"
    put_all(begin(into, torn), torn)
    victim, survivor = torn.sides
    other = {
        "identifiers": ((victim, evolve(survivor, identifiers=ONE)), torn.saved),
        "blocks": (torn.sides, torn.saved.coalesced(3)),
        "victim": ((evolve(victim, node="nas03"), survivor), torn.saved),
    }[what]
    assert not Partial.open(into, REQUEST, *other).there


def test_a_complete_one_is_taken_as_it_is_or_is_in_the_way(tmp_path: Path) -> None:
    torn, into = split(), tmp_path / "r0"
    archive = made(into, torn)
    victim, survivor = torn.sides
    wrote_on = evolve(survivor, extents=survivor.extents | Extents.of([(0, 300)]))
    again = Partial.open(into, REQUEST, (victim, wrote_on), victim.extents | wrote_on.extents)
    assert (again.done, again.saved) == (archive.manifest, torn.saved), "the survivor may have gone on writing: the victim has not"
    assert again.sha256() == archive.manifest.data_sha256
    with pytest.raises(RefusedError, match="is of something else"):
        Partial.open(into, REQUEST, (evolve(victim, identifiers=TWO), survivor), torn.saved)


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "r0.partial").mkdir()
    (tmp_path / "r0.partial" / "thesis.txt").write_text("mine")
    with pytest.raises(RefusedError, match="no unfinished archive"):
        begin(tmp_path / "r0", split())
    assert (tmp_path / "r0.partial" / "thesis.txt").read_text() == "mine"


def test_no_room_is_said_before_anything_is_streamed(tmp_path: Path) -> None:
    partial = begin(tmp_path / "r0", split())
    partial.need_room()
    with pytest.raises(RefusedError) as refused:
        evolve(partial, size=1 << 60, saved=Extents.whole(1 << 50), chunk_size=1 << 50).need_room()
    assert refused.value.refused.rule == "save-before-discard"
    assert "are free" in str(refused.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="a disk that is really full has to be mounted, which takes root")
def test_a_disk_that_is_full_half_way_is_said_and_it_goes_on_when_there_is_room(tmp_path: Path) -> None:
    torn, small = split(chance=1.0), tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(small)], check=True)
    try:
        partial = begin(small / "r0", torn)
        with pytest.raises(SaveFailedError, match=r"the disk is full; nothing was discarded; make room"):
            put_all(partial, torn)
        kept = len(partial.there)
        assert 0 < kept < partial.count
        subprocess.run(["mount", "-o", "remount,size=8m", str(small)], check=True)
        again = begin(small / "r0", torn)
        assert len(again.there) == kept
        put_all(again, torn)
        again.finish(manifest_of(torn, again))
        Archive.open(small / "r0").verify(silent)
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_the_changed_files_get_their_place(tmp_path: Path) -> None:
    archive = made(tmp_path / "r0", split())
    archive.with_files({"tar": "files.tar", "count": 2})
    assert Archive.open(tmp_path / "r0").manifest.files == {"tar": "files.tar", "count": 2}


# -- bringing back -----------------------------------------------------------------------------------------------------

def test_another_base_is_refused_and_not_touched(tmp_path: Path) -> None:
    torn, target = split(), tmp_path / "image"
    archive = made(tmp_path / "r0", torn)
    free = (Extents.whole(len(torn.victim)) - torn.saved).runs[0][0] * BLOCK
    wrong = torn.survivor[:free] + bytes([torn.survivor[free] ^ 1]) + torn.survivor[free + 1 :]
    target.write_bytes(wrong)
    with pytest.raises(RefusedError) as refused:
        restore(archive, target, silent)
    assert (refused.value.code, refused.value.refused.rule) == (3, "restore-on-its-base")
    assert "nothing was written" in str(refused.value)
    assert target.read_bytes() == wrong
    target.write_bytes(torn.survivor[:-1])
    with pytest.raises(RefusedError, match="the image has"):
        restore(archive, target, silent)


@pytest.mark.parametrize("seed", range(5))
def test_broken_off_anywhere_and_done_again(tmp_path: Path, seed: int) -> None:
    """What had been written when it was broken off is in the saved blocks only: the base is still the right one."""
    torn, target, dice = split(seed), tmp_path / "image", Random(seed)
    archive = made(tmp_path / "r0", torn)
    target.write_bytes(torn.survivor)
    stop = dice.randrange(archive.manifest.length)

    def broken(what: str, done: int, _: int) -> None:
        if what.startswith("writing") and done > stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore(archive, target, broken)
    assert target.read_bytes() not in (torn.victim, torn.survivor)
    assert restore(archive, target, silent)
    assert target.read_bytes() == torn.victim


def test_a_damaged_archive_writes_nothing(tmp_path: Path) -> None:
    torn, target = split(), tmp_path / "image"
    archive = made(tmp_path / "r0", torn)
    chunk = tmp_path / "r0" / archive.manifest.chunks[-1].file
    target.write_bytes(torn.survivor)
    whole = chunk.read_bytes()
    for damage in (whole[:-5], whole[:30] + bytes([whole[30] ^ 4]) + whole[31:], b""):
        chunk.write_bytes(damage)
        with pytest.raises(DamagedArchiveError, match=chunk.name):
            restore(archive, target, silent)
        assert target.read_bytes() == torn.survivor
    chunk.unlink()
    with pytest.raises(DamagedArchiveError, match="No such file"):
        restore(archive, target, silent)


def test_what_the_image_has_to_be_is_checked_in_the_end(tmp_path: Path) -> None:
    torn, target = split(), tmp_path / "image"
    archive = made(tmp_path / "r0", torn)
    target.write_bytes(torn.survivor)
    with pytest.raises(StepFailedError, match="failing"):
        restore(evolve(archive, manifest=evolve(archive.manifest, image_sha256="0" * 64)), target, silent)


def test_a_target_that_cannot_be_had(tmp_path: Path) -> None:
    archive = made(tmp_path / "r0", split())
    with pytest.raises(ConfigError, match="No such file"):
        restore(archive, tmp_path / "nothing", silent)
    target = tmp_path / "image"
    target.write_bytes(b"x")
    with subprocess.Popen(["flock", str(target), "-c", "echo held; read x"], stdin=-1, stdout=-1) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(RefusedError, match="in use"):
            restore(archive, target, silent)
        other.communicate(b"\n")


@pytest.mark.parametrize("change", [{"format": 2}, {"victim": 5}, {"saved": [[5, 1], [1, 1]]}, {"size": None, "extra": 1}])
def test_a_manifest_that_is_not_one(tmp_path: Path, change: dict[str, object]) -> None:
    made(tmp_path / "r0", split())
    path = tmp_path / "r0" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DamagedArchiveError, match=r"manifest\.json"):
        Archive.open(tmp_path / "r0")


# -- the command line --------------------------------------------------------------------------------------------------

def run(*words: str) -> Result:
    return CliRunner().invoke(cli, ["splitbrain", *words], catch_exceptions=False, standalone_mode=False)


def test_show_and_restore(tmp_path: Path) -> None:
    torn, target = split(), tmp_path / "image"
    archive = made(tmp_path / "r0", torn)
    said = run("show", str(archive.folder), "--verify").output
    for word in ("what nas02 had and nas01 had not", f"{torn.saved.blocks} blocks", "after a crash", "every checksum is right", ONE):
        assert word in said
    shown = json.loads(run("show", str(archive.folder), "--json").output)
    assert shown["union"] == [list(run) for run in torn.saved.runs]
    target.write_bytes(torn.survivor)
    assert f"{target} is r0 as nas02 had it" in run("restore", str(archive.folder), "--to", str(target)).output
    assert target.read_bytes() == torn.victim
    assert "already" in run("restore", str(archive.folder), "--to", str(target)).output
