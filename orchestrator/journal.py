"""What was intended and what came of it: one JSON record per line, each with a checksum, each on disk before it counts.

Notes (what was seen and waited for) decide nothing: they are written at once and reach the disk with the next record.

A torn last line (power lost while writing) is tolerated and cut off; anything else unreadable is an error. `fold` turns
records into the ledger `states` works with. Times are passed in, seconds since the epoch.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from attrs import frozen

from orchestrator.errors import OrchestrateError
from states.identifiers import Identifiers

Record = dict[str, Any]
_ENCODER = json.JSONEncoder(separators=(",", ":"), sort_keys=True)


class JournalError(OrchestrateError):
    """The journal cannot be written or is damaged in its middle; nothing may be sent without it."""

    code = 4


@frozen
class Intent:
    """A step whose outcome the journal does not know."""

    op: str
    key: str
    node: str


def _line(record: Record) -> bytes:
    body = _ENCODER.encode(record)
    return f"{zlib.crc32(body.encode()):08x} {body}\n".encode()


def whole(line: bytes) -> Record | None:
    """The record of one line, newline included; None where it is torn or damaged."""
    checksum, _, body = line.rstrip(b"\n").partition(b" ")
    good = line.endswith(b"\n") and checksum == f"{zlib.crc32(body):08x}".encode()
    record: Record | None = json.loads(body) if good else None
    return record


def read(path: Path) -> Iterator[Record]:
    """Every whole record. Raises JournalError for damage anywhere but in the last line."""
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return
    for number, line in enumerate(lines, 1):
        record = whole(line)
        if record is not None:
            yield record
        elif number < len(lines):
            raise JournalError(f"{path}: line {number} is damaged; move the file away to start a new one")


def open_intents(records: Iterable[Record]) -> tuple[Intent, ...]:
    """Intents without an outcome, oldest first."""
    found: dict[str, Intent] = {}
    for record in records:
        if record["kind"] == "intent":
            found[record["op"]] = Intent(record["op"], record["key"], record["node"])
        elif record["kind"] == "outcome":
            found.pop(record["op"], None)
    return tuple(found.values())


def newest(records: Iterable[Record]) -> tuple[tuple[str, str, Identifiers], ...]:
    """The last identifiers of each side that any run saw: resource, node, identifiers."""
    known = [record for record in records if record["kind"] == "known"]
    found = {(record["resource"], record["node"]): Identifiers.bare(record["identifiers"]) for record in known}
    return tuple((resource, node, identifiers) for (resource, node), identifiers in found.items())


class Journal:
    """An open journal. Use as a context manager; every `write` is on disk when it returns, notes apart."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._clock = clock
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.past: tuple[Record, ...] = tuple(read(path))
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            self._cut_torn_tail()
        except OSError as error:
            raise JournalError(f"{path}: {error.strerror}; name another place: [cluster] journal = \"...\"") from error
        self.path = path

    def forget(self) -> None:
        """What was read at the start is not needed any more: for whoever keeps it open for months."""
        self.past = ()

    def _cut_torn_tail(self) -> None:
        size = os.fstat(self._file).st_size
        tail = os.pread(self._file, min(size, 1 << 20), max(0, size - (1 << 20)))
        if tail and not tail.endswith(b"\n"):
            os.ftruncate(self._file, size - (len(tail) - tail.rfind(b"\n") - 1))

    def write(self, *records: Record, note: bool = False) -> None:
        """Append records and fsync once; a `note` waits for the next fsync. Raises JournalError (disk full, file gone)."""
        stamped = b"".join(_line({"at": round(self._clock(), 3), **record}) for record in records)
        try:
            written = os.write(self._file, stamped)
            if written != len(stamped):  # a torn line must not end up in the middle
                os.ftruncate(self._file, os.fstat(self._file).st_size - written)
                raise JournalError(f"{self.path}: the disk is full; nothing was sent")
            if not note:
                os.fsync(self._file)
        except OSError as error:
            raise JournalError(f"{self.path}: {error.strerror}; nothing was sent") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._file)
