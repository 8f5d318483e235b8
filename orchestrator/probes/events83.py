"""`drbdsetup MINOR events` of DRBD 8.3: one line for each change of state; there is no events2 before 8.4.6.

Format: `drbdsetup.c` of 8.3.16 (`1 ST 0 { cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate r--- }`). It names minors, not
resources, and says nothing of what is out of sync: where a number is wanted, /proc/drbd is read.
"""

from __future__ import annotations

import re

from attrs import frozen

from orchestrator.probes.proc_drbd import link_of
from states.evolve import evolve
from states.facts import Side
from states.vocabulary import DiskState, Role

LINE = re.compile(r"([0-9]+) ([A-Z]{2}|\?\?) ([0-9]+) ?(.*)")
STATE = re.compile(r"\{ cs:(\w+) (?:ro|st):(\w+)/(\w+) ds:(\w+)/(\w+) ([rs])\S* \}")


@frozen
class Event83:
    """A line. `kind`: ST a state, SP progress in percent, UH a helper the kernel calls (`split-brain` among them), or another."""

    kind: str
    minor: int
    words: str

    @property
    def split(self) -> bool:
        """The kernel says by itself that it has seen a split brain."""
        return self.kind == "UH" and self.words in ("initial-split-brain", "split-brain")


def parse_line(line: str) -> Event83 | None:
    """One line; None for what is none."""
    found = LINE.fullmatch(line.rstrip("\n"))
    return Event83(found[2], int(found[3]), found[4]) if found is not None and len(found[3]) < 8 else None


def apply(event: Event83, side: Side) -> Side:
    """The side after a line about its minor. Identifiers may be others after every change of state."""
    found = STATE.fullmatch(event.words) if event.kind == "ST" else None
    if found is None:
        return side
    connection, replication = link_of(found[1])
    return evolve(
        side, configured=True, role=Role.read(found[2]), peer_role=Role.read(found[3]), disk=DiskState.read(found[4]),
        peer_disk=DiskState.read(found[5]), suspended=found[6] == "s", connection=connection, replication=replication, identifiers=None,
    )
