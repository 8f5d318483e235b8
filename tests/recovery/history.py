"""Two copies of one tree that are changed apart, and what each side's bitmap would have of it: the truth that `join` is held to.

As on GFS2: an inode has a block of its own, its number is that block's, and both sides take the same free blocks for new files.
A rename touches the inode that is renamed and not what lies below it. A deletion marks nothing.
"""

from __future__ import annotations

from attrs import define, evolve, field, frozen
from hypothesis import strategies as st

from orchestrator.recovery.extents import Extents
from orchestrator.recovery.files import Entry, Side

NAMES = ("a", "b", "c", "d", "e")
FOLDERS = ("x", "y", "z")


@frozen
class File:
    """A file of one side. `born`: "" if it was there before the split."""

    inode: int
    origin: str
    mtime: int = 1
    ctime: int = 1
    mode: str = "644"


@define
class Copy:
    """One side: its files by path, its folders, the blocks it has written."""

    node: str
    clock: int
    files: dict[str, File] = field(factory=dict)
    folders: dict[str, File] = field(factory=dict)
    written: set[int] = field(factory=set)
    deleted: set[str] = field(factory=set)   # origins
    free: int = 1000

    def do(self, what: str, path: str, other: str) -> None:
        """One operation, if it can be done here."""
        self.clock += 10
        if what == "create" and path not in self.files and path.rpartition("/")[0] in self.folders:
            self.free += 2
            self.files[path] = File(self.free, f"{self.node}:{self.free}", self.clock, self.clock)
            self.written |= {self.free, self.free + 1}
        elif what == "folder" and path in self.folders and other not in self.folders:
            self._rename_folder(path, other)
        elif path not in self.files:
            return
        elif what == "write":
            self._touch(path, evolve(self.files[path], mtime=self.clock), data=True)
        elif what == "chmod":
            self._touch(path, evolve(self.files[path], mode="600"))
        elif what == "delete":
            self.deleted.add(self.files.pop(path).origin)
        elif what == "rename" and other not in self.files and other.rpartition("/")[0] in self.folders:
            moved = self.files.pop(path)
            self.files[other] = moved
            self._touch(other, moved)

    def _touch(self, path: str, made: File, *, data: bool = False) -> None:
        self.files[path] = evolve(made, ctime=self.clock)
        self.written |= {made.inode, made.inode + 1} if data else {made.inode}

    def _rename_folder(self, path: str, other: str) -> None:
        moved = self.folders.pop(path)
        self.folders[other] = evolve(moved, ctime=self.clock)
        self.written.add(moved.inode)
        for old in [name for name in self.files if name.startswith(f"{path}/")]:
            self.files[f"{other}{old.removeprefix(path)}"] = self.files.pop(old)

    def side(self) -> Side:
        """What would be seen of it."""
        tree = [Entry("", "d", 1, 0, 1, 1, "755", "0:0", 1)]
        tree += [Entry(path, "d", one.inode, 0, one.mtime, one.ctime, "755", "0:0", one.inode)
                 for path, one in self.folders.items() if path]
        tree += [Entry(path, "f", one.inode, 1, one.mtime, one.ctime, one.mode, "0:0", one.inode, ((one.inode + 1, 1),))
                 for path, one in self.files.items()]
        return Side(self.node, tree, Extents.of((block, 1) for block in self.written))


def apart(operations: list[tuple[int, str, str, str]]) -> tuple[Copy, Copy]:
    """Both sides after operations (side, what, path, other), from one tree of nine files in three folders."""
    both = Copy("victim", 1000), Copy("survivor", 1005)
    for one in both:
        one.folders.update({"": File(1, "/"), **{name: File(10 + at, f"/{name}") for at, name in enumerate(FOLDERS[:2])}})
        paths = [f"{folder}/{name}".lstrip("/") for folder in ("", *FOLDERS[:2]) for name in NAMES[:3]]
        one.files.update({path: File(100 + 2 * at, path, at + 2, at + 2) for at, path in enumerate(paths)})
    for side, what, path, other in operations:
        both[side].do(what, path, other)
    return both


paths = st.builds(lambda folder, name: f"{folder}/{name}".lstrip("/"), st.sampled_from(("", *FOLDERS)), st.sampled_from(NAMES))
folders = st.sampled_from(FOLDERS)
operations = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from(("create", "write", "chmod", "delete", "rename")), paths, paths)
    | st.tuples(st.integers(0, 1), st.just("folder"), folders, folders),
    max_size=12,
)
