"""The archive on this machine: a folder.

    ARCHIVE/manifest.json      what it is (manifest.py); written last
    ARCHIVE/blocks/000000.z    the saved blocks in their order, a chunk of 16 MiB each, deflated by zlib
    ARCHIVE/files...           the changed files by name, if they were saved too (recovery/files)

A folder and not one file: a chunk that is there and right need not be read again after a break, and the changed files are added
later without writing the blocks again; `tar` makes one file of it for whoever wants that. While it is being made it is called
ARCHIVE.partial and has `saving.json`, which says what of, and `sums`, a line for each chunk that is safely on the disk.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import define, evolve, field, frozen

from orchestrator.errors import RefusedError, StepFailedError
from orchestrator.recovery.extents import Extents
from orchestrator.recovery.manifest import Changed, Chunk, DamagedArchiveError, Manifest
from orchestrator.recovery.request import SaveRequest
from states.goal import Refused

CHUNK = 16 * 1024 * 1024
"""Bytes of a chunk: what is lost at most when a save is broken off."""
SPARE = 16 * 1024 * 1024
"""Bytes that are left free for the manifest and the file system's own."""
LEVEL = 1
"""zlib's fastest: blocks of a file system are either full of zeros or hardly worth more."""


class SaveFailedError(StepFailedError):
    """Saving was broken off: by a tool on a node, a connection, or a disk here. Nothing may be discarded. What is there stays
    there; the same command goes on from it."""


# -- reading -----------------------------------------------------------------------------------------------------------

@frozen
class Archive:
    """A complete archive."""

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: Path) -> Archive:
        """Read the manifest. Raises DamagedArchiveError if there is none, or it is of another format."""
        path = folder / "manifest.json"
        try:
            text = path.read_text()
        except OSError as error:
            hint = "; it was never finished: run the same recovery again" if folder.name.endswith(".partial") else ""
            raise DamagedArchiveError(f"{folder} is not an archive: {path.name}: {os.strerror(error.errno or 0)}{hint}") from error
        return cls(folder, Manifest.from_json(text, str(path)))

    def pieces(self) -> Iterator[bytes]:
        """The saved blocks, chunk by chunk. Raises DamagedArchiveError at the first one that is not what was written."""
        for chunk in self.manifest.chunks:
            yield _read_chunk(self.folder / chunk.file, chunk)

    def verify(self, told: Callable[[int], None]) -> None:
        """Read all of it. `told`: bytes so far. Raises DamagedArchiveError."""
        whole, done = hashlib.sha256(), 0
        for piece in self.pieces():
            whole.update(piece)
            done += len(piece)
            told(done)
        if whole.hexdigest() != self.manifest.data_sha256:
            raise DamagedArchiveError(f"{self.folder}: the blocks have sha256 {whole.hexdigest()}, the manifest says "
                                      f"{self.manifest.data_sha256}")

    def with_files(self, files: dict[str, Any]) -> Archive:
        """The same with its section on changed files, written durably: what they are in has to be in the folder already."""
        made = Archive(self.folder, evolve(self.manifest, files=files))
        write_whole(self.folder / "manifest.json", made.manifest.to_json().encode())
        return made


def _read_chunk(path: Path, chunk: Chunk) -> bytes:
    try:
        data = zlib.decompress(path.read_bytes())
    except OSError as error:
        raise DamagedArchiveError(f"{path}: {os.strerror(error.errno or 0)}") from error
    except zlib.error as error:
        raise DamagedArchiveError(f"{path}: {error}") from error
    if hashlib.sha256(data).hexdigest() != chunk.sha256 or len(data) != chunk.length:
        raise DamagedArchiveError(f"{path}: its sha256 is not what the archive says: the file is damaged")
    return data


# -- writing -----------------------------------------------------------------------------------------------------------

@define
class Partial:
    """An archive that is being made. Blocking: call it in a thread."""

    into: Path
    folder: Path
    identity: dict[str, Any]
    saved: Extents
    size: int
    chunk_size: int
    there: dict[int, Chunk] = field(factory=dict)
    done: Manifest | None = None
    """Set where the archive is complete already."""

    @classmethod
    def open(cls, into: Path, request: SaveRequest, sides: tuple[Changed, Changed], saved: Extents) -> Partial:
        """Begin, or go on with what is there. Raises RefusedError if the name is taken by something else, SaveFailedError."""
        size = sides[0].size
        identity = _identity(request, sides, saved)
        partial = cls(into, into.with_name(into.name + ".partial"), identity, saved, size, CHUNK)
        if into.exists():
            partial._take_complete(sides)
            return partial
        with _named(into):
            partial.folder.mkdir(parents=True, exist_ok=True)
            partial._take_chunks()
        return partial

    @property
    def length(self) -> int:
        """Bytes of the blocks to be saved."""
        return self.saved.bytes_of(self.size)

    @property
    def count(self) -> int:
        """Chunks there will be."""
        return -(-self.length // self.chunk_size)

    def length_of(self, number: int) -> int:
        """Bytes of one chunk."""
        return max(0, min(self.chunk_size, self.length - number * self.chunk_size))

    def missing(self) -> list[int]:
        """The chunks that are still to be read."""
        return [number for number in range(self.count) if number not in self.there]

    def chunks(self) -> tuple[Chunk, ...]:
        """All of them, in order."""
        return tuple(self.there[number] for number in range(self.count))

    def need_room(self) -> None:
        """Raises RefusedError (save-before-discard) if what is missing may not fit. Blocks are taken to be incompressible."""
        need = sum(self.length_of(number) for number in self.missing()) * 1001 // 1000 + SPARE
        free = shutil.disk_usage(self.folder).free
        if free < need:
            raise RefusedError(Refused(
                "save-before-discard", f"save {self.identity['resource']}",
                f"{_mib(need)} may be needed in {self.folder.parent}, {_mib(free)} are free",
                "make room there, or name another place for the archive"))

    def put(self, number: int, data: bytes) -> None:
        """Write a chunk; back when it would survive a power cut. Raises SaveFailedError (a full disk, for example)."""
        chunk = Chunk(f"blocks/{number:06}.z", len(data), hashlib.sha256(data).hexdigest())
        with _named(self.into):
            write_whole(self.folder / chunk.file, zlib.compress(data, LEVEL))
            with (self.folder / "sums").open("a") as sums:
                sums.write(f"{number} {chunk.length} {chunk.sha256}\n")
                sums.flush()
                os.fsync(sums.fileno())
        self.there[number] = chunk

    def sha256(self) -> str:
        """Of all chunks one after the other, read back from the disk. Raises DamagedArchiveError."""
        whole, folder = hashlib.sha256(), self.into if self.done is not None else self.folder
        for chunk in self.chunks():
            whole.update(_read_chunk(folder / chunk.file, chunk))
        return whole.hexdigest()

    def finish(self, manifest: Manifest) -> None:
        """It is verified: say so, and give it its name."""
        with _named(self.into):
            write_whole(self.folder / "manifest.json", manifest.to_json().encode())
            for name in ("saving.json", "sums"):
                (self.folder / name).unlink(missing_ok=True)
            _sync_folder(self.folder)
            self.folder.rename(self.into)
            _sync_folder(self.into.parent)

    def _take_complete(self, sides: tuple[Changed, Changed]) -> None:
        """The archive has its name already: it is this one, or it is in the way."""
        found = Archive.open(self.into).manifest
        ours, theirs = ([(side.node, side.identifiers) for side in pair] for pair in (sides, (found.victim, found.survivor)))
        same = ours == theirs and found.victim.extents == sides[0].extents  # the survivor may have gone on writing
        if not same or not sides[0].extents <= found.saved:
            raise RefusedError(Refused("save-before-discard", f"save {self.identity['resource']}",
                                       f"{self.into} is there and is of something else", "name another place for the archive"))
        self.done, self.chunk_size, self.saved = found, found.chunk_size, found.saved
        self.there = dict(enumerate(found.chunks))

    def _take_chunks(self) -> None:
        """What a save of the very same blocks left behind; anything else is thrown away."""
        about = self.folder / "saving.json"
        if not about.exists() and any(self.folder.iterdir()):
            raise RefusedError(Refused("save-before-discard", f"save {self.identity['resource']}",
                                       f"{self.folder} is there and is no unfinished archive", "name another place for the archive"))
        if not about.exists() or json.loads(about.read_text()) != self.identity:
            shutil.rmtree(self.folder)
            (self.folder / "blocks").mkdir(parents=True)
            write_whole(about, json.dumps(self.identity).encode())
            _sync_folder(self.folder.parent)
            return
        sums = self.folder / "sums"
        for line in sums.read_text().splitlines(keepends=True) if sums.exists() else []:
            words = line.split()
            if line.endswith("\n") and len(words) == 3:  # else torn by a power cut
                number = int(words[0])
                chunk = Chunk(f"blocks/{number:06}.z", int(words[1]), words[2])
                if chunk.length == self.length_of(number) and _is_right(self.folder / chunk.file, chunk):
                    self.there[number] = chunk


def _identity(request: SaveRequest, sides: tuple[Changed, Changed], saved: Extents) -> dict[str, Any]:
    """What has to be the same for a chunk to be of use again."""
    return {
        "resource": request.resource, "size": sides[0].size, "chunk": CHUNK,
        "identifiers": [side.identifiers for side in sides], "nodes": [side.node for side in sides],
        "saved": hashlib.sha256(saved.to_text().encode()).hexdigest(),
    }


def _is_right(path: Path, chunk: Chunk) -> bool:
    try:
        _read_chunk(path, chunk)
    except DamagedArchiveError:
        return False
    return True


def write_whole(path: Path, data: bytes) -> None:
    """Whole or not at all, also if the power goes."""
    fresh = path.with_name(path.name + ".new")
    with fresh.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _named(into: Path) -> Iterator[None]:
    """What the disk here has against it, as a SaveFailedError that says what to do."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what, cure = ("the disk is full", "make room") if full else (str(error), "mend it")
        raise SaveFailedError(f"saving into {into}: {what}; nothing was discarded; {cure} and run the same command again") from error


def _mib(size: int) -> str:
    return f"{size / 1024**2:.0f} MiB"
