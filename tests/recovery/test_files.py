"""What became of each file: the rule, the measured case, and histories made by chance."""

from __future__ import annotations

import io
import re
import time

import pytest
from hypothesis import given

from orchestrator.recovery.extents import Extents
from orchestrator.recovery.file_table import draw_files
from orchestrator.recovery.files import Change, Entry, FileReport, Side, join, unowned
from tests.recovery.history import Copy, apart, operations
from tests.unit.captures import captured
from tests.unit.strategies import STEADY

V, S = "victim", "survivor"


def seen(*ops: tuple[int, str, str, str], exact: bool = True) -> dict[str, tuple[Change, str, str]]:
    """What is said of every file after these operations."""
    victim, survivor = apart(list(ops))
    found = join("", victim.side(), survivor.side(), exact=exact)
    return {one.path: (one.change, one.node, one.was) for one in found if one.kind == "f"}


@pytest.mark.parametrize(("ops", "expected"), [
    ((), {}),
    (((0, "write", "a", ""),), {"a": (Change.CHANGED, V, "")}),
    (((1, "chmod", "a", ""),), {"a": (Change.CHANGED, S, "")}),
    (((0, "write", "a", ""), (1, "chmod", "a", "")), {"a": (Change.BOTH, "", "")}),
    (((0, "create", "d", ""), (1, "create", "e", "")), {"d": (Change.CREATED, V, ""), "e": (Change.CREATED, S, "")}),
    (((0, "delete", "x/a", ""),), {"x/a": (Change.DELETED, V, "")}),
    (((0, "delete", "a", ""), (1, "write", "a", "")), {"a": (Change.CREATED, S, "")}),
    (((0, "rename", "a", "y/d"),), {"y/d": (Change.RENAMED, V, "a")}),
    (((0, "folder", "x", "z"),), {f"z/{name}": (Change.RENAMED, V, f"x/{name}") for name in "abc"}),
    (((1, "folder", "x", "z"), (1, "write", "z/a", "")),
     {"x/a": (Change.DELETED, S, ""), "z/a": (Change.CREATED, S, ""), **{f"z/{name}": (Change.RENAMED, S, f"x/{name}") for name in "bc"}}),
])
def test_the_rule(ops: tuple[tuple[int, str, str, str], ...], expected: dict[str, tuple[Change, str, str]]) -> None:
    assert seen(*ops) == expected


def test_without_every_changed_block_nothing_is_called_deleted() -> None:
    assert seen((0, "delete", "a", ""), exact=False) == {"a": (Change.ONLY, S, "")}


def test_the_other_sides_blocks_are_not_looked_up() -> None:
    """Both sides gave their new file the same inode and the same block."""
    assert seen((0, "create", "d", ""), (1, "create", "y/d", "")) == {"d": (Change.CREATED, V, ""), "y/d": (Change.CREATED, S, "")}


def test_a_file_without_a_block_of_its_own_is_not_called_deleted() -> None:
    """An empty file of ext4: no block could tell."""
    root = Entry("", "d", 2)
    found = join("", Side(V, [root, Entry("new", "f", 12)]), Side(S, [root]), exact=True)
    assert [(one.path, one.change, one.node) for one in found] == [("new", Change.ONLY, V)]
    assert FileReport(V, S, found).to_save() == found


def test_a_change_of_the_inode_alone_is_seen_where_inodes_share_a_block() -> None:
    before, after = Entry("f", "f", 12, 5, 100, 100, "644"), Entry("f", "f", 12, 5, 100, 300, "600")
    found = join("", Side(V, [after]), Side(S, [before]), exact=True)
    assert [(one.change, one.node) for one in found] == [(Change.DIFFERS, V)]


@pytest.mark.parametrize(("renamer", "times"), [(V, (300, 100)), (S, (100, 300))])
def test_who_renamed_a_file_is_told_by_its_inode_where_no_block_does(renamer: str, times: tuple[int, int]) -> None:
    """And what lies in a renamed folder goes with it."""
    def tree(name: str, folder: str, ctime: int) -> list[Entry]:
        return [Entry("", "d", 2), Entry(name, "f", 12, 5, 100, ctime, blocks=((50, 2),)), Entry(folder, "d", 13, 1, 100, ctime),
                Entry(f"{folder}/in", "f", 14, 5, 100, 100, blocks=((60, 1),))]

    names = (("b", "e"), ("a", "d")) if renamer == V else (("a", "d"), ("b", "e"))
    here, there = (tree(*pair, ctime) for pair, ctime in zip(names, times, strict=True))
    found = join("", Side(V, here), Side(S, there), exact=True)
    assert {(one.path, one.change, one.node, one.was) for one in found} == {
        (name, Change.RENAMED, renamer, was) for name, was in (("b", "a"), ("e", "d"), ("e/in", "d/in"))}


# -- the measured case -------------------------------------------------------------------------------------------------

def measured() -> tuple[Side, Side]:
    """The trees and own-side changed blocks of the measured GFS2 case. Which block of a file was hit was not kept: its first."""
    text = captured("split-files/gfs2-block-to-file.txt")
    lists = [f"4656 {part}" for part in text.split("4656 ")[1:3]]
    sides = []
    for node, listed, part in zip((V, S), lists, text.split("== ")[1:3], strict=True):
        marked = dict(re.findall(r"^(\S+)\tdata=(\d+)\tinode=1", part, re.MULTILINE))
        tree = {name: 9000 for name in marked if name.startswith(".probe")} | {".": 4643}
        tree |= {name: int(inode) for inode, name in re.findall(r"^(\d+) (\S+)$", listed, re.MULTILINE)}
        entries = [Entry(name, "d" if name in (".", "d") else "f", inode, own=inode, blocks=((inode * 1000, 500),))
                   for name, inode in tree.items()]
        blocks = [(tree[name], 1) for name in marked] + [(tree[name] * 1000, int(count)) for name, count in marked.items()]
        sides.append(Side(node, entries, Extents.of(blocks)))
    return sides[0], sides[1]


def test_the_measured_case() -> None:
    """GFS2, both halves mounted, five files changed or made on each side, one on both, one deleted."""
    found = join("", *measured(), exact=True)
    assert {(one.path, one.change, one.node) for one in found} == {
        (".", Change.BOTH, ""), ("both.dat", Change.BOTH, ""), ("del.dat", Change.DELETED, V),
        *((name, Change.CHANGED, V) for name in ("base1.dat", "base2.dat")),
        *((name, Change.CHANGED, S) for name in ("base3.dat", "base4.dat")),
        *((name, Change.CREATED, V) for name in (".probe1", "n1_a", "n1_b", "n1_c")),
        *((name, Change.CREATED, S) for name in (".probe2", "n2_a", "n2_b", "n2_c")),
    }


# -- by chance ---------------------------------------------------------------------------------------------------------

def touched(side: Copy, path: str) -> bool:
    """Whether this side wrote to the file of that name, or to its inode, or made it."""
    one = side.files.get(path)
    return one is not None and one.inode in side.written


@STEADY
@given(operations)
def test_nothing_of_the_victims_is_forgotten(ops: list[tuple[int, str, str, str]]) -> None:
    victim, survivor = apart(ops)
    report = FileReport(V, S, join("", victim.side(), survivor.side(), exact=True))
    saved = {one.path for one in report.to_save()}
    assert {path for path in victim.files if touched(victim, path)} <= saved


@STEADY
@given(operations)
def test_what_is_the_same_is_not_named_and_what_is_gone_is(ops: list[tuple[int, str, str, str]]) -> None:
    victim, survivor = apart(ops)
    found = {one.path: one for one in join("", victim.side(), survivor.side(), exact=True)}
    for path in victim.files.keys() & survivor.files.keys():
        if victim.files[path] == survivor.files[path] and not touched(victim, path) and not touched(survivor, path):
            assert path not in found
    for here, there in ((victim, survivor), (survivor, victim)):
        for path, one in here.files.items():
            if one.origin in there.deleted and not touched(here, path) and path not in there.files:
                assert (found[path].change, found[path].node) == (Change.DELETED, there.node)


@STEADY
@given(operations)
def test_the_sides_may_be_swapped(ops: list[tuple[int, str, str, str]]) -> None:
    one, other = apart(ops)
    there = {(found.path, found.change, found.node, found.was) for found in join("", one.side(), other.side(), exact=True)}
    assert {(found.path, found.change, found.node, found.was) for found in join("", other.side(), one.side(), exact=True)} == there


def test_tens_of_thousands_of_files_take_a_moment() -> None:
    def tree() -> list[Entry]:
        return [Entry(f"d{n % 100}/file{n}", "f", inode := 10_000 + 3 * n, 5, 1, 1, own=inode, blocks=((inode + 1, 2),))
                for n in range(50_000)]

    dirty = Extents.of((10_000 + 300 * n, 1) for n in range(500))
    began = time.process_time()
    found = join("", Side(V, tree(), dirty), Side(S, tree()), exact=True)
    assert len(found) == 500
    assert unowned([tree()], Extents.of([*dirty.runs, (5, 3)])) == 3
    assert time.process_time() - began < 10


def test_the_table_shows_every_class_and_what_is_missing() -> None:
    victim, survivor = apart([(0, "write", "a", ""), (1, "delete", "b", ""), (0, "rename", "c", "x/d"), (0, "chmod", "x/a", ""),
                              (1, "write", "x/a", "")])
    victim.files["odd\nname"] = victim.files.pop("a")
    found = join("vg/lv", victim.side(), survivor.side(), exact=True)
    report = FileReport(V, S, found, ((V, 3),), approximate=True, unmapped=("vg/b hangs",), notes=("small",))
    shown = io.StringIO()
    draw_files(report, shown)
    for words in ("odd\\nname", "x/d (there: c)", "changed on both", "renamed", "12 KiB", "approximate", "vg/b hangs", "note: small"):
        assert words in shown.getvalue(), shown.getvalue()
