"""Where the logical volumes of a physical volume lie, from the first bytes of the disk. Pure: no LVM tool is asked.

LVM's tools would have to be pointed at the disk below DRBD, with a configuration that lets them; here nothing can be
activated by reading. Label, headers and the text are as in lvm2's lib/format_text (layout.h, import_vsn1.c), the same since 2.02.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Any

from attrs import frozen

from orchestrator.recovery.extents import SECTOR, Run

LABEL = b"LABELONE"
MAGIC = b" LVM2 x[5A%r0N*>"
TOKEN = re.compile(r'#[^\n]*|("(?:\\.|[^"\\])*")|([A-Za-z0-9_.+-]+)|([=\[\]{},])|\s+')


class LvmError(ValueError):
    """There are volumes on this disk, and where they lie cannot be read."""


@frozen
class Segment:
    """`count` sectors from `start` of a volume lie from `first` of the disk."""

    start: int
    count: int
    first: int


@frozen
class Volume:
    """A logical volume, "VG/LV". `why`: why its segments are not known, "" if they are."""

    name: str
    segments: tuple[Segment, ...] = ()
    why: str = ""


def read_volumes(head: bytes) -> tuple[Volume, ...] | None:
    """The volumes of a disk that begins with `head`; None if it is no physical volume. LvmError for one that cannot be read."""
    label = next((at for at in range(0, 4 * SECTOR, SECTOR) if head[at:at + 8] == LABEL), None)
    if label is None:
        return None
    text = _text(head, label)
    if text is None:
        return ()
    name, group = next(((key, value) for key, value in parse(text).items() if isinstance(value, dict)), ("", {}))
    uuid = head[label + struct.unpack_from("<I", head, label + 20)[0]:][:32].decode("ascii", "replace")
    try:
        return tuple(_volume(name, key, group, uuid) for key, one in group.get("logical_volumes", {}).items() if "VISIBLE" in one["status"])
    except (KeyError, TypeError, IndexError) as error:
        raise LvmError(f"the metadata of {name} lack {error}") from error


def _text(head: bytes, label: int) -> str | None:
    """The newest metadata text, None for a physical volume without a group."""
    at = label + struct.unpack_from("<I", head, label + 20)[0] + 40
    _, at = _areas(head, at)       # of data
    metadata, _ = _areas(head, at)
    if not metadata:
        raise LvmError("this physical volume keeps no metadata of its own")
    start, size = metadata[0]
    if head[start + 4:start + 20] != MAGIC:
        raise LvmError(f"no LVM2 metadata at byte {start}")
    offset, length = struct.unpack_from("<QQ", head, start + 40)
    if not offset:
        return None
    text = head[start + offset:start + min(offset + length, size)]
    if offset + length > size:     # a ring behind the header's own sector
        text += head[start + SECTOR:start + SECTOR + offset + length - size]
    if len(text) != length:
        raise LvmError(f"its metadata lie beyond the first {len(head)} bytes")
    return text.rstrip(b"\0").decode(errors="surrogateescape")


def _areas(head: bytes, at: int) -> tuple[list[Run], int]:
    """A list of (offset, size) in bytes that ends with zeros, and where the next one begins."""
    found: list[Run] = []
    while True:
        offset, size = struct.unpack_from("<QQ", head, at)
        at += 16
        if not offset:
            return found, at
        found.append((offset, size))


def _volume(group: str, name: str, values: dict[str, Any], uuid: str) -> Volume:
    extent = values["extent_size"]
    physical = {key: (one["id"].replace("-", ""), one["pe_start"]) for key, one in values["physical_volumes"].items()}
    volume = values["logical_volumes"][name]
    full = f"{group}/{name}"
    segments = []
    for number in range(1, volume["segment_count"] + 1):
        one = volume[f"segment{number}"]
        if one["type"] != "striped" or one["stripe_count"] != 1:
            kind = one["type"] if one["type"] != "striped" else f"striped over {one['stripe_count']}"
            return Volume(full, (), f"{full} is not linear: {kind}")
        disk, first = one["stripes"]
        if physical[disk][0] != uuid:
            return Volume(full, (), f"{full} lies on another disk, too")
        segments.append(Segment(one["start_extent"] * extent, one["extent_count"] * extent, physical[disk][1] + first * extent))
    return Volume(full, tuple(segments))


def parse(text: str) -> dict[str, Any]:
    """LVM's text: `key = value`, `key { ... }`, lists in brackets, `#` comments. LvmError for anything else."""
    return _section(_tokens(text), "")


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            raise LvmError(f"not LVM's text: {text[at:at + 20]!r}")
        at = match.end()
        word = match[1] or match[2] or match[3]
        if word:
            yield word


def _section(tokens: Iterator[str], end: str) -> dict[str, Any]:
    """Until `end`: a brace, or "" for that of the text."""
    found: dict[str, Any] = {}
    while (key := next(tokens, "")) != end:
        sign = next(tokens, "")
        if sign == "{":
            found[key] = _section(tokens, "}")
        elif sign == "=":
            found[key] = _value(tokens)
        else:
            raise LvmError(f"= or {{ was expected behind {key}, found {sign!r}")
    return found


def _value(tokens: Iterator[str]) -> Any:
    word = next(tokens, "")
    if word == "[":
        values = []
        while (word := next(tokens, "]")) != "]":
            if word != ",":
                values.append(_scalar(word))
        return values
    return _scalar(word)


def _scalar(word: str) -> str | int:
    if word.startswith('"'):
        return re.sub(r"\\(.)", r"\1", word[1:-1])
    return int(word) if re.fullmatch(r"-?\d+", word) else word
