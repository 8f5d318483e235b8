"""A walk's output becomes entries, whatever the names; where a volume lies, from LVM's own text."""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.recovery import site
from orchestrator.recovery.extents import Extents
from orchestrator.recovery.file_report import unlike
from orchestrator.recovery.lvm import LABEL, MAGIC, LvmError, Segment, parse, read_volumes
from orchestrator.recovery.site import read_mounted, read_table, read_views, volume_of
from orchestrator.recovery.tree import Place, TreeError, read_extents, read_walk, unpack
from tests.unit.strategies import STEADY

ODD = ("a b", "new\nline", "back\\slash\\n", "ü-ñ", "-n",
       "File size of x is 3 (1 block of 512 bytes)\n ext:", " 0: 0.. 0: 5.. 5: 1:", os.fsdecode(b"\xff"))


def walked(tmp_path: Path, folder: Path) -> bytes:
    """What `files.sh` says of a folder of this machine."""
    room = tmp_path / "room"
    script = f"{site.SCRIPT}\nROOM={room}\nwalk r0 0 '{folder}' 60"
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True, timeout=90)
    verdict, _, packed = done.stdout.partition(b"\n")
    assert verdict == b"walked", done.stdout
    return packed


def test_names_may_hold_anything(tmp_path: Path) -> None:
    folder = tmp_path / "tree"
    (folder / "sub folder").mkdir(parents=True)
    for number, name in enumerate(ODD):
        (folder / name).write_bytes(b"x" * (5000 * number))
        (folder / "sub folder" / name).symlink_to("nowhere")
    os.sync()  # a file that is not on disk yet has no blocks
    tree = {one.path: one for one in read_walk(walked(tmp_path, folder), "ext4", Place()).entries}
    assert tree.keys() == {"", "sub folder", *ODD, *(f"sub folder/{name}" for name in ODD)}
    assert all(tree[name].size == 5000 * number for number, name in enumerate(ODD))
    assert {one.kind for one in tree.values()} == {"f", "d", "l"}
    status = (folder / ODD[1]).stat()
    assert (tree[ODD[1]].mtime, tree[ODD[1]].inode) == (status.st_mtime_ns, status.st_ino)


def test_a_folder_that_is_gone_is_said(tmp_path: Path) -> None:
    script = f"{site.SCRIPT}\nROOM={tmp_path}\nwalk r0 0 {tmp_path}/nothing 60"
    assert subprocess.run(["sh", "-c", script], capture_output=True, check=True, timeout=90).stdout.startswith(b"failed ")


def test_what_hangs_is_said_to_hang(tmp_path: Path) -> None:
    calls = "names r0; mkdir -p $room; detached 0.2 sleep 30; echo $?; detached 10 sh -c 'exit 3'; echo $?"
    script = f"{site.SCRIPT}\nROOM={tmp_path}\n{calls}"
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True, timeout=20)
    assert done.stdout.split() == [b"124", b"3"]


FRAG = b"""Filesystem type is: 1161970
File size of ./a is 9000 (24 blocks of 512 bytes)
 ext:     logical_offset:        physical_offset: length:   expected: flags:
   0:        0..       7:      34816..     34823:      8:
   1:        8..      23:      40000..     40015:     16:      34824: last,eof
./a: 2 extents found
File size of ./c is 30 (8 blocks of 512 bytes)
 ext:     logical_offset:        physical_offset: length:   expected: flags:
   0:        0..       7:      46000..     46007:      8:             last,not_aligned,inline,eof
./c: 1 extent found
"""


def test_extents_by_name() -> None:
    assert read_extents(FRAG, [b"./a", b"./gone", b"./c"]) == {b"./a": [(34816, 8), (40000, 16)], b"./c": []}
    with pytest.raises(TreeError, match="nobody knows"):
        read_extents(FRAG, [b"./a", b"./b"])


def test_a_walk_that_was_cut_is_none(tmp_path: Path) -> None:
    packed = walked(tmp_path, tmp_path)
    for cut in (packed[:-5], gzip.compress(unpack(packed)[:-30]), b"timeout: nothing"):
        with pytest.raises(TreeError):
            read_walk(cut, "ext4", Place())


# -- from a file system's sectors to blocks of the device ----------------------------------------------------------------

def test_places() -> None:
    assert Place().blocks(8, 16) == [(1, 2)]
    assert Place().blocks(7, 2) == [(0, 2)]
    moved = Place((Segment(0, 800, 2048), Segment(800, 800, 9000)))
    assert moved.blocks(0, 8) == [(256, 1)]
    assert moved.blocks(792, 16) == [(355, 1), (1125, 1)]
    assert moved.blocks(1600, 8) == []


@STEADY
@given(st.integers(0, 5000), st.integers(1, 500))
def test_a_volume_in_one_piece_is_the_device_moved(first: int, count: int) -> None:
    (begin, length), = Place((Segment(0, 10_000, 4096),)).blocks(first, count)
    assert [(begin - 512, length)] == Place().blocks(first, count)


# -- LVM ---------------------------------------------------------------------------------------------------------------

TEXT = """vg_a {
id = "x"
extent_size = 8192		# 4 Megabytes
flags = []
physical_volumes {
pv0 {
id = "abcdef-0000-0000-0000-0000-0000-000000"
pe_start = 2048
}
pv1 {
id = "zzzzzz-0000-0000-0000-0000-0000-000000"
pe_start = 2048
}
}
logical_volumes {
one {
status = ["READ", "WRITE", "VISIBLE"]
segment_count = 2
segment1 {
start_extent = 0
extent_count = 10
type = "striped"
stripe_count = 1	# linear
stripes = [
"pv0", 5
]
}
segment2 {
start_extent = 10
extent_count = 2
type = "striped"
stripe_count = 1
stripes = ["pv0", 0]
}
}
elsewhere {
status = ["VISIBLE"]
segment_count = 1
segment1 {
start_extent = 0
extent_count = 1
type = "striped"
stripe_count = 1
stripes = ["pv1", 0]
}
}
thin {
status = ["VISIBLE"]
segment_count = 1
segment1 {
type = "thin"
}
}
}
}
# Generated by LVM2
contents = "Text Format Volume Group"
description = "a \\"quoted\\" word"
"""


def head(text: str, ring: int = 1 << 20, at: int = 512) -> bytes:
    """The beginning of a physical volume: label in sector 1, metadata from 4096 on, a ring behind its first sector."""
    disk = bytearray(2 << 20)
    disk[512:544] = LABEL + struct.pack("<QII", 1, 0, 32) + b"LVM2 001"
    disk[544:576] = b"abcdef" + b"0" * 26
    disk[576:584] = struct.pack("<Q", 1 << 30)
    disk[584:648] = struct.pack("<QQQQQQQQ", 1 << 20, 0, 0, 0, 4096, ring, 0, 0)
    data = text.encode() + b"\0"
    disk[4096:4160] = struct.pack("<I16sIQQQQII", 0, MAGIC, 1, 4096, ring, at if text else 0, len(data) if text else 0, 0, 0)
    for number, byte in enumerate(data if text else b""):
        place = at + number
        disk[4096 + (place if place < ring else place - ring + 512)] = byte
    return bytes(disk)


@pytest.mark.parametrize(("ring", "at"), [(1 << 20, 512), (4096, 3000)])
def test_where_volumes_lie(ring: int, at: int) -> None:
    volumes = read_volumes(head(TEXT, ring, at))
    assert volumes is not None
    one, elsewhere, thin = volumes
    assert (one.name, one.segments) == ("vg_a/one", (Segment(0, 81920, 2048 + 5 * 8192), Segment(81920, 16384, 2048)))
    assert elsewhere.why == "vg_a/elsewhere lies on another disk, too"
    assert thin.why


def test_disks_without_volumes() -> None:
    assert read_volumes(bytes(1 << 20)) is None
    assert read_volumes(head("")) == ()
    with pytest.raises(LvmError, match="beyond"):
        read_volumes(head(TEXT)[:5000])
    with pytest.raises(LvmError):
        parse("a { b = 1")


# -- what is mounted ---------------------------------------------------------------------------------------------------

def test_mounted() -> None:
    said = "mounted gfs2 /srv/a\\040b vg--x-lv\n0 800 linear 147:1 2048\n800 8 linear 147:1 9000\nmounted ext4 /mnt\n"
    (kind, where, mapped, table), direct = read_mounted(said)
    assert (kind, where, volume_of(mapped)) == ("gfs2", "/srv/a b", "vg-x/lv")
    assert read_table(table) == (Segment(0, 800, 2048), Segment(800, 8, 9000))
    assert direct == ("ext4", "/mnt", "", "")
    with pytest.raises(ValueError, match="not linear"):
        read_table("0 800 striped 2 128 147:1 0 147:1 900")


def test_views() -> None:
    said = "volume 0 gfs2 /run/orchestrate/view-r0/mnt/vg/a\nvolume 1 hung\nvolume 2 failed mount: wrong fs type \n"
    assert read_views(said) == [(0, "gfs2", "/run/orchestrate/view-r0/mnt/vg/a"), (1, "hung", ""), (2, "failed", "mount: wrong fs type ")]


# -- which blocks hold something else -------------------------------------------------------------------------------------

@STEADY
@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 90)), max_size=6), st.sets(st.integers(0, 390)), st.sampled_from((1, 4, 64)))
def test_blocks_compared_in_pieces(runs: list[tuple[int, int]], changed: set[int], unit: int) -> None:
    blocks = Extents.of(runs)
    numbers = [block for first, count in blocks.runs for block in range(first, first + count)]

    def digests(unit: int, other: set[int]) -> list[bytes]:
        return [repr([(block, block in other) for block in numbers[at:at + unit]]).encode() for at in range(0, len(numbers), unit)]

    large = unlike(blocks, unit, digests(unit, set()), digests(unit, changed))
    assert large <= blocks
    wanted = Extents.of((block, 1) for block in changed) & blocks
    assert wanted <= large
    if unit == 1:
        assert large == wanted


@STEADY
@given(st.lists(st.tuples(st.integers(0, 300_000), st.integers(1, 90_000)), max_size=6))
def test_portions_are_full_and_in_order(runs: list[tuple[int, int]]) -> None:
    blocks = Extents.of(runs)
    portions = site._portions(blocks.runs)
    assert Extents.of(run for portion in portions for run in portion) == blocks
    assert [run[0] for portion in portions for run in portion] == sorted(run[0] for portion in portions for run in portion)
    sizes = [sum(count for _, count in portion) for portion in portions]
    assert all(size == site.AT_ONCE for size in sizes[:-1])
    assert all(0 < size <= site.AT_ONCE for size in sizes)
