"""`/proc/drbd` of 8.0 to 8.4: one read says role, disks, connection and out-of-sync of every minor, without a fork.

Format: kernel `drbd_proc.c` as captured (`1: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----`, then a
line with `oos:` in KiB, and one or two with the progress of a copy). 8.0 has `st:` for `ro:` and no `oos:`; a StandAlone minor has no
letter for the protocol; some kernels lack the line break before `finish:`. DRBD 9 prints only its version there.
"""

from __future__ import annotations

import re

from attrs import frozen

from orchestrator.probes.events2 import absent
from states.evolve import evolve
from states.facts import Side
from states.vocabulary import ConnectionState, DiskState, ReplicationState, Role

CONNECTION = {"WFConnection": "Connecting", "WFReportParams": "Connecting"}
"""8.x words for what events2 calls otherwise. WFReportParams: the handshake is under way, nothing is decided."""
KEEPS_MINORS = re.compile(r"^version: 8\.[0-3]\.", re.MULTILINE)
"""Up to 8.3 a minor that was configured once is listed as Unconfigured for ever: then the kernel knows nothing of it."""


@frozen
class Copying:
    """A copy's or a verification's progress as the kernel tells it. KiB, seconds, KiB per second; `left` and `total` are rounded to MiB
    for more than 4 GiB. `finish`, `speed`: None where they make no sense, as a negative speed, and a stalled copy's time."""

    left: int
    total: int
    finish: int | None
    speed: int | None
    stalled: bool = False
    verifies: bool = False


def read_proc(text: str, minor: int, side: Side) -> Side:
    """A side from its minor's lines. No line: the kernel does not know the minor."""
    lines = _lines(text, minor)
    if lines is None:
        return absent(side)
    word = re.match(r"cs:(\S+)", lines)
    if word is not None and word[1] == "Unconfigured":
        return absent(side) if KEEPS_MINORS.search(text) else evolve(absent(side), configured=True)
    roles = re.match(r"cs:(\w+) (?:ro|st):(\w+)/(\w+) ds:(\w+)/(\w+) +(?:[ABC] +)?([rs])[-a-zA-Z]*$", lines, re.MULTILINE)
    if roles is None:
        return side
    connection, replication = link_of(roles[1])
    return evolve(
        side, configured=True, role=Role.read(roles[2]), peer_role=Role.read(roles[3]), disk=DiskState.read(roles[4]),
        peer_disk=DiskState.read(roles[5]), suspended=roles[6] == "s", connection=connection, replication=replication,
        out_of_sync=_out_of_sync(lines, side),
    )


def _lines(text: str, minor: int) -> str | None:
    """What stands behind `MINOR: `, up to the next minor; None if the kernel has no such minor."""
    found = re.search(rf"^ *{minor}: (cs:.*(?:\n(?! *[0-9]+: cs:).*)*)", text, re.MULTILINE)
    return found[1] if found is not None else None


def _out_of_sync(lines: str, side: Side) -> int | None:
    """KiB. 8.0 counts only while it copies."""
    dirty = re.search(r"\boos:([0-9]{1,18})\b", lines)
    if dirty is not None:
        return int(dirty[1])
    copying = _progress(lines)
    return side.out_of_sync if copying is None or copying.verifies else copying.left


PROGRESS = re.compile(
    r"\[[=>.]*\] (sync'ed|verified): *[0-9.]+% \(([0-9]{1,15})/([0-9]{1,15})\)([KM]?)\s*"
    r"finish: ([0-9]{1,12}):([0-9]{2}):([0-9]{2}) speed: (-?[0-9,]{1,20}) \([^)\n]*\)[^\n]*?K/sec( \(stalled\))?",
)


def read_copying(text: str, minor: int) -> Copying | None:
    """The progress of this minor's copy or verification; None where the kernel shows none, or half of it."""
    lines = _lines(text, minor)
    return None if lines is None else _progress(lines)


def _progress(lines: str) -> Copying | None:
    found = PROGRESS.search(lines)
    if found is None:
        return None
    what, left, total, unit, hours, minutes, seconds, speed, stalled = found.groups()
    scale = 1024 if unit == "M" else 1
    digits = speed.replace(",", "")
    rate = int(digits) if re.fullmatch(r"[0-9]+", digits) else None
    finish = int(hours) * 3600 + int(minutes) * 60 + int(seconds) if rate and not stalled else None
    return Copying(int(left) * scale, int(total) * scale, finish, rate, stalled is not None, what == "verified")


def link_of(word: str) -> tuple[ConnectionState, ReplicationState]:
    """8.x has one word for the connection and for what flows over it."""
    if word == "Connected":
        return ConnectionState.CONNECTED, ReplicationState.ESTABLISHED
    replication = ReplicationState.read(word)
    if replication not in (ReplicationState.UNKNOWN, ReplicationState.OFF, ReplicationState.ESTABLISHED):
        return ConnectionState.CONNECTED, replication
    return ConnectionState.read(CONNECTION.get(word, word)), ReplicationState.OFF
