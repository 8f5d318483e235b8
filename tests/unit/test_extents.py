"""Sets of blocks, and the bitmaps of real metadata."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.recovery.dump_md import DumpError, read_dump
from orchestrator.recovery.extents import BLOCK, Extents
from tests.unit.captures import captured

BLOCKS = st.frozensets(st.integers(0, 300), max_size=120)


def extents(blocks: frozenset[int]) -> Extents:
    return Extents.of((block, 1) for block in blocks)


def members(found: Extents) -> set[int]:
    return {block for first, count in found.runs for block in range(first, first + count)}


@given(BLOCKS, BLOCKS)
def test_they_are_sets(one: frozenset[int], two: frozenset[int]) -> None:
    a, b = extents(one), extents(two)
    assert members(a | b) == one | two
    assert members(a & b) == one & two
    assert members(a - b) == one - two
    assert (a <= b) == (one <= two)
    assert (a.blocks, a.kib, bool(a)) == (len(one), 4 * len(one), bool(one))
    assert all((block in a) == (block in one) for block in range(0, 300, 7))
    assert Extents.from_text(a.to_text()) == a
    assert members(a.outside(200)) == set(range(200)) - one
    assert a.runs == Extents.of(a.runs).runs, "one form for one set"


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 30))))
def test_of_takes_runs_in_any_order_that_overlap(runs: list[tuple[int, int]]) -> None:
    assert members(Extents.of(runs)) == {block for first, count in runs for block in range(first, first + count)}


@given(BLOCKS, st.integers(1, 40))
def test_coalesced_is_a_superset_with_so_many_runs(blocks: frozenset[int], most: int) -> None:
    found = extents(blocks)
    fewer = found.coalesced(most)
    assert len(fewer.runs) <= most
    assert found <= fewer
    if blocks:
        assert fewer <= Extents(((min(blocks), max(blocks) - min(blocks) + 1),))
    assert len(found.runs) > most or fewer == found


@given(BLOCKS, st.integers(1, 301 * BLOCK))
def test_spans_end_with_the_device(blocks: frozenset[int], size: int) -> None:
    found = extents(blocks)
    whole = [(offset, length) for offset, length in found.spans(size)]
    assert sum(length for _, length in whole) == found.bytes_of(size) == sum(max(0, min(BLOCK, size - block * BLOCK)) for block in blocks)
    assert all(offset + length <= size for offset, length in whole)
    rest = (Extents.whole(size) - found).bytes_of(size)
    assert rest + found.bytes_of(size) == size


@pytest.mark.parametrize("runs", [((5, 2), (1, 1)), ((1, 2), (3, 1)), ((1, 0),), ((1, 3), (2, 1)), ((-1, 1),)])
def test_what_is_no_set_of_runs(runs: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(ValueError, match="run"):
        Extents(runs)
    if runs == ((-1, 1),):
        with pytest.raises(ValueError, match="cannot"):
            Extents.of(runs)


# -- bitmaps -----------------------------------------------------------------------------------------------------------

WRITTEN = Extents.of([(0, 1), (8, 1), (63, 2), (130, 1), (777, 1), (1000, 10), (2000, 3), (65524, 1)])


def test_a_bitmap_of_84_is_what_was_written() -> None:
    """The blocks were written one by one on a real 8.4.11 (capture A03 of the split-brain study)."""
    dump = read_dump(captured("dump-md/v08-unclean.txt"))
    assert dump.extents == WRITTEN
    assert dump.identifiers == "060CB5C06297DD3D:36CE151D8A21F4CD:083BB43D7ADE71D6:0000000000000004"
    assert (dump.size, dump.unclean) == (524200 * 512, True)


def test_a_primary_keeps_its_bitmap_to_itself() -> None:
    """The same node before the flush: the kernel counted 80 KiB, the metadata has nothing."""
    assert not read_dump(captured("dump-md/v08-stale.txt")).extents


def test_a_bitmap_of_9_is_the_peers() -> None:
    """Written with `drbdmeta restore-md` 9.22 and dumped again: two slots, of peers 2 and 1."""
    text = captured("dump-md/v09-two-peers.txt")
    dump = read_dump(text, peer=1)
    assert dump.extents == Extents.of([(0, 1), (8, 1), (63, 2), (130, 1), (777, 1), (1000, 10), (2000, 3), (6400, 3200), (16369, 1)])
    assert dump.identifiers == "060CB5C06297DD3D:36CE151D8A21F4CD:083BB43D7ADE71D6:36CE151D8A21F4CD"
    assert read_dump(text, peer=2).extents == Extents.of([(3, 2)])
    with pytest.raises(DumpError, match="peer 0 has no bitmap"):
        read_dump(text, peer=0)


@pytest.mark.parametrize("cut", [0, 100, 300, 600, 900])
def test_a_dump_cut_short_is_no_dump(cut: int) -> None:
    for name in ("v08-unclean", "v09-two-peers"):
        with pytest.raises(DumpError):
            read_dump(captured(f"dump-md/{name}.txt")[: -cut - 20], peer=1)


def test_a_bit_that_went_missing_is_noticed() -> None:
    text = captured("dump-md/v08-unclean.txt").replace("0x0003FF0000000000", "0x0003FE0000000000")
    with pytest.raises(DumpError, match="19 bits were read where the dump counts 20"):
        read_dump(text)


def printed(blocks: frozenset[int], words: int, per_bit: int, size: int) -> str:
    """As drbdmeta's fprintf_bm prints it: eight words' worth that are the same are counted, the rest four to a line."""
    values = [sum(1 << bit for bit in range(64) if word * 64 + bit in blocks) for word in range(words)]
    lines, at = [], 0
    while at < words:
        same = 0
        while at + same < words and values[at + same] == values[at] and values[at] >> 32 == values[at] & 0xFFFFFFFF:
            same += 1
        same = same // 4 * 4
        if same > 4:
            lines.append(f"    {same} times 0x{values[at]:016X};")
            at += same
        else:
            lines.append("    " + " ".join(f"0x{value:016X};" for value in values[at : at + 4]))
            at += 4
    body = "\n".join(["   # at 0kB", *lines])
    return (f'version "v08";\nuuid {{\n    0x{1:016X}; 0x{2:016X}; 0x{3:016X}; 0x{4:016X};\n    flags 0x00000000;\n}}\n'
            f"la-size-sect {size // 512};\nbm-byte-per-bit {per_bit};\nbm {{\n{body}\n}}\n# bits-set {len(blocks)};\n")


@given(st.frozensets(st.one_of(st.integers(0, 1023), st.integers(64, 900)), max_size=400), st.booleans(), st.sampled_from([1, 2, 8]))
def test_any_bitmap_is_read(blocks: frozenset[int], inverted: bool, scale: int) -> None:
    bits = frozenset(range(1024)) - blocks if inverted else blocks
    dump = read_dump(printed(bits, 16, BLOCK * scale, 1024 * BLOCK * scale))
    assert dump.extents == Extents.of((bit * scale, scale) for bit in bits)
    assert dump.identifiers == "0000000000000001:0000000000000002:0000000000000003:0000000000000004"
