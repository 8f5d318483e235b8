"""A look's output, cut at the lines that head its parts."""

from __future__ import annotations

import re

from attrs import field, frozen


@frozen
class Sections:
    """A look's output cut at its `==NAME ARGS` lines. `whole`: the last line was printed, so nothing is missing."""

    found: dict[str, str] = field(factory=dict)
    whole: bool = False
    ended: float = 0.0  # the node's uptime when the look ended, seconds

    @classmethod
    def cut(cls, text: str) -> Sections:
        """Split; a section that comes twice (a batch's steps) keeps its last text."""
        parts = re.split(r"^==(.+)$", text, flags=re.MULTILINE)
        found = {name.strip(): body.strip("\n") for name, body in zip(parts[1::2], parts[2::2], strict=True)}
        end = next((name.removeprefix("end ") for name in found if re.fullmatch(r"end \d+\.\d\d", name)), None)
        return cls(found, end is not None, seconds(end or ""))

    def get(self, name: str) -> str | None:
        """A section's text, or None if it was not printed."""
        return self.found.get(name)


def seconds(text: str) -> float:
    """A clock reading of a node; 0 for what is none."""
    return float(text) if re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII) else 0.0
