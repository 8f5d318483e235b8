"""events2: whole captured streams, folded, end where the node was then seen to be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.situations import HEALTHY
from orchestrator.probes.events2 import apply, parse_line, read_dump
from states.facts import Side
from states.vocabulary import ConnectionState, DiskState, ReplicationState, Role
from tests.unit.captures import captured
from tests.unit.strategies import STEADY


def fold(name: str) -> Side:
    side = Side("node", configured=False)
    for line in captured(name).splitlines():
        event = parse_line(line)
        if event is not None and event.resource == "r0":
            side = apply(event, side)
    return side


@pytest.mark.parametrize(("name", "role", "peer_role"), [
    ("drbd-8.4.11/E01-timeline-events2-node1.txt", Role.PRIMARY, Role.PRIMARY),
    ("drbd-8.4.11/E02-timeline-events2-node2.txt", Role.PRIMARY, Role.PRIMARY),
])
def test_through_split_brain_and_recovery_to_healthy(name: str, role: Role, peer_role: Role) -> None:
    side = fold(name)
    assert (side.role, side.peer_role, side.disk, side.peer_disk) == (role, peer_role, DiskState.UP_TO_DATE, DiskState.UP_TO_DATE)
    assert (side.connection, side.replication, side.out_of_sync) == (ConnectionState.CONNECTED, ReplicationState.ESTABLISHED, 0)


@pytest.mark.parametrize("name", [f"drbd-{version}/events2-full.node{number}.txt" for version in ("9.2.18", "9.3.3") for number in (1, 2)])
def test_nine_ends_connected_and_in_sync(name: str) -> None:
    side = fold(name)
    assert (side.connection, side.replication, side.out_of_sync) == (ConnectionState.CONNECTED, ReplicationState.ESTABLISHED, 0)
    assert (side.disk, side.peer_disk) == (DiskState.UP_TO_DATE, DiskState.UP_TO_DATE)


@pytest.mark.parametrize("name", ["drbd-8.4.11/ev_sb1.log", "drbd-8.4.11/ev_sb2.log"])
def test_eight_forgets_the_connection_it_dropped(name: str) -> None:
    """`destroy connection` follows StandAlone on 8.4: what is left looks as if it had never been connected."""
    side = fold(name)
    assert side.connection is ConnectionState.MISSING
    assert side.peer_role is Role.UNKNOWN
    assert side.identifiers is None


@pytest.mark.parametrize("word", ["newer", "Primary:x", ""])
def test_a_word_nobody_knows_is_unknown(word: str) -> None:
    event = parse_line(f"change connection name:r0 connection:{word or 'x'} role:{word or 'x'}")
    assert event is not None
    side = apply(event, HEALTHY)
    assert (side.connection, side.peer_role) == (ConnectionState.UNKNOWN, Role.UNKNOWN)


def test_a_dump_of_another_resource_says_it_is_not_known() -> None:
    side = read_dump(captured("drbd-9.2.18/22e-events2-now.txt"), Side("node"), "other")
    assert side.configured is False
    assert side.connection is ConnectionState.MISSING


def test_a_dump_of_a_split_pair() -> None:
    side = read_dump(captured("drbd-9.2.18/22e-events2-now.txt"), Side("node"), "r0")
    assert side.configured is True
    assert (side.role, side.connection, side.peer_disk, side.out_of_sync) == (
        Role.PRIMARY, ConnectionState.STAND_ALONE, DiskState.UNKNOWN, 12)


@pytest.mark.parametrize("line", [
    "change connection name:r0 connection:Connecting", "change device name:r0 volume:0 disk:Inconsistent",
    "change peer-device name:r0 replication:SyncSource peer-disk:Inconsistent", "change peer-device name:r0 peer-disk:Outdated",
    "destroy connection name:r0", "destroy resource name:r0",
])
def test_what_may_rotate_identifiers_makes_them_unread(line: str) -> None:
    event = parse_line(line)
    assert event is not None
    assert apply(event, HEALTHY).identifiers is None


@pytest.mark.parametrize("line", [
    "change peer-device name:r0 out-of-sync:4", "change connection name:r0 role:Secondary", "call helper name:r0 helper:fence-peer",
    "response helper name:r0 helper:fence-peer status:0", "change path name:r0 established:yes", "change device name:r0 read:17",
])
def test_what_rotates_nothing_leaves_them(line: str) -> None:
    event = parse_line(line)
    assert event is not None
    assert apply(event, HEALTHY).identifiers == HEALTHY.identifiers


WORDS = ("change", "exists", "destroy", "device", "resource", "name:r0", "size:x", "size:²", "disk:", "role:", ":", "-", "2026T")


@STEADY
@given(st.text() | st.lists(st.sampled_from(WORDS)).map(" ".join))
def test_garbage_never_raises(line: str) -> None:
    event = parse_line(line)
    if event is not None:
        assert apply(event, HEALTHY).node == HEALTHY.node
