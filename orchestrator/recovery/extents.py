"""Sets of blocks of a DRBD device. Pure.

A block is 4 KiB, the unit of DRBD's bitmap; block 0 is the device's first. What a set means (changed here, changed there,
to be saved) is its user's to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import merge

from attrs import field, frozen

BLOCK = 4096
"""Bytes of a block."""
SECTOR = 512
"""Bytes of what the kernel counts devices in."""

Run = tuple[int, int]
"""First block, count."""


def _checked(_: object, __: object, runs: tuple[Run, ...]) -> None:
    end = -1
    for first, count in runs:
        if first <= end or count <= 0:
            raise ValueError(f"runs have to be sorted, apart and not empty: {first} {count} after {end}")
        end = first + count


@frozen
class Extents:
    """Blocks as runs (first, count): sorted, disjoint, none touching the next. ValueError for anything else; `of` takes any."""

    runs: tuple[Run, ...] = field(default=(), validator=_checked)

    @classmethod
    def of(cls, runs: Iterable[Run]) -> Extents:
        """From runs in any order that may overlap; those without a block are left out. ValueError for a negative number."""
        found: list[Run] = []
        for first, count in sorted(runs):
            if first < 0 or count < 0:
                raise ValueError(f"a run cannot be {first} {count}")
            if found and first <= found[-1][0] + found[-1][1]:
                begin, length = found[-1]
                found[-1] = (begin, max(length, first + count - begin))
            elif count:
                found.append((first, count))
        return cls(tuple(found))

    @classmethod
    def whole(cls, size: int) -> Extents:
        """Every block of a device of so many bytes; the last one may be cut short."""
        return cls.of([(0, -(-size // BLOCK))])

    @property
    def blocks(self) -> int:
        """How many blocks."""
        return sum(count for _, count in self.runs)

    @property
    def kib(self) -> int:
        """The same in KiB, as DRBD counts what is out of sync."""
        return self.blocks * (BLOCK // 1024)

    def __bool__(self) -> bool:
        return bool(self.runs)

    def __contains__(self, block: int) -> bool:
        return bool(self & Extents(((block, 1),)))

    def __or__(self, other: Extents) -> Extents:
        """Union."""
        return Extents.of(merge(self.runs, other.runs))

    def __and__(self, other: Extents) -> Extents:
        """Intersection."""
        return Extents(tuple(self._common(other)))

    def __sub__(self, other: Extents) -> Extents:
        """Difference: what is here and not there."""
        end = self.runs[-1][0] + self.runs[-1][1] if self.runs else 0
        return self & other.outside(end)

    def __le__(self, other: Extents) -> bool:
        """Whether every block of this is in the other."""
        return not self - other

    def outside(self, end: int) -> Extents:
        """The blocks below `end` that are not here."""
        found, at = [], 0
        for first, count in self.runs:
            if first >= end:
                break
            if first > at:
                found.append((at, first - at))
            at = first + count
        if at < end:
            found.append((at, end - at))
        return Extents(tuple(found))

    def _common(self, other: Extents) -> Iterator[Run]:
        ours, theirs = iter(self.runs), iter(other.runs)
        one, two = next(ours, None), next(theirs, None)
        while one is not None and two is not None:
            begin, end = max(one[0], two[0]), min(sum(one), sum(two))
            if begin < end:
                yield begin, end - begin
            if sum(one) <= sum(two):
                one = next(ours, None)
            else:
                two = next(theirs, None)

    def coalesced(self, most: int) -> Extents:
        """With the narrowest gaps filled until there are at most `most` runs: a superset that a kernel's table can hold."""
        surplus = len(self.runs) - most
        if surplus <= 0:
            return self
        gaps = [(self.runs[n + 1][0] - sum(self.runs[n]), n) for n in range(len(self.runs) - 1)]
        filled = {n for _, n in sorted(gaps)[:surplus]}
        return Extents.of([*self.runs, *((sum(self.runs[n]), self.runs[n + 1][0] - sum(self.runs[n])) for n in filled)])

    def spans(self, size: int) -> Iterator[tuple[int, int]]:
        """Offset and length in bytes of each run, on a device of `size` bytes: the last block of one may be cut short there."""
        for first, count in self.runs:
            length = min(count * BLOCK, size - first * BLOCK)
            if length > 0:
                yield first * BLOCK, length

    def bytes_of(self, size: int) -> int:
        """Bytes that `spans` covers."""
        return sum(length for _, length in self.spans(size))

    def to_text(self) -> str:
        """A line "FIRST COUNT" for each run, as awk and the archive read it."""
        return "".join(f"{first} {count}\n" for first, count in self.runs)

    @classmethod
    def from_text(cls, text: str) -> Extents:
        """What `to_text` wrote. ValueError for anything else."""
        runs = []
        for line in text.splitlines():
            first, count = line.split()
            runs.append((int(first), int(count)))
        return cls(tuple(runs))
