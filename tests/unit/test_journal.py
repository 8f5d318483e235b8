"""The journal on a real file: what was written is read, a torn end is tolerated, and nothing else is."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.journal import Intent, Journal, JournalError, open_intents, read

RECORDS = (
    {"kind": "intent", "op": "1", "key": "attach:r0:a", "node": "a"},
    {"kind": "intent", "op": "2", "key": "attach:r0:b", "node": "b", "because": "ä, \"quoted\"\nand a new line"},
    {"kind": "outcome", "op": "1", "key": "attach:r0:a", "said": "exited", "code": 0},
)


def clock() -> float:
    return 1234.5678


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "folder" / "journal"
    with Journal(found, clock) as journal:
        for record in RECORDS:
            journal.write(record)
    return found


def test_what_was_written_is_read(path: Path) -> None:
    assert tuple(read(path)) == tuple({"at": 1234.568, **record} for record in RECORDS)


def test_several_records_are_one_write(path: Path) -> None:
    with Journal(path, clock) as journal:
        journal.write(*RECORDS)
        assert len(journal.past) == 3
    assert len(tuple(read(path))) == 6


def test_no_journal_yet_is_an_empty_one(tmp_path: Path) -> None:
    assert tuple(read(tmp_path / "none")) == ()


def test_an_intent_without_outcome_stays_open(path: Path) -> None:
    assert open_intents(read(path)) == (Intent("2", "attach:r0:b", "b"),)


def test_a_tail_torn_at_any_byte_is_tolerated_and_cut_off(path: Path, tmp_path: Path) -> None:
    whole = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    torn = tmp_path / "torn"
    for length in range(len(whole) + 1):
        torn.write_bytes(whole[:length])
        kept = sum(end <= length for end in ends)
        assert len(tuple(read(torn))) == kept
        with Journal(torn, clock) as journal:
            assert len(journal.past) == kept
            journal.write({"kind": "outcome", "op": "2"})
        assert len(tuple(read(torn))) == kept + 1, f"torn after {length} bytes"


def test_damage_in_the_middle_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    first = whole.index(b"\n")
    for place in range(0, first + 1, 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x15]) + whole[place + 1:])
        with pytest.raises(JournalError, match="line 1 is damaged"):
            Journal(path, clock)
        assert path.read_bytes() != whole  # left as it was found, for a person to look at


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """The kernel refuses to let a file of this process grow beyond `size`, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)


@pytest.mark.parametrize("room", [0, 1, 40])
def test_a_full_disk_stops_the_run_before_anything_is_sent(path: Path, room: int) -> None:
    size = path.stat().st_size
    with Journal(path, clock) as journal, file_size_limit(size + room), pytest.raises(JournalError, match="nothing was sent"):
        journal.write({"kind": "intent", "op": "3", "key": "k", "node": "a"})
    with Journal(path, clock) as journal:
        assert len(journal.past) == 3
        journal.write({"kind": "intent", "op": "3", "key": "k", "node": "a"})
    assert len(tuple(read(path))) == 4


def test_a_place_that_cannot_be_written_names_the_key_to_change(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match=r"\[cluster\] journal"):
        Journal(tmp_path / "file" / "journal", clock)


def test_it_is_for_its_owner_only(path: Path) -> None:
    assert os.stat(path).st_mode & 0o077 == 0  # noqa: PTH116 - as ls would ask
