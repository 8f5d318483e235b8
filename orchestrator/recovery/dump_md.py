"""`drbdadm dump-md`: a node's own record of its identifiers and of the blocks it changed alone. Pure.

The text is that of drbdmeta 9.22 for both metadata formats: v08 (DRBD 8.3 and 8.4) has one bitmap, v09 one for each peer it
has a slot for. A bit is `bm-byte-per-bit` bytes, printed as 64-bit words: bit k of word w is block 64 * w + k (seen:
fixtures/captures/dump-md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import frozen

from orchestrator.recovery.extents import BLOCK, SECTOR, Extents, Run

WORDS = re.compile(r"(?:(\d+) times )?0x([0-9A-Fa-f]{16});")
ONES = (1 << 64) - 1


class DumpError(ValueError):
    """The text is not a whole dump of metadata."""


@frozen
class Dump:
    """One dump. `size`: of the replicated device, bytes. `identifiers`: current:bitmap:newer:older, as `get-gi` prints them
    (v09: of the peer that was asked about). `unclean`: the activity log was not applied."""

    identifiers: str
    size: int
    extents: Extents
    unclean: bool


def read_dump(text: str, peer: int = 0) -> Dump:
    """Read a dump. `peer`: the other node's number (v09 only). DumpError if it is cut short, or the peer has no bitmap in it."""
    version = re.search(r'^version "(v\d+)";', text, re.MULTILINE)
    size = re.search(r"^la-size-sect (\d+);", text, re.MULTILINE)
    per_bit = re.search(r"^bm-byte-per-bit (\d+);", text, re.MULTILINE)
    total = re.search(r"^# bits-set (\d+);", text, re.MULTILINE)
    if version is None or size is None or total is None:
        raise DumpError(f"this is no whole dump of metadata; it ends with {text[-80:]!r}")
    scale, odd = divmod(int(per_bit[1]) if per_bit else BLOCK, BLOCK)
    if odd or not scale:
        raise DumpError(f"a bit stands for {per_bit[1] if per_bit else '?'} bytes, which is no whole number of blocks")
    device = int(size[1]) * SECTOR
    unclean = "unclean_meta_data_dump" in text
    if version[1] == "v09":
        slot, identifiers = _peer(text, peer)
        name, last = rf"bitmap\[{slot}\]", f"bitmap[{slot + 1}]" not in text
    else:
        identifiers, name, last = _old_identifiers(text), "bm", True
    bits = Extents.of(_bits(_section(text, name)))
    if last and bits.blocks != int(total[1]):  # of v09 only the last bitmap's bits are counted
        raise DumpError(f"{bits.blocks} bits were read where the dump counts {total[1]}")
    blocks = Extents.of((first * scale, count * scale) for first, count in bits.runs)
    return Dump(identifiers, device, blocks & Extents.whole(device), unclean)


def _section(text: str, name: str) -> str:
    found = re.search(rf"^{name} \{{(.*?)^\}}", text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise DumpError(f"the dump has no {name.replace(chr(92), '')}")
    return found[1]


def _old_identifiers(text: str) -> str:
    words = re.findall(r"0x([0-9A-Fa-f]{16});", _section(text, "uuid"))
    return ":".join(words[:4])


def _peer(text: str, peer: int) -> tuple[int, str]:
    """The slot of a peer's bitmap, and the identifiers as `get-gi` would print them for it."""
    section = _section(text, rf"peer\[{peer}\]")
    index = re.search(r"bitmap-index (-?\d+);", section)
    bitmap = re.search(r"bitmap-uuid 0x([0-9A-Fa-f]{16});", section)
    current = re.search(r"^current-uuid 0x([0-9A-Fa-f]{16});", text, re.MULTILINE)
    if index is None or bitmap is None or current is None:
        raise DumpError(f"the dump does not say what peer {peer} has")
    if int(index[1]) < 0:
        raise DumpError(f"peer {peer} has no bitmap in this metadata")
    history = re.findall(r"0x([0-9A-Fa-f]{16});", _section(text, "history-uuids"))
    return int(index[1]), ":".join((current[1], bitmap[1], *history[:2]))


def _bits(section: str) -> Iterator[Run]:
    """Runs of set bits."""
    at = 0
    begin: int | None = None
    for times, digits in WORDS.findall(re.sub(r"#.*", "", section)):
        word, count = int(digits, 16), int(times or 1)
        if word in (0, ONES):
            if word == 0 and begin is not None:
                yield begin, at - begin
                begin = None
            elif word and begin is None:
                begin = at
            at += 64 * count
            continue
        for _ in range(count):
            for bit in range(64):
                if word >> bit & 1:
                    begin = at + bit if begin is None else begin
                elif begin is not None:
                    yield begin, at + bit - begin
                    begin = None
            at += 64
    if begin is not None:
        yield begin, at - begin
