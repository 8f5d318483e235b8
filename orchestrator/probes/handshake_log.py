"""What the kernel logged about its handshakes: the identifiers it compared, the rule it went by, and what came of it.

Both dialects: 8.4 (`block drbd1: uuid_compare()=100 by rule 90`) and 9 (`drbd r0/0 drbd1 PEER: uuid_compare()=no-sync
by rule=reconnected`). Sources: captures of 8.4.11, 9.2.18, 9.3.3; the format strings of both `drbd_receiver.c`. The log
is a ring that forgets: what is not in it may still have happened. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum

from attrs import evolve, frozen


class Outcome(Enum):
    """What the kernel did about the comparison's answer, by the line that says so."""

    UNRELATED = "Unrelated data, aborting!"
    UNRESOLVED = "unresolved, dropping connection!"
    BY_POLICY = "automatically solved."
    BY_FLAG = "manually solved."
    REVERSED = "Resync direction reversed by --discard-my-data"
    NOT_TARGET = "I shall become SyncTarget, but I am primary!"
    NOT_SOURCE = "I shall become SyncSource, but I am inconsistent!"
    TOO_OLD = "To resolve this both sides have to support"
    DRY_RUN = "dry-run connect:"


@frozen
class Numbers:
    """One side of the comparison, as logged: identifiers with their lowest bit, marked 4 KiB blocks, flags."""

    current: int
    bitmap: int
    history: tuple[int, int]
    bits: int
    flags: int

    @property
    def discard(self) -> bool:
        """--discard-my-data. 8.4 logs 0 for its own flags always: look at what the peer logged about us."""
        return bool(self.flags & 0x1)

    @property
    def crashed(self) -> bool:
        """Was Primary when it crashed. 8.4: as for `discard`."""
        return bool(self.flags & 0x2)

    @property
    def reconnecting(self) -> bool:
        """DRBD 9: this connection was up before."""
        return bool(self.flags & 0x100)

    @property
    def lost_quorum(self) -> bool:
        """DRBD 9: lost quorum while Primary."""
        return bool(self.flags & 0x400)


@frozen
class Handshake:
    """One comparison as one kernel logged it. `becomes` is "source", "target" or None (no resync seen).

    `primaries` is what a split-brain line counted. `by_disks`: the disk states overruled the answer.
    """

    generation: str
    device: str
    mine: Numbers | None
    theirs: Numbers | None
    value: str
    rule: str
    outcomes: tuple[Outcome, ...] = ()
    becomes: str | None = None
    by_disks: bool = False
    full: bool = False
    primaries: int | None = None


_STAMP = r"^(?:<\d+>)?(?:\[\s*[\d.]+\]\s*)?"
_LINE = re.compile(_STAMP + r"(?P<device>block drbd\d+|drbd \S+/\d+ drbd\d+ [^:\s]+): (?P<text>.*)$")
_DUMP = re.compile("(self|peer) " + ":".join(["([0-9A-F]{16})"] * 4) + r" bits:(\d+) flags:([0-9A-F]+)")
_ANSWER = re.compile(r"uuid_compare\(\)=(\S+) by rule[ =](\S+)")
_BECOMES = re.compile(r"-> (?:WFBitMap([ST])|Sync(Source|Target)) \)|Began resync as Sync(Source|Target)")
_CONNECTED = re.compile(r"repl\( Off -> Established \)|conn\( WFReportParams -> Connected \)")
_PRIMARIES = re.compile(r"Split-Brain detected, (\d) primaries")
_INCOMPATIBLE = re.compile(_STAMP + r"drbd [^:]*: incompatible (\S+) settings", re.MULTILINE)


def handshakes(log: bytes) -> tuple[Handshake, ...]:
    """All comparisons in a kernel log, oldest first; lines of other devices may lie between."""
    done: list[Handshake] = []
    dumps: dict[str, dict[str, Numbers]] = {}
    latest: dict[str, int] = {}
    for device, text in _lines(log):
        if text.startswith("drbd_sync_handshake:"):
            dumps.pop(device, None)
            latest.pop(device, None)
        elif dump := _DUMP.match(text):
            if device in latest:  # a filtered log may lack the line that begins a handshake
                dumps.pop(device, None)
                latest.pop(device)
            # The first dump of each side is what was compared; a second one shows a repair the comparison made.
            dumps.setdefault(device, {}).setdefault(dump[1], _numbers(dump))
        elif answer := _ANSWER.match(text):
            sides = dumps.pop(device, {})
            latest[device] = len(done)
            done.append(Handshake(
                "8.4" if device.startswith("block") else "9", device, sides.get("self"), sides.get("peer"),
                answer[1], answer[2],
            ))
        elif _CONNECTED.search(text):
            latest.pop(device, None)
        elif device in latest:
            done[latest[device]] = _with(done[latest[device]], text)
    return tuple(done)


def incompatible_settings(log: bytes) -> tuple[str, ...]:
    """Settings over which the kernel refused a connection before comparing anything, oldest first."""
    return tuple(_INCOMPATIBLE.findall(log.decode("utf-8", "replace")))


def _lines(log: bytes) -> Iterator[tuple[str, str]]:
    for line in log.decode("utf-8", "replace").splitlines():
        if found := _LINE.match(line):
            yield found["device"], found["text"]


def _numbers(dump: re.Match[str]) -> Numbers:
    current, bitmap, newer, older = (int(dump[index], 16) for index in range(2, 6))
    return Numbers(current, bitmap, (newer, older), int(dump[6]), int(dump[7], 16))


def _with(seen: Handshake, text: str) -> Handshake:
    """The handshake, and what one more line says about it."""
    if outcome := next((each for each in Outcome if each.value in text), None):
        seen = evolve(seen, outcomes=(*seen.outcomes, outcome))
    if counted := _PRIMARIES.search(text):
        seen = evolve(seen, primaries=int(counted[1]))
    if "due to disk states" in text:
        seen = evolve(seen, by_disks=True)
    if "Writing the whole bitmap, full sync required" in text or "writing one bitmap slot, after" in text:
        seen = evolve(seen, full=True)
    if seen.becomes is None and (turn := _BECOMES.search(text)):
        word = turn[1] or turn[2] or turn[3]
        seen = evolve(seen, becomes="source" if word.startswith("S") else "target")
    return seen
