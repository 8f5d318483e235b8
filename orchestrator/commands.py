"""What is asked of a node, as a value. Quoting happens here and nowhere else."""

from __future__ import annotations

import shlex
from enum import Enum

from attrs import field, frozen


class Effect(Enum):
    """What a command may do to a node; decides what may be done after its outcome is unknown."""

    READ = "read"
    IDEMPOTENT = "idempotent"
    DESTRUCTIVE = "destructive"


@frozen
class Command:
    """One command for one node.

    `limit` is in seconds and is kept on the far side (`timeout -k 5 LIMIT ...`): an SSH client that goes away does not
    stop what it started. `op_id` names a DESTRUCTIVE command for its claim on the node. `old_node`: its coreutils may
    be older than 8.5.
    """

    host: str
    argv: tuple[str, ...]
    effect: Effect = Effect.READ
    limit: float = 30.0
    op_id: str | None = None
    stdin: bytes | None = field(default=None, repr=False)
    old_node: bool = False

    def line(self) -> str:
        """The far-side command line: bounded, and quoted for a POSIX shell."""
        return bounded(5, self.limit, self.argv, old_node=self.old_node)


OLD_TIMEOUT = 'timeout -k 1 1 true 2>/dev/null && exec timeout -k "$@"; shift; exec timeout "$@"'
"""coreutils before 8.5 know no `-k`: it is tried. There a command that ignores TERM lives on after its limit."""


def bounded(killed_after: float, limit: float, argv: tuple[str, ...], *, old_node: bool) -> str:
    """A command line that `timeout` ends, seconds; 0: no limit. `old_node`: it may not know how to kill."""
    words = (f"{killed_after:g}", f"{limit:g}", *argv)
    return shlex.join(("sh", "-c", OLD_TIMEOUT, "sh", *words) if old_node else ("timeout", "-k", *words))
