"""Where the captured tool output is."""

from __future__ import annotations

from pathlib import Path

CAPTURES = Path(__file__).parents[2] / "fixtures" / "captures"


def captured(name: str) -> str:
    """One captured file's text."""
    return (CAPTURES / name).read_text()
