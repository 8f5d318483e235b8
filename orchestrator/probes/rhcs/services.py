"""`service NAME status` and `chkconfig --list` of RHEL 6. A status is a hint and no more: no layer is Up by it alone.

Facts: `status` of /etc/init.d/functions (exit codes 0 running, 1 dead with a pid file, 2 dead with a lock file, 3 stopped, 4 unknown);
the gfs2 script's `status` always exits 0, whatever is mounted.
"""

from __future__ import annotations

import re
from enum import Enum

from attrs import frozen


class Said(Enum):
    """What a script says of its service."""

    RUNNING = "running"
    DEAD = "dead"          # it left a pid or a lock file behind
    STOPPED = "stopped"
    UNKNOWN = "unknown"


ALWAYS_ZERO = frozenset({"gfs2", "gfs", "netfs"})
"""Scripts whose `status` has no exit code: they only mount."""
WORDS: tuple[tuple[str, Said], ...] = (
    (r"dead but (?:pid file exists|subsys locked)", Said.DEAD),
    (r"status unknown", Said.UNKNOWN),
    (r"\bis stopped\b|\bnot running\b", Said.STOPPED),
    (r"\bis running\b|\(pid +[0-9 ]+\) is running", Said.RUNNING),
)
CODES = {0: Said.RUNNING, 1: Said.DEAD, 2: Said.DEAD, 3: Said.STOPPED}


def read_service(name: str, code: int, text: str) -> Said:
    """What `service NAME status` says; UNKNOWN where its words and its exit code differ, and for scripts whose code means nothing."""
    if name in ALWAYS_ZERO:
        return Said.UNKNOWN
    said = {state for words, state in WORDS if re.search(words, text)}
    if len(said) != 1 or said != {CODES.get(code, Said.UNKNOWN)}:
        return Said.UNKNOWN
    return said.pop()


@frozen
class RunLevels:
    """A line of `chkconfig --list`: in which run levels a service is started."""

    service: str
    on: frozenset[str]

    @property
    def at_boot(self) -> bool:
        """A boot starts it: run levels 2 to 5 are what RHEL 6 boots to."""
        return bool(self.on & set("2345"))


def read_chkconfig(text: str) -> tuple[RunLevels, ...]:
    """`chkconfig --list`; lines of xinetd, and what is no line of it, are left out."""
    found = []
    for line in text.splitlines():
        row = re.fullmatch(r"(\S+)\s+((?:[0-6]:(?:on|off)\s*){7})", line)
        if row is not None:
            found.append(RunLevels(row[1], frozenset(one[0] for one in row[2].split() if one.endswith(":on"))))
    return tuple(found)
