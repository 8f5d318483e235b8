"""An online verify as a node tells it: how far it is (`/proc/drbd` of 8.4, `drbdsetup status` of 9), and what the kernel has found.

Texts: Linux 6.1's DRBD 8.4.11 and DRBD 9.2, from captures (`C07-4i-verify`, `40-verify`). Pure.
"""

from __future__ import annotations

import re
from importlib import resources

from attrs import frozen

from orchestrator.probes.kernel_log import STAMP

SCRIPT = resources.files(__package__).joinpath("verify.sh").read_text()
MARK = "orchestrate: drbd {}: verifying"
"""What our own start writes into the kernel log first."""
PER_BLOCK = 8
"""Sectors of 512 bytes in one of DRBD's blocks."""


@frozen
class Compared:
    """What the kernel said of a verify. `blocks` of 4 KiB differ. `runs`: first block and count, as the log has them; the log
    forgets, so they may be fewer than `blocks`. `finished`: it came to its end; else `said` is the last that was said."""

    finished: bool
    blocks: int = 0
    runs: tuple[tuple[int, int], ...] = ()
    said: str = ""

    @property
    def complete(self) -> bool:
        """Every block that differs is in `runs`."""
        return sum(count for _, count in self.runs) == self.blocks


def read_left(text: str, minor: int, size: int) -> int | None:
    """KiB still to be compared, of a device of `size` KiB; None where no verify is running. A verify that has no counters yet
    has all of it before it."""
    line = re.search(rf"^ *{minor}: cs:Verify[ST]\b(?:(?!^ *\d+: cs:)[\s\S])*", text, re.MULTILINE)
    if line is not None:
        counted = re.search(r"verified: *[\d.]+% \((\d+)/\d+\)([KM])", line[0])
        return size if counted is None else int(counted[1]) * {"K": 1, "M": 1024}[counted[2]]
    if re.search(r"replication:Verify[ST]\b", text) is None:
        return None
    done = re.search(r"done:([\d.]+)", text)
    return size if done is None else int(size * (1 - float(done[1]) / 100))


def read_compared(text: str, resource: str) -> Compared:
    """From the lines of one node's kernel log since our last mark; all of them where the log has forgotten the mark."""
    lines = [words[2] if (words := STAMP.match(line)) else line for line in text.splitlines() if line.strip()]
    marks = [at for at, line in enumerate(lines) if MARK.format(resource) in line]
    lines = lines[marks[-1] + 1:] if marks else lines
    runs = [(int(at), int(size)) for line in lines for at, size in re.findall(r"Out of sync: start=(\d+), size=(\d+) \(sectors\)", line)]
    found = [int(count) for line in lines for count in re.findall(r"Online verify found (\d+) 4k block", line)]
    blocks = tuple((at // PER_BLOCK, -(-(at + size) // PER_BLOCK) - at // PER_BLOCK) for at, size in runs)
    finished = any("Online verify done" in line for line in lines)
    return Compared(finished, found[-1] if found else 0, blocks, lines[-1] if lines else "")
