"""`drbdsetup events2` lines: parsed, and folded into a side. Formats: drbd-utils 9.22 on 8.4 and 9 (captures of both).

Unknown keys are ignored. Unknown words, and those that are cut off, become UNKNOWN: newer tools say more. A side's
identifiers are forgotten when something happens that may have changed them; connecting and staying as it was does not.
"""

from __future__ import annotations

from attrs import field, frozen

from states.evolve import evolve
from states.facts import Side
from states.vocabulary import ConnectionState, DiskState, ReplicationState, Role


@frozen
class Event:
    """One line. `action`: exists, create, change, destroy, call, response; `kind`: resource, connection, ...; `at`: the
    node's own time stamp, "" without --timestamps."""

    action: str
    kind: str
    words: tuple[tuple[str, str], ...]
    at: str = ""
    _values: dict[str, str] = field(init=False, eq=False, repr=False)

    @_values.default
    def _read(self) -> dict[str, str]:
        return dict(self.words)

    def get(self, key: str) -> str | None:
        """The value of one word of the line."""
        return self._values.get(key)

    @property
    def resource(self) -> str:
        """The resource the line is about."""
        return self.get("name") or ""


ACTIONS = frozenset({"exists", "create", "change", "destroy", "call", "response", "rename"})


def parse_line(line: str) -> Event | None:
    """One line as an event; None for `exists -`, blank lines, and anything that is not an event."""
    words = line.split()
    at = ""
    if words and words[0][:1].isdecimal() and "T" in words[0]:
        at, words = words[0], words[1:]
    if len(words) < 2 or words[0] not in ACTIONS or words[1] == "-":
        return None
    cut = [word.partition(":") for word in words[2:]]
    pairs = tuple([(key, value) for key, sign, value in cut if sign])
    return Event(words[0], words[1], pairs, at)


def _alone(side: Side) -> Side:
    """Without a connection object: what a clean disconnect leaves on 8.4."""
    return evolve(
        side, connection=ConnectionState.MISSING, replication=ReplicationState.OFF, peer_role=Role.UNKNOWN, peer_disk=DiskState.UNKNOWN,
    )


def absent(side: Side) -> Side:
    """As if the kernel did not know the resource."""
    return evolve(_alone(side), configured=False, role=Role.SECONDARY, disk=DiskState.DISKLESS, suspended=False, running=())


def _diskless(side: Side) -> Side:
    return evolve(side, disk=DiskState.DISKLESS)


def apply(event: Event, side: Side) -> Side:
    """The side after this event. Helper calls and paths change nothing."""
    if event.action in ("call", "response", "rename"):
        return side
    ended = event.action == "destroy"
    after = _ENDERS.get(event.kind, _same)(side) if ended else _READERS.get(event.kind, _unread)(event, side)
    return evolve(after, identifiers=None) if may_have_rotated(side, after) else after


CALM = frozenset({ReplicationState.OFF, ReplicationState.ESTABLISHED, ReplicationState.UNKNOWN})


def may_have_rotated(before: Side, after: Side) -> bool:
    """Something that moves identifiers has happened: a disk state, a resync, the loss of a peer, a promotion alone."""
    if before.disk is not after.disk and before.disk is not DiskState.UNKNOWN:
        return True
    if before.peer_disk is not after.peer_disk and before.peer_disk is not DiskState.UNKNOWN:
        return True
    if before.role is not after.role and not after.connected:
        return True
    if before.connected and not after.connected:
        return True
    return before.replication is not after.replication and not (before.replication in CALM and after.replication in CALM)


def _resource(event: Event, side: Side) -> Side:
    role = event.get("role")
    suspended = event.get("suspended")
    return evolve(
        side, configured=True, role=Role.read(role) if role is not None else side.role,
        suspended=suspended != "no" if suspended is not None else side.suspended,
    )


def _device(event: Event, side: Side) -> Side:
    disk, size = event.get("disk"), event.get("size")
    return evolve(
        side, configured=True, disk=DiskState.read(disk) if disk is not None else side.disk,
        size=int(size) if size and size.isdecimal() else side.size,
    )


def _connection(event: Event, side: Side) -> Side:
    state, role = event.get("connection"), event.get("role")
    return evolve(
        side, connection=ConnectionState.read(state) if state is not None else side.connection,
        peer_role=Role.read(role) if role is not None else side.peer_role,
    )


def _peer_device(event: Event, side: Side) -> Side:
    replication, disk, dirty = event.get("replication"), event.get("peer-disk"), event.get("out-of-sync")
    return evolve(
        side, replication=ReplicationState.read(replication) if replication is not None else side.replication,
        peer_disk=DiskState.read(disk) if disk is not None else side.peer_disk,
        out_of_sync=int(dirty) if dirty and dirty.isdecimal() else side.out_of_sync,
    )


def _same(side: Side) -> Side:
    return side


def _unread(_: Event, side: Side) -> Side:
    return side


_ENDERS = {"resource": absent, "connection": _alone, "device": _diskless}
_READERS = {"resource": _resource, "device": _device, "connection": _connection, "peer-device": _peer_device}


def read_dump(text: str, side: Side, name: str) -> Side:
    """A side from `events2 --now` output. No `exists resource` line: the kernel does not know the resource."""
    events = [event for event in map(parse_line, text.splitlines()) if event is not None and event.resource == name]
    side = absent(side)
    for event in events:
        side = _READERS.get(event.kind, _unread)(event, side)
    return side
