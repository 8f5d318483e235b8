"""Which files a split brain has changed on which side: the joining. Pure; `file_report` fetches what is joined.

The rule, measured on DRBD 8.4 with GFS2 and ext4: each side's changed blocks are looked up **only in its own tree**. Both
sides take the same free blocks for their new files, so a block of one looked up in the other's tree names innocent files.
A deleted file need not leave a changed block on the side that deleted it; that it is missing there is what tells.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import Any

from attrs import field, frozen

from orchestrator.recovery.extents import Extents, Run


class Change(Enum):
    """What became of a file. Where the word needs a side, `FileChange.node` has it."""

    CHANGED = "changed"
    CREATED = "created"         # or it was there, was changed here, and the other side deleted it: a file system does not tell
    DELETED = "deleted"
    RENAMED = "renamed"         # or its folder was; `was` is the name it still has on the other side
    BOTH = "changed on both"
    DIFFERS = "differs"         # owner, times, mode or size are not the same, and no changed block says whose doing it is
    ONLY = "only here"          # created here or deleted there: nothing of it lies in a block that could tell


@frozen
class Entry:
    """A name in a tree. `path`: below the mount point, "" for its root, as os.fsdecode makes it. `kind`: f, d, l, ... of find(1).

    `own`: the block that holds this inode and no other (GFS2), None where several share one. `blocks`: of its contents,
    in 4 KiB blocks of the DRBD device.
    `mtime`, `ctime`: nanoseconds since the epoch. `size`: bytes.
    """

    path: str
    kind: str
    inode: int
    size: int = 0
    mtime: int = 0
    ctime: int = 0
    mode: str = ""
    owner: str = ""
    own: int | None = None
    blocks: tuple[Run, ...] = ()

    @property
    def could_tell(self) -> bool:
        """Whether a change of it is a change of a block that is known to be its."""
        return self.own is not None or bool(self.blocks)

    def looks_like(self, other: Entry) -> bool:
        """The same to stat(2), but for atime and the number of links."""
        return (self.kind, self.size, self.mtime, self.ctime, self.mode, self.owner) == (
            other.kind, other.size, other.mtime, other.ctime, other.mode, other.owner)

    def same_file(self, other: Entry) -> bool:
        """The same inode with the same contents, as far as stat(2) can tell: it may have another name."""
        return (self.inode, self.kind, self.size, self.mtime) == (other.inode, other.kind, other.size, other.mtime)


@frozen
class FileChange:
    """One name and what became of it. `node`: whose doing; "" for BOTH; for DIFFERS the side where the inode was touched later.

    `volume`: "VG/LV", or "" for a file system directly on the DRBD device. `was`: the name on the other side (RENAMED).
    """

    volume: str
    path: str
    change: Change
    node: str = ""
    was: str = ""
    on_victim: Entry | None = None
    on_survivor: Entry | None = None

    @property
    def kind(self) -> str:
        """f, d, l, ... as find(1) says it."""
        entry = self.on_victim or self.on_survivor
        return entry.kind if entry else "?"


@frozen
class FileReport:
    """What differs between the two sides, by file.

    `internals`: per node, the changed blocks that no file or folder owns: journals, allocation maps, what was freed.
    `approximate`: made from bitmaps as they are on disk, which lag behind while a node is Primary: files may be missing.
    `unmapped`: sentences: what could not be looked into, and why: files may be missing.
    `notes`: sentences: why files may be named that nobody changed.
    """

    victim: str
    survivor: str
    changes: tuple[FileChange, ...] = ()
    internals: tuple[tuple[str, int], ...] = ()
    approximate: bool = False
    unmapped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def of(self, change: Change, node: str = "") -> tuple[FileChange, ...]:
        """Those of one class, on one side if `node` is given."""
        return tuple(one for one in self.changes if one.change is change and node in ("", one.node))

    def to_save(self) -> tuple[FileChange, ...]:
        """What of the victim's would be lost: every name that is there and is, or may be, the victim's own doing."""
        return tuple(one for one in self.changes if one.on_victim is not None and (
            one.change in (Change.BOTH, Change.DIFFERS) or one.node == self.victim))


    def document(self) -> dict[str, Any]:
        """For JSON. Sizes in bytes, times in nanoseconds since the epoch, internals in blocks of 4 KiB."""
        changes = [
            {"volume": one.volume, "path": one.path, "kind": one.kind, "change": one.change.value, "node": one.node or None,
             "was": one.was or None, "victim": _stat(one.on_victim), "survivor": _stat(one.on_survivor)}
            for one in self.changes
        ]
        return {"victim": self.victim, "survivor": self.survivor, "approximate": self.approximate, "changes": changes,
                "internals": dict(self.internals), "unmapped": list(self.unmapped), "notes": list(self.notes)}


def _stat(entry: Entry | None) -> dict[str, Any] | None:
    return None if entry is None else {"size": entry.size, "mtime": entry.mtime, "mode": entry.mode, "owner": entry.owner}


@frozen
class Side:
    """One side of one file system: who, its tree, and the blocks it has changed."""

    node: str
    tree: Sequence[Entry]
    dirty: Extents = field(repr=False, default=Extents())


@frozen
class _Indexed:
    """A side with its tree by path and by inode, and what of it was touched."""

    node: str
    by_path: dict[str, Entry]
    by_inode: dict[int, Entry]
    data: frozenset[str]   # paths whose contents were written
    inode: frozenset[str]  # paths whose own inode block was written

    @classmethod
    def of(cls, side: Side) -> _Indexed:
        return cls(
            side.node, {one.path: one for one in side.tree}, {one.inode: one for one in side.tree},
            frozenset(one.path for one in side.tree if touches(one.blocks, side.dirty)),
            frozenset(one.path for one in side.tree if one.own is not None and touches([(one.own, 1)], side.dirty)),
        )

    def touched(self, path: str) -> bool:
        return path in self.data or path in self.inode


def join(volume: str, victim: Side, survivor: Side, *, exact: bool) -> tuple[FileChange, ...]:
    """What became of every name that is not the same on both sides, sorted by path.

    `exact`: the changed blocks are all of them. If they may not be, a name of one side without one is ONLY, not DELETED.
    """
    ours, theirs = _Indexed.of(victim), _Indexed.of(survivor)
    found: list[FileChange] = []
    for path in sorted(ours.by_path.keys() | theirs.by_path.keys()):
        mine, other = ours.by_path.get(path), theirs.by_path.get(path)
        if mine is not None and other is not None:
            change = _in_both(volume, mine, other, ours, theirs)
        elif mine is not None:
            change = _in_one(volume, mine, ours, theirs, exact)
        else:
            assert other is not None  # noqa: S101 - the path came from one of the two
            change = _in_one(volume, other, theirs, ours, exact)
        if change is not None:
            here = ours.by_path.get(path), theirs.by_path.get(path)
            found.append(FileChange(volume, path, change[0], change[1], change[2], *here))
    renamed = {(one.node, one.was) for one in found if one.change is Change.RENAMED}
    return tuple(one for one in found if one.change is not Change.DELETED or (one.node, one.path) not in renamed)


_Verdict = tuple[Change, str, str]


def _in_both(volume: str, mine: Entry, other: Entry, ours: _Indexed, theirs: _Indexed) -> _Verdict | None:
    here, there = ours.touched(mine.path), theirs.touched(other.path)
    if here and there:
        return Change.BOTH, "", ""
    if here or there:
        return Change.CHANGED, ours.node if here else theirs.node, ""
    if mine.looks_like(other):
        return None
    return Change.DIFFERS, ours.node if mine.ctime > other.ctime else theirs.node if other.ctime > mine.ctime else "", ""


def _in_one(volume: str, entry: Entry, here: _Indexed, there: _Indexed, exact: bool) -> _Verdict:
    twin = there.by_inode.get(entry.inode)
    if twin is not None and not (entry.same_file(twin) and entry.path not in here.data and twin.path not in there.data):
        twin = None
    if twin is not None:
        mover = _mover(entry, twin, here, there)
        if mover is here:
            return (Change.CREATED, here.node, "") if twin.path in here.by_path else (Change.RENAMED, here.node, twin.path)
        if mover is there:
            return Change.DELETED, there.node, ""
    if here.touched(entry.path):
        return Change.CREATED, here.node, ""
    if exact and entry.could_tell:
        return Change.DELETED, there.node, ""
    return Change.ONLY, here.node, ""


def _mover(entry: Entry, twin: Entry, here: _Indexed, there: _Indexed) -> _Indexed | None:
    """Which side gave one inode another name: where its inode was touched (later), else whoever renamed the folder above.

    A rename touches the inode that is renamed (its ctime, on ext4, XFS and GFS2), but not what lies below a renamed folder.
    """
    while entry.same_file(twin):
        if (entry.path in here.inode) != (twin.path in there.inode):
            return here if entry.path in here.inode else there
        if entry.ctime != twin.ctime:
            return here if entry.ctime > twin.ctime else there
        above, below = here.by_path.get(_parent(entry.path)), there.by_path.get(_parent(twin.path))
        if above is None or below is None or above.path == below.path or not entry.path or not twin.path:
            return None
        entry, twin = above, below
    return None


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


# -- blocks ------------------------------------------------------------------------------------------------------------

def touches(blocks: Iterable[Run], dirty: Extents) -> bool:
    """Whether any of `blocks` is in `dirty`."""
    return any(True for _ in _shared(blocks, dirty.runs))


def unowned(trees: Iterable[Sequence[Entry]], dirty: Extents) -> int:
    """How many blocks of `dirty` no file and no folder of these trees owns."""
    owned: list[Run] = []
    for tree in trees:
        for entry in tree:
            own = [] if entry.own is None else [(entry.own, 1)]
            owned += _shared([*own, *entry.blocks], dirty.runs)
    return dirty.blocks - Extents.of(owned).blocks


def _shared(blocks: Iterable[Run], dirty: tuple[Run, ...]) -> Iterator[Run]:
    """Parts of `blocks` that are dirty. A few of tens of thousands of files are: looked up, not merged."""
    for first, count in blocks:
        at = max(bisect_right(dirty, (first, 1 << 62)) - 1, 0)
        while at < len(dirty) and dirty[at][0] < first + count:
            low, high = max(first, dirty[at][0]), min(first + count, sum(dirty[at]))
            if low < high:
                yield low, high - low
            at += 1
