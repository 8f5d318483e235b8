"""The last words of each node's logs, as evidence beside what was seen."""

from __future__ import annotations

import anyio
from attrs import define, field

from orchestrator.supervisor.said import Logged

LATELY = 5.0
"""Seconds for which a line may have to do with what is seen next."""


@define
class Heard:
    """The newest line of each node's logs."""

    _last: dict[str, tuple[float, str]] = field(factory=dict)

    def take(self, logged: Logged) -> None:
        """A line."""
        self._last[logged.node] = anyio.current_time(), f"{logged.node} logs: {logged.trouble.kind.value}: {logged.trouble.text}"

    def lately(self, node: str) -> str:
        """What this node said in the last seconds; "" for nothing."""
        at, text = self._last.get(node, (0.0, ""))
        return text if text and anyio.current_time() - at <= LATELY else ""
