"""The listener that writes the story down: every move with its why, every alarm, and what the supervisor is about."""

from __future__ import annotations

from typing import Any

import anyio

from states.alarm import Alarm, Severity
from states.machines import TABLES
from states.picture import Move, Picture

_LEVEL = {Severity.NOTICE: "info", Severity.WARNING: "warning", Severity.CRITICAL: "error"}


class Log:
    """A Listener. `log`: a structlog logger, such as `orchestrator.logs.Told` has."""

    def __init__(self, cluster: str, log: Any) -> None:
        self._log = log.bind(cluster=cluster)
        self._last: Move | None = None
        self._alarms: dict[str, Alarm] = {}
        self._doing = ""
        self._maintenance: frozenset[str] = frozenset()

    def picture(self, picture: Picture) -> None:
        """See Listener."""
        for move in picture.moves_since(self._last):
            self._moved(move)
            self._last = move
        self._alarmed(picture.alarms)
        if picture.doing != self._doing:
            self._log.info("doing", what=picture.doing or "at rest")
            self._doing = picture.doing
        if picture.maintenance != self._maintenance:
            self._log.info("maintenance", nodes=sorted(picture.maintenance))
            self._maintenance = picture.maintenance

    async def run(self) -> None:
        """See Listener. The log has a thread of its own."""
        await anyio.sleep_forever()

    def _moved(self, move: Move) -> None:
        before = "" if move.before is None else move.before.value
        said: dict[str, object] = {"machine": move.machine, "before": before, "after": move.after.value, "at": round(move.at, 6)}
        if move.evidence:
            said["evidence"] = move.evidence
        if move.before is None:
            self._log.info("first_seen", **said)
        elif move.event is None:
            self._log.warning("surprise", **said, why="no row of its table leads there")
        else:
            self._log.info("moved", **said, row=move.event, why=why(move))

    def _alarmed(self, alarms: tuple[Alarm, ...]) -> None:
        now = {alarm.key: alarm for alarm in alarms}
        for key, alarm in now.items():
            before = self._alarms.get(key)
            if before is None or before.severity is not alarm.severity:
                said = {"alarm": alarm.name, "about": alarm.about, "severity": alarm.severity.value, "what": alarm.what,
                        "evidence": alarm.evidence, "remedy": alarm.remedy}
                getattr(self._log, _LEVEL[alarm.severity])("alarm_raised", **said)
        for key, alarm in self._alarms.items():
            if key not in now:
                self._log.info("alarm_cleared", alarm=alarm.name, about=alarm.about, what=alarm.what)
        self._alarms = now


def why(move: Move) -> str:
    """What the table says of this move, "" where it says no more than the row's name."""
    rows = TABLES.get(type(move.after), ())
    return next((row.because for row in rows if row.event == move.event and row.source is move.before and row.target is move.after), "")
