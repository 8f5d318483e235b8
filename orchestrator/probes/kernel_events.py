"""Lines of the kernel log and of the journal that announce something, as a node's follower passes them on. Pure.

`dmesg` prints `[  612.014105] TEXT`, `journalctl -o short-monotonic` `[  612.014105] HOST UNIT[PID]: TEXT`. The texts are those of
Linux 6.1 (fs/gfs2/util.c, fs/dlm, kernel/hung_task.c, block/blk-core.c, DRBD 8.4 and 9), of corosync 3.1.7, dlm 4.2.0 and
systemd 252. A line tells where to look, and is evidence for people; no machine moves by it.
"""

from __future__ import annotations

import re
from enum import Enum

from attrs import frozen

from orchestrator.probes.kernel_log import STAMP

LONGEST = 400
"""Characters of a line that are kept."""


class Announced(Enum):
    """What a line is about."""

    __hash__ = object.__hash__

    WITHDRAW = "GFS2 withdrew"
    SPLIT_BRAIN = "split brain"
    HUNG_TASK = "hung task"
    IO_ERROR = "IO error"
    LOCKS = "lock manager"
    MEMBERSHIP = "membership"
    UNIT = "systemd unit"
    MEMORY = "out of memory"


@frozen
class Trouble:
    """One line. `uptime`: the node's when it was written, seconds."""

    kind: Announced
    uptime: float
    text: str


KINDS: tuple[tuple[re.Pattern[str], Announced], ...] = tuple((re.compile(pattern), kind) for pattern, kind in (
    (r"about to withdraw this file system|withdrawn|File system withdrawn",                    Announced.WITHDRAW),
    (r"Split-Brain detected|helper command: /sbin/drbdadm (?:initial-)?split-brain",           Announced.SPLIT_BRAIN),
    (r"task .* blocked for more than \d+ seconds",                                             Announced.HUNG_TASK),
    (r"I/O error|IO ERROR|Local IO failed|IO error sector|lost async page write|Medium Error", Announced.IO_ERROR),
    (r"dlm user daemon left|no userland control daemon|abandoned lockspace|fence (?:request|result|status) ", Announced.LOCKS),
    (r"\[(?:QUORUM|TOTEM|KNET|CFG|MAIN) *\] ?(?!.*[Cc]onfigur(?:ing|ed) link)",                Announced.MEMBERSHIP),
    (r"\.service: (?:Main process exited|Failed|Deactivated|Succeeded|Scheduled restart)",     Announced.UNIT),
    (r"systemd\[1\]: (?:Started|Stopped|Stopping) ",                                           Announced.UNIT),
    (r"Out of memory: Kill|oom-kill:|Killed process \d+",                                      Announced.MEMORY),
))
"""The first that fits."""


def read_log_line(line: str) -> Trouble | None:
    """What a line announces; None for what is nothing to us."""
    stamp = STAMP.match(line)
    if stamp is None:
        return None
    words = stamp[2]
    for pattern, kind in KINDS:
        if pattern.search(words):
            return Trouble(kind, float(stamp[1]), words[:LONGEST])
    return None
