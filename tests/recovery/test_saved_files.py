"""Files packed by the far side's own script, with the tools of this machine, and taken out again."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator.cli.extract import extract
from orchestrator.errors import StepFailedError
from orchestrator.recovery import saved_files, site
from orchestrator.recovery.saved_files import LIST, TAR, NoSuchFileError, SavedFiles, take_all, take_one
from orchestrator.recovery.tree import unpack

NAMES = ("vg/lv/a b", "vg/lv/new\nline", "vg/lv/back\\slash\\n", "vg/lv/-n", "vg/lv/ü", os.fsdecode(b"vg/lv/\xff"), "vg/lv/sub/empty",
         "vg/lv/sparse", "vg/lv/hard", "vg/other/a b", "vg/other/only")


def far(room: Path, call: str, stdin: bytes = b"") -> bytes:
    """A function of `files.sh`, here."""
    script = f"{site.SCRIPT}\nROOM={room}\n{call}"
    return subprocess.run(["sh", "-c", script], input=stdin, stdout=subprocess.PIPE, check=True, timeout=60).stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An archive's folder with what was saved of a view that is a plain folder here."""
    mnt = tmp_path / "room" / "view-r0" / "mnt"
    for number, name in enumerate(NAMES):
        (mnt / name).parent.mkdir(parents=True, exist_ok=True)
        (mnt / name).write_bytes(name.encode(errors="surrogateescape") * number * 100)
    (mnt / "vg/lv/sub/empty").write_bytes(b"")
    os.truncate(mnt / "vg/lv/sparse", 5 << 20)
    (mnt / "vg/lv/hard").unlink()
    (mnt / "vg/lv/hard").hardlink_to(mnt / "vg/lv/sparse")
    (mnt / "vg/lv/not chosen").write_bytes(b"no")
    (mnt / "vg/lv/link").symlink_to("/nowhere")
    everything = [*NAMES, "vg/lv/link", "vg/lv/sub"]

    def keep(names: list[str]) -> None:
        far(tmp_path / "room", "keep_names r0", b"".join(os.fsencode(f"./{name}") + b"\0" for name in names))

    keep(list(NAMES))
    sums = dict(zip(NAMES, unpack(far(tmp_path / "room", "sums r0 30")).decode().split(), strict=True))
    keep(everything)
    archive = tmp_path / "archive"
    archive.mkdir()
    (archive / TAR).write_bytes(far(tmp_path / "room", "pack r0"))
    (archive / LIST).write_text(json.dumps({"names": everything, "sha256": sums}))
    return archive


def test_what_arrives_is_what_was_there(folder: Path) -> None:
    saved = SavedFiles.read(folder)
    assert saved_files._sums_of(saved.tar) == saved.sums
    assert len(saved.sums) == len(NAMES)


def test_everything_comes_out(folder: Path, tmp_path: Path) -> None:
    to = tmp_path / "out"
    assert take_all(SavedFiles.read(folder), to) == len(NAMES) + 2
    source = tmp_path / "room" / "view-r0" / "mnt"
    for name in NAMES:
        assert (to / name).read_bytes() == (source / name).read_bytes()
    assert (to / "vg/lv/link").readlink() == Path("/nowhere")
    assert not (to / "vg/lv/not chosen").exists()
    with pytest.raises(NoSuchFileError, match="not an empty folder"):
        take_all(SavedFiles.read(folder), to)


@pytest.mark.parametrize(("asked", "name"), [("vg/lv/a b", "vg/lv/a b"), ("only", "vg/other/only"), ("new\nline", "vg/lv/new\nline"),
                                             ("/sub/empty", "vg/lv/sub/empty"), ("hard", "vg/lv/hard")])
def test_one_file_by_its_path(folder: Path, tmp_path: Path, asked: str, name: str) -> None:
    to = tmp_path / "one"
    take_one(SavedFiles.read(folder), asked, to)
    assert to.read_bytes() == (tmp_path / "room" / "view-r0" / "mnt" / name).read_bytes()


@pytest.mark.parametrize(("asked", "words"), [("a b", "more than once"), ("not chosen", "not among"), ("link", "no regular file"),
                                              ("empty", "not among")])
def test_what_cannot_be_had_is_said(folder: Path, tmp_path: Path, asked: str, words: str) -> None:
    with pytest.raises(NoSuchFileError, match=words):
        take_one(SavedFiles.read(folder), asked, tmp_path / "one")
    assert not (tmp_path / "one").exists()


def test_nothing_is_written_over_and_no_other_bytes_are_passed_on(folder: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("mine")
    with pytest.raises(NoSuchFileError, match="there already"):
        take_one(SavedFiles.read(folder), "only", there)
    assert there.read_text() == "mine"
    document = json.loads((folder / LIST).read_text())
    document["sha256"]["vg/other/only"] = "0" * 64
    (folder / LIST).write_text(json.dumps(document))
    with pytest.raises(StepFailedError, match="damaged"):
        take_one(SavedFiles.read(folder), "only", tmp_path / "one")
    assert not (tmp_path / "one").exists()


@pytest.mark.parametrize("cut", [1, 100, 3000])
def test_a_damaged_archive_is_said_to_be_one(folder: Path, tmp_path: Path, cut: int) -> None:
    (folder / TAR).write_bytes((folder / TAR).read_bytes()[:-cut])
    with pytest.raises(StepFailedError, match="damaged"):
        saved_files._sums_of(folder / TAR)
    with pytest.raises(StepFailedError, match="damaged"):
        take_all(SavedFiles.read(folder), tmp_path / "out")


def test_the_command(folder: Path, tmp_path: Path) -> None:
    said = CliRunner().invoke(extract, [str(folder), "--file", "only", "--to", str(tmp_path / "one")], standalone_mode=False)
    assert (said.return_value, said.output) == (0, f"{tmp_path / 'one'}\n")
    assert CliRunner().invoke(extract, [str(folder)]).exit_code == 2
    assert CliRunner().invoke(extract, [str(folder), "--all"]).exit_code == 2
    said = CliRunner().invoke(extract, [str(folder), "--all", "--to", str(tmp_path / "out")], standalone_mode=False)
    assert said.output == f"{len(NAMES) + 2} names below {tmp_path / 'out'}\n"


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside", "vg/lv/../../../outside", "link/outside"])
def test_nothing_is_taken_out_of_the_folder(tmp_path: Path, name: str) -> None:
    """An archive that somebody else made: on every Python, also those whose tarfile does not look after it."""
    packed = tmp_path / "files.tar.gz"
    with tarfile.open(packed, "w:gz") as tar:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, ".."
        tar.addfile(link)
        tar.addfile(tarfile.TarInfo(name))
    with pytest.raises(StepFailedError, match="leads out of the folder"):
        take_all(SavedFiles(packed, (name,), {}), tmp_path / "out" / "in")
    assert not (tmp_path / "outside").exists()
    assert not (tmp_path / "out" / "outside").exists()
