"""What an archive says of itself: `manifest.json`. Pure.

It is written last, when everything else has been verified: an archive without it is not one.
"""

from __future__ import annotations

import json
from typing import Any

from attrs import asdict, field, frozen

from orchestrator.errors import OrchestrateError
from orchestrator.recovery.extents import Extents

FORMAT = 1
"""Raise it when an older program could misread what is written."""


class DamagedArchiveError(OrchestrateError):
    """The archive is not whole, or not one that this program understands. Says which file, and what is wrong with it."""

    code = 2


@frozen
class Changed:
    """What one side changed while it was alone. `inflated`: KiB marked on top of that by the activity log after a crash (0: the
    blocks are exactly those that were written)."""

    node: str
    identifiers: str
    extents: Extents
    size: int
    inflated: int = 0
    versions: str = ""


@frozen
class Chunk:
    """A piece of the saved blocks, in their order: its bytes before compression, and their sha256."""

    file: str
    length: int
    sha256: str


@frozen
class Manifest:
    """One archive.

    The victim's image is: the survivor's image as it was at `flushed`, with the blocks `saved` replaced by those in `chunks`.
    `saved` is the union of both sides' extents (or more: the whole device, or gaps filled where there were too many runs).

    data_sha256   of the chunks, one after the other: the same as a second read on the node said
    base_sha256   of the victim's image with `saved` left out: a base that has another one is not the right one
    image_sha256  of the victim's whole image, read on the victim: what a restore has to end with
    survivor_base_sha256  of the survivor's image with `saved` left out, read on it after the flush; "" if nobody asked. Another
                  one than `base_sha256`: the survivor wrote elsewhere since, or DRBD's bitmaps did not know of all there was
    files         the other half of the archive, the changed files by name, if they were saved too (recovery/files)
    """

    resource: str
    victim: Changed
    survivor: Changed
    size: int
    saved: Extents
    chunk_size: int
    chunks: tuple[Chunk, ...]
    data_sha256: str
    base_sha256: str
    image_sha256: str
    began: float
    flushed: float
    verified: float
    survivor_base_sha256: str = ""
    files: dict[str, Any] | None = field(default=None)

    @property
    def length(self) -> int:
        """Bytes of the saved blocks before compression."""
        return sum(chunk.length for chunk in self.chunks)

    def to_json(self) -> str:
        """As `manifest.json` has it. Extents are lists of [first block, count]; a block is 4 KiB. Times: seconds since the epoch."""
        data = asdict(self, value_serializer=lambda _, __, value: value.runs if isinstance(value, Extents) else value)
        data["union"] = (self.victim.extents | self.survivor.extents).runs
        return json.dumps({"format": FORMAT, **data}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = "manifest.json") -> Manifest:
        """What `to_json` wrote. Raises DamagedArchiveError; `where` names the file in it."""
        try:
            data = json.loads(text)
            made = data.pop("format")
            if made != FORMAT:
                raise DamagedArchiveError(f"{where}: its format is {made}, this program knows {FORMAT}: use the one that made it")
            data.pop("union")
            victim, survivor = _changed(data.pop("victim")), _changed(data.pop("survivor"))
            chunks = tuple(Chunk(**chunk) for chunk in data.pop("chunks"))
            return cls(victim=victim, survivor=survivor, saved=_extents(data.pop("saved")), chunks=chunks, **data)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedArchiveError(f"{where}: not a manifest of ours: {type(error).__name__}: {error}") from error


def _changed(data: dict[str, Any]) -> Changed:
    return Changed(extents=_extents(data.pop("extents")), **data)


def _extents(runs: list[list[int]]) -> Extents:
    return Extents(tuple((int(first), int(count)) for first, count in runs))
