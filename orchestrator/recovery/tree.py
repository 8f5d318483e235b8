"""A tree as `files.sh` walked it: every name, and where the contents of files and folders lie on the DRBD device. Pure.

Names may hold anything but a zero byte. filefrag prints them as they are, so its output is read along the list of the names
it was given, never by guessing where a name ends.
"""

from __future__ import annotations

import os
import re
import zlib
from bisect import bisect_right

from attrs import frozen

from orchestrator.recovery.extents import BLOCK, SECTOR, Extents, Run
from orchestrator.recovery.files import Entry
from orchestrator.recovery.lvm import Segment

EXTENT = re.compile(rb" *\d+: +\d+\.\. +\d+: +(\d+)\.\. +\d+: +(\d+): *(?:\d+:)? *([a-z_,]*)\n")
NOWHERE = (b"inline", b"unknown_loc", b"delalloc")
"""Flags of an extent that has no block of its own (yet)."""


class TreeError(ValueError):
    """What came is no whole walk."""


@frozen
class Place:
    """Where a file system lies on the DRBD device. No segments: it is the device."""

    segments: tuple[Segment, ...] = ()

    def blocks(self, first: int, count: int) -> list[Run]:
        """Runs of 4 KiB blocks of the device that hold `count` sectors of the file system from `first`."""
        if not self.segments:
            return [_around(first, count)]
        found = []
        at = max(bisect_right(self.segments, first, key=lambda one: one.start) - 1, 0)
        for one in self.segments[at:]:
            low, high = max(first, one.start), min(first + count, one.start + one.count)
            if low < high:
                found.append(_around(one.first + low - one.start, high - low))
            elif one.start >= first + count:
                break
        return found


def _around(first: int, count: int) -> Run:
    per = BLOCK // SECTOR
    begin = first // per
    return begin, -(-(first + count) // per) - begin


@frozen
class Walk:
    """What a walk found. `block`: bytes of a block of the file system."""

    entries: tuple[Entry, ...]
    block: int


def read_walk(packed: bytes, kind: str, place: Place) -> Walk:
    """A walk (gzip). `kind`: of the file system. TreeError if it was cut short or is not what `files.sh` prints."""
    parts = _frames(unpack(packed))
    try:
        size = int(parts["block"].split()[0])
        records = [line.split(b"\t", 7) for line in parts["list"].split(b"\0")[:-1]]
        given = [b"./" + one[7] if one[7] else b"." for one in records if one[1] == b"d" or (one[1] == b"f" and int(one[2]))]
        extents = read_extents(parts["extents"], given)
        alone = size // SECTOR if kind == "gfs2" else 0
        return Walk(tuple(_entry(one, extents, place, alone) for one in records), size)
    except (KeyError, ValueError, IndexError) as error:
        raise TreeError(f"a walk that cannot be read: {error}") from error


def unpack(packed: bytes) -> bytes:
    """What gzip packed. TreeError if it is not whole."""
    stream = zlib.decompressobj(wbits=31)
    try:
        data = stream.decompress(packed)
    except zlib.error as error:
        raise TreeError(f"not what was asked for: {packed[:80]!r}") from error
    if not stream.eof:
        raise TreeError("it was cut short")
    return data


def _frames(data: bytes) -> dict[str, bytes]:
    found, at = {}, 0
    while at < len(data):
        end = data.find(b"\n", at)
        name, _, size = data[at:end].partition(b" ")
        if end < 0 or not size.strip().isdigit():
            raise TreeError(f"a part was expected: {data[at:at + 40]!r}")
        at = end + 1 + int(size)
        found[name.decode()] = data[end + 1:at]
    return found


def read_extents(text: bytes, names: list[bytes]) -> dict[bytes, list[tuple[int, int]]]:
    """Of each file, (first, count) in sectors of the file system. `names`: what filefrag was given, in its order; one that it
    could not read (gone meanwhile, a file system that does not tell) is not in the result. TreeError if anything is left."""
    found: dict[bytes, list[tuple[int, int]]] = {}
    at = 0
    for name in names:
        if text.startswith(b"Filesystem type is: ", at):  # once for each time that xargs starts it
            at = text.index(b"\n", at) + 1
        head = b"File size of " + name + b" is "
        if not text.startswith(head, at):
            continue
        at = text.index(b"\n", at + len(head)) + 1
        if text.startswith(b" ext:", at):
            at = text.index(b"\n", at) + 1
        runs = found[name] = []
        while (match := EXTENT.match(text, at)) is not None:
            if not any(flag in NOWHERE for flag in match[3].split(b",")):
                runs.append((int(match[1]), int(match[2])))
            at = match.end()
        if text.startswith(name + b": ", at):
            at = text.index(b"\n", at + len(name)) + 1
    if at < len(text):
        raise TreeError(f"filefrag said what nobody knows: {text[at:at + 80]!r}")
    return found


def _entry(record: list[bytes], extents: dict[bytes, list[tuple[int, int]]], place: Place, alone: int) -> Entry:
    """`alone`: sectors of a file system's block, if an inode has one to itself and its number is that block's; else 0."""
    inode, kind, size, mtime, ctime, mode, owner, path = record
    runs = [run for first, count in extents.get(b"./" + path if path else b".", ()) for run in place.blocks(first, count)]
    own = place.blocks(int(inode) * alone, alone) if alone else []
    return Entry(
        os.fsdecode(path), kind.decode(), int(inode), int(size), _nanoseconds(mtime), _nanoseconds(ctime), mode.decode(), owner.decode(),
        own[0][0] if own else None, Extents.of(runs).runs,
    )


def _nanoseconds(text: bytes) -> int:
    """find's %T@ has as many digits behind the point as it likes."""
    whole, _, part = text.partition(b".")
    return int(whole) * 10**9 + int(part[:9].ljust(9, b"0") or 0)
