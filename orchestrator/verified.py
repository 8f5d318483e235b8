"""What verifies have found so far: `orchestrate verify` writes it into the journal, `status` and the supervisor read it there."""

from __future__ import annotations

from pathlib import Path

from attrs import define, field

from orchestrator.journal import whole
from states.verify import Verification

MARK = b'"verified"'


@define
class Verifications:
    """`last`: of each resource the last verify that came to its end. Reads on where it had stopped."""

    path: Path
    last: dict[str, Verification] = field(factory=dict)
    _offset: int = 0

    def read(self) -> None:
        """Take in what the journal has by now; a line that is still being written waits for the next time. Raises OSError."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            if file.seek(0, 2) < self._offset:
                self._offset = 0  # somebody has moved the journal away, and begun a new one
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                record = whole(line) if MARK in line else None
                if record is not None and record["kind"] == "verified" and record["finished"]:
                    self.last[record["resource"]] = Verification(record["resource"], record["at"], record["node"], record["blocks"])
