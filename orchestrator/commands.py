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
    stop what it started. `op_id` names a DESTRUCTIVE command for its claim on the node.
    """

    host: str
    argv: tuple[str, ...]
    effect: Effect = Effect.READ
    limit: float = 30.0
    op_id: str | None = None
    stdin: bytes | None = field(default=None, repr=False)

    def line(self) -> str:
        """The far-side command line: bounded, and quoted for a POSIX shell."""
        return shlex.join(("timeout", "-k", "5", f"{self.limit:g}", *self.argv))
