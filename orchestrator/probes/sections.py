"""A look's output, cut at the lines that head its parts."""

from __future__ import annotations

import re

from attrs import field, frozen

END = re.compile(r"end \d+\.\d\d")


@frozen
class Sections:
    """A look's output cut at its `==NAME ARGS` lines. `whole`: the last line was printed, so nothing is missing."""

    found: dict[str, str] = field(factory=dict)
    whole: bool = False
    ended: float = 0.0  # the node's uptime when the look ended, seconds

    @classmethod
    def cut(cls, text: str) -> Sections:
        """Split; a section that comes twice (a batch's steps) keeps its last text."""
        found: dict[str, str] = {}
        name = ""
        for part in f"\n{text}".split("\n==")[1:]:
            line, _, body = part.partition("\n")
            if line:
                name = line.strip()
                found[name] = body.strip("\n")
            elif name:  # a line with nothing behind the signs begins no section
                found[name] = f"{found[name]}\n==\n{body}".strip("\n")
        end = next((name.removeprefix("end ") for name in found if name.startswith("end ") and END.fullmatch(name)), None)
        return cls(found, end is not None, seconds(end or ""))

    def get(self, name: str) -> str | None:
        """A section's text, or None if it was not printed."""
        return self.found.get(name)


def seconds(text: str) -> float:
    """A clock reading of a node; 0 for what is none."""
    return float(text) if re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII) else 0.0
