"""/proc/drbd of 8.0 to 8.4 and 8.3's events: every known odd form is read, and nothing else ever says UpToDate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.probes.events83 import Event83, apply, parse_line
from orchestrator.probes.proc_drbd import Copying, read_copying, read_proc
from states.facts import Side
from states.identifiers import Identifiers
from states.vocabulary import ConnectionState, DiskState, ReplicationState, Role
from tests.unit.captures import CAPTURES, captured
from tests.unit.strategies import STEADY

C, D, R = ConnectionState, DiskState, ReplicationState
P, S, U = Role.PRIMARY, Role.SECONDARY, Role.UNKNOWN
SEEN: tuple[tuple[str, int, tuple[object, ...]], ...] = (
    # file          minor  role, peer's, disk, peer's, connection, replication, frozen, out of sync (KiB)
    ("8.0-quiet",      0, (P, S, D.UP_TO_DATE, D.UP_TO_DATE, C.CONNECTED, R.ESTABLISHED, False, None)),
    ("8.0-quiet",      5, (S, U, D.UP_TO_DATE, D.UNKNOWN, C.CONNECTING, R.OFF, False, None)),
    ("8.0-syncing",    0, (S, P, D.INCONSISTENT, D.UP_TO_DATE, C.CONNECTED, R.SYNC_TARGET, False, 687104)),
    ("8.3-syncing",    0, (S, P, D.INCONSISTENT, D.UP_TO_DATE, C.CONNECTED, R.SYNC_TARGET, False, 588416)),
    ("8.3-syncing",    8, (S, U, D.UP_TO_DATE, D.UNKNOWN, C.STAND_ALONE, R.OFF, False, 1802140)),
    ("8.3-early",      0, (P, P, D.UP_TO_DATE, D.UP_TO_DATE, C.CONNECTED, R.ESTABLISHED, False, 0)),
    ("8.3-no-newline", 0, (P, S, D.UP_TO_DATE, D.INCONSISTENT, C.CONNECTED, R.SYNC_SOURCE, False, 15355904)),
    ("8.3-stalled",    0, (P, P, D.UP_TO_DATE, D.INCONSISTENT, C.CONNECTED, R.SYNC_SOURCE, False, 919552)),
    ("8.3-details",    0, (S, P, D.INCONSISTENT, D.UP_TO_DATE, C.CONNECTED, R.SYNC_TARGET, False, 823296)),
    ("8.3-frozen",     0, (P, U, D.UP_TO_DATE, D.UNKNOWN, C.CONNECTING, R.OFF, True, 4)),
    ("8.4-verify",     0, (P, S, D.UP_TO_DATE, D.UP_TO_DATE, C.CONNECTED, R.VERIFY_S, False, 40)),
    ("8.4-negative",   0, (P, S, D.UP_TO_DATE, D.INCONSISTENT, C.CONNECTED, R.SYNC_SOURCE, False, 919552)),
)


def proc(name: str) -> str:
    return captured(f"rhcs/proc-{name}.txt")


@pytest.mark.parametrize(("name", "minor", "seen"), SEEN, ids=[f"{name}-{minor}" for name, minor, _ in SEEN])
def test_a_minor_is_what_the_kernel_says(name: str, minor: int, seen: tuple[object, ...]) -> None:
    side = read_proc(proc(name), minor, Side("n"))
    assert side.configured is True
    assert (side.role, side.peer_role, side.disk, side.peer_disk) == seen[:4]
    assert (side.connection, side.replication, side.suspended, side.out_of_sync) == seen[4:]


def test_every_text_is_read_by_a_test() -> None:
    names = {path.name for path in (CAPTURES / "rhcs").glob("proc-*.txt")}
    assert names == {f"proc-{name}.txt" for name, *_ in SEEN} | {"proc-8.3-down.txt"}


@pytest.mark.parametrize(("name", "minor"), [("8.0-quiet", 1), ("8.0-quiet", 2), ("8.0-quiet", 3), ("8.0-quiet", 7), ("8.3-syncing", 1),
                                             ("8.3-syncing", 2), ("8.3-down", 0)])
def test_unconfigured_and_not_listed_are_the_same_before_8_4(name: str, minor: int) -> None:
    side = read_proc(proc(name), minor, Side("n"))
    assert (side.configured, side.role, side.disk, side.connection) == (False, S, D.DISKLESS, C.MISSING)


def test_unconfigured_of_8_4_is_a_minor_that_the_kernel_knows() -> None:
    side = read_proc(proc("8.3-down").replace("8.3.16", "8.4.11"), 0, Side("n"))
    assert (side.configured, side.disk) == (True, D.DISKLESS)


COPIES: tuple[tuple[str, int, Copying | None], ...] = (
    ("8.0-syncing",    0, Copying(687104, 1048576, 11, 60245)),
    ("8.3-syncing",    0, Copying(588416, 1048576, 8, 65736)),
    ("8.3-syncing",    8, None),
    ("8.3-syncing",    2, None),
    ("8.3-no-newline", 0, Copying(14996 * 1024, 15360 * 1024, 248, 61440)),
    ("8.3-stalled",    0, Copying(919552, 921600, None, 0, stalled=True)),
    ("8.3-details",    0, Copying(823296, 921600, 33, 24576)),
    ("8.4-verify",     0, Copying(816640, 921600, 31, 26240, verifies=True)),
    ("8.4-negative",   0, Copying(919552, 921600, None, None)),
)


@pytest.mark.parametrize(("name", "minor", "copying"), COPIES, ids=[f"{name}-{minor}" for name, minor, _ in COPIES])
def test_progress(name: str, minor: int, copying: Copying | None) -> None:
    assert read_copying(proc(name), minor) == copying


def test_one_minors_progress_is_not_anothers() -> None:
    text = proc("8.3-syncing").replace(" 1: cs:Unconfigured", " 1: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----")
    assert read_copying(text, 1) is None
    assert read_proc(text, 1, Side("n")).out_of_sync is None


# -- events ------------------------------------------------------------------------------------------------------------

def folded(name: str) -> Side:
    side = Side("n", configured=False, out_of_sync=40, identifiers=Identifiers(0xA0, 0xB0, (0, 0), frozenset()))
    for line in captured(f"rhcs/{name}.txt").splitlines():
        event = parse_line(line)
        assert event is not None, line
        side = apply(event, side)
    return side


def test_events_end_where_the_kernel_was() -> None:
    side = folded("events-8.3")
    assert (side.role, side.peer_role, side.disk, side.peer_disk) == (P, P, D.UP_TO_DATE, D.UP_TO_DATE)
    assert (side.connection, side.replication, side.suspended) == (C.CONNECTED, R.ESTABLISHED, False)
    assert side.identifiers is None, "they may be others after a change of state"
    assert side.out_of_sync == 40, "events do not count"


def test_a_split_brain_is_told_by_the_helper_the_kernel_calls() -> None:
    events = [parse_line(line) for line in captured("rhcs/events-8.3-split.txt").splitlines()]
    assert [event.kind for event in events if event is not None] == ["ST", "ST", "UH", "UH", "ST", "ST", "ZZ", "??"]
    assert [event is not None and event.split for event in events] == [False, False, True, True, False, False, False, False]
    assert folded("events-8.3-split").connection is C.STAND_ALONE


# -- anything ----------------------------------------------------------------------------------------------------------

TEXTS = [proc(name) for name in sorted({name for name, *_ in SEEN})]


@st.composite
def damaged(draw: st.DrawFn, texts: list[str]) -> str:
    """One of the texts with a piece cut out, doubled, or replaced."""
    text = draw(st.sampled_from(texts))
    start, end = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
    middle = draw(st.one_of(st.just(""), st.just(text[start:end] * 2), st.text(max_size=8)))
    return text[:start] + middle + text[end:]


@STEADY
@given(st.one_of(damaged(TEXTS), st.text()), st.integers(0, 8))
def test_nothing_else_is_ever_up_to_date_by_mistake(text: str, minor: int) -> None:
    side = read_proc(text, minor, Side("n"))
    read_copying(text, minor)
    line = next((line for line in text.split("\n") if line.lstrip(" ").startswith(f"{minor}: cs:")), "")
    if side.disk is D.UP_TO_DATE:
        assert "ds:UpToDate/" in line
    if side.role is P:
        assert "o:Primary/" in line or "t:Primary/" in line
    if side.connected:
        assert line


@STEADY
@given(st.one_of(damaged([captured("rhcs/events-8.3.txt")]), st.text()))
def test_an_event_is_a_state_or_nothing(text: str) -> None:
    for line in text.splitlines():
        event = parse_line(line)
        side = apply(event, Side("n")) if event is not None else Side("n")
        assert side == Side("n") or (event is not None and event.kind == "ST" and " cs:" in line)


def test_what_an_event_does_not_say_is_unknown() -> None:
    side = apply(Event83("ST", 0, "{ cs:Newer ro:Newest/Primary ds:Odd/UpToDate r--- }"), Side("n"))
    assert (side.connection, side.role, side.disk) == (C.UNKNOWN, Role.UNKNOWN, D.UNKNOWN)
