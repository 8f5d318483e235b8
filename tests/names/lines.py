"""A log that keeps what it is told."""

from __future__ import annotations

from typing import Any

from attrs import define, field


@define
class Lines:
    """In place of structlog's logger, where a test reads it."""

    told: list[tuple[str, dict[str, Any]]] = field(factory=list)

    def info(self, event: str, **values: Any) -> None:
        """Takes a line."""
        self.told.append((event, values))

    warning = info

    def count(self, event: str) -> int:
        """How many lines of that event there are."""
        return sum(told == event for told, _ in self.told)
