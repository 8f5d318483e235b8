"""`/proc/drbd` of 8.3 and 8.4: one read says role, disks, connection and out-of-sync of every minor, without a fork.

Format: kernel `drbd_proc.c` as captured (`1: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----`, then a
line with `oos:` in KiB). DRBD 9 prints only its version there.
"""

from __future__ import annotations

import re

from orchestrator.probes.events2 import absent
from states.evolve import evolve
from states.facts import Side
from states.vocabulary import ConnectionState, DiskState, ReplicationState, Role

CONNECTION = {"WFConnection": "Connecting", "WFReportParams": "Connecting"}
"""8.x words for what events2 calls otherwise. WFReportParams: the handshake is under way, nothing is decided."""


def read_proc(text: str, minor: int, side: Side) -> Side:
    """A side from its minor's lines. No line: the kernel does not know the minor."""
    match = re.search(rf"^ *{minor}: cs:(\S+)(.*)\n?(.*)", text, re.MULTILINE)
    if match is None:
        return absent(side)
    word, rest, counters = match.groups()
    if word == "Unconfigured":
        return evolve(absent(side), configured=True)
    roles = re.search(r"(?:ro|st):(\w+)/(\w+) ds:(\w+)/(\w+)\s+\S?\s+([rs])", rest)
    if roles is None:
        return side
    connection, replication = _link(word)
    dirty = re.search(r"\boos:(\d+)", counters)
    return evolve(
        side, configured=True, role=Role.read(roles[1]), peer_role=Role.read(roles[2]), disk=DiskState.read(roles[3]),
        peer_disk=DiskState.read(roles[4]), suspended=roles[5] == "s", connection=connection, replication=replication,
        out_of_sync=int(dirty[1]) if dirty else side.out_of_sync,
    )


def _link(word: str) -> tuple[ConnectionState, ReplicationState]:
    if word == "Connected":
        return ConnectionState.CONNECTED, ReplicationState.ESTABLISHED
    replication = ReplicationState.read(word)
    if replication is not ReplicationState.UNKNOWN:
        return ConnectionState.CONNECTED, replication
    return ConnectionState.read(CONNECTION.get(word, word)), ReplicationState.OFF
