"""What a follower says of /proc/drbd, as the events that `drbdsetup events2` would have pushed. Pure.

The line is a minor's first one with its `oos:` behind it: `1: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r----- oos:0`.
With events2 beside it only the counter counts: what flows through two pipes may be overtaken, and the newer must not be undone.
"""

from __future__ import annotations

import re

from orchestrator.probes.events2 import Event
from orchestrator.probes.proc_drbd import read_proc
from states.facts import Side
from states.vocabulary import ConnectionState, ReplicationState

OUT_OF_SYNC = re.compile(r" oos:(\d{1,15})$", re.ASCII)


def counter_event(resource: str, text: str) -> Event | None:
    """How much is out of sync, KiB, as an event; None if the line does not say."""
    dirty = OUT_OF_SYNC.search(text)
    return None if dirty is None else _change("peer-device", resource, ("out-of-sync", dirty[1]))


def state_events(resource: str, minor: int, text: str) -> tuple[Event, ...]:
    """Everything the line says, for a node that has no events2; nothing if it cannot be read."""
    line, _, dirty = text.partition(" oos:")
    if not line.startswith(f"{minor}: cs:"):
        return ()
    side = read_proc(f"{line}\n    oos:{dirty}\n", minor, Side(""))
    if side.configured is None:
        return ()
    found = [
        _change("resource", resource, ("role", side.role.value), ("suspended", "user" if side.suspended else "no")),
        _change("device", resource, ("disk", side.disk.value)),
    ]
    if side.connection in (ConnectionState.STAND_ALONE, ConnectionState.MISSING):
        return (*found, Event("destroy", "connection", (("name", resource),)))
    connection, peer = (("connection", side.connection.value), ("role", side.peer_role.value)), ("peer-disk", side.peer_disk.value)
    replication = ("replication", side.replication.value if side.replication is not ReplicationState.OFF else "Off")
    return (*found, _change("connection", resource, *connection), _change("peer-device", resource, replication, peer, *_dirty(dirty)))


def _dirty(text: str) -> tuple[tuple[str, str], ...]:
    return (("out-of-sync", text),) if text.isascii() and text.isdecimal() else ()


def _change(kind: str, resource: str, *words: tuple[str, str]) -> Event:
    return Event("change", kind, (("name", resource), *words))
