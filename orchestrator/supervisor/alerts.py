"""The listener that tells people: alarms as messages to a command, a webhook and a mailbox, each with its own queue.

An endpoint that is slow or dead keeps its own queue waiting and nothing else. A queue has one alert for each alarm, the
newest, and MOST of them at most; what piles up is one message. So a burst is a few messages, however long it is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread
from attrs import asdict, evolve, frozen

from orchestrator.recovery.archive import write_whole
from states.alarm import Alarm, Severity
from states.alert import SETTLE, Alert, Standing, due, newest, turn
from states.picture import Picture

MOST = 200
"""Alerts that wait for one channel; of more, the least severe are dropped, the oldest first, counted, and the next message says so."""
GAPS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds between two messages of one channel: the more there are, the longer. Quiet for QUIET, it starts again."""
QUIET = 300.0
PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds until a message that was not taken is tried again; the last one from then on."""
LIMIT = 30.0
"""Seconds one attempt may take."""
GRACE = 60.0
"""Seconds after a start in which nothing that stood before is called cleared: the cluster has yet to be looked at."""


class NotDeliveredError(Exception):
    """A message was not taken. Says why, without secrets."""


@frozen
class Message:
    """What one channel is told at once. `sent`: seconds since the epoch; `number`: tells this message from all others."""

    cluster: str
    number: str
    sent: float
    alerts: tuple[Alert, ...]
    dropped: int = 0

    @property
    def body(self) -> bytes:
        """The JSON document that docs/alarms.md describes."""
        told = [{"id": alert_id(self.cluster, one), "status": one.phase.value, "since": iso(one.since), "at": iso(one.at),
                 **asdict(one.alarm, value_serializer=lambda _, __, value: value.value if isinstance(value, Severity) else value)}
                for one in self.alerts]
        document = {"version": 1, "cluster": self.cluster, "message": self.number, "sent": iso(self.sent), "alerts": told,
                    "dropped": self.dropped}
        return json.dumps(document, ensure_ascii=False).encode()


Send = Callable[[Message], Awaitable[None]]
"""Delivers a message. Raises NotDeliveredError."""


def alert_id(cluster: str, alert: Alert) -> str:
    """Names one alarm from raised to cleared."""
    return f"{cluster}/{alert.alarm.key}/{alert.since:.0f}"


def iso(at: float) -> str:
    """A time as people and programs read it, UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _weight(alert: Alert) -> int:
    return tuple(Severity).index(alert.alarm.severity)


class Channel:
    """One way out, with what still has to go it. `clock`: seconds since the epoch."""

    def __init__(self, name: str, cluster: str, send: Send, clock: Callable[[], float], log: Any) -> None:
        self.name = name
        self.failures = 0
        self.counts = {"alerts_delivered": 0, "alerts_failures": 0, "alerts_dropped": 0}
        self.why = ""
        self._cluster = cluster
        self._send = send
        self._clock = clock
        self._log = log
        self._waiting: dict[str, Alert] = {}
        self._dropped = 0
        self._number = 0
        self._tried: Message | None = None
        self._news = anyio.Event()

    def put(self, alerts: tuple[Alert, ...]) -> None:
        """Never waits. An alert takes the place of an older one about the same alarm."""
        for alert in alerts:
            before = self._waiting.pop(alert.alarm.key, None)
            self._waiting[alert.alarm.key] = alert if before is None else newest(before, alert)
        while len(self._waiting) > MOST:
            self._waiting.pop(min(self._waiting.values(), key=_weight).alarm.key)
            self._dropped += 1
            self.counts["alerts_dropped"] += 1
        if self._waiting:
            self._news.set()

    async def run(self) -> None:
        """Deliver what there is, for ever."""
        gap, last = 0, -math.inf
        while True:
            await self._news.wait()
            self._news = anyio.Event()
            while self._waiting:
                pause = await self._attempt()
                if pause is None:
                    now: float = anyio.current_time()
                    gap = 0 if now - last > QUIET else min(gap + 1, len(GAPS) - 1)
                    last, pause = now, GAPS[gap]
                await anyio.sleep(pause)

    async def _attempt(self) -> float | None:
        """One message with all that waits. Returns None if it was taken, else how long to wait."""
        taken = dict(self._waiting)
        message = self._message(tuple(taken.values()))
        try:
            with anyio.fail_after(LIMIT):
                await self._send(message)
        except (NotDeliveredError, TimeoutError) as error:
            return self._failed(str(error) or f"no answer within {LIMIT:.0f} s")
        if self.failures:
            self._log.info("alerts_delivered_again", channel=self.name, after_failures=self.failures)
        self.failures, self.why, self._tried = 0, "", None
        self._dropped -= message.dropped
        self.counts["alerts_delivered"] += 1
        self._waiting = {key: alert for key, alert in self._waiting.items() if taken.get(key) is not alert}
        return None

    def _message(self, alerts: tuple[Alert, ...]) -> Message:
        """What is sent now. The same again has the same number: it may have arrived, and nobody could say so."""
        now = self._clock()
        if self._tried is not None and (self._tried.alerts, self._tried.dropped) == (alerts, self._dropped):
            self._tried = evolve(self._tried, sent=now)
        else:
            self._number += 1
            self._tried = Message(self._cluster, f"{self._cluster}-{self.name}-{now:.3f}-{self._number}", now, alerts, self._dropped)
        return self._tried

    def _failed(self, why: str) -> float:
        pause = PAUSES[min(self.failures, len(PAUSES) - 1)]
        self.failures += 1
        self.counts["alerts_failures"] += 1
        if why != self.why:
            self._log.warning("alerts_not_delivered", channel=self.name, seen=why, waiting=len(self._waiting), again_in=pause)
        self.why = why
        return pause

    @property
    def alarm(self) -> Alarm | None:
        """What the other channels should know of this one."""
        if self.failures < 3:
            return None
        return Alarm("alerts-not-delivered", self.name, Severity.WARNING, f"alerts do not get out by {self.name}",
                     f"{self.failures} attempts failed, the last: {self.why}", f"mend [supervise.alerts] {self.name}; it is tried again")


class Alerts:
    """A Listener. `alarms` and `counts` are for whoever makes the next picture.

    `memory`: the file in which standing alarms outlive a restart, so that they are not told anew, and their end is told.
    """

    def __init__(self, channels: tuple[Channel, ...], clock: Callable[[], float], log: Any, repeat: float = 0.0,
                 memory: Path | None = None) -> None:
        self._channels = channels
        self._clock = clock
        self._log = log
        self._repeat = repeat
        self._memory = memory
        self._standing = recalled(memory, clock(), log) if memory is not None else ()
        self._alarms: tuple[Alarm, ...] | None = None
        self._news = anyio.Event()

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """Channels that do not deliver."""
        return tuple(channel.alarm for channel in self._channels if channel.alarm is not None)

    @property
    def counts(self) -> dict[str, int]:
        """Totals of all channels."""
        names = ("alerts_delivered", "alerts_failures", "alerts_dropped")
        return {name: sum(channel.counts[name] for channel in self._channels) for name in names}

    def picture(self, picture: Picture) -> None:
        """See Listener."""
        if picture.alarms != self._alarms:
            self._alarms = picture.alarms
            self._news.set()

    async def run(self) -> None:
        """See Listener."""
        async with anyio.create_task_group() as group:
            for channel in self._channels:
                group.start_soon(channel.run)
            await self._news.wait()
            while True:
                self._news = anyio.Event()
                await self._turn(self._alarms or ())
                with anyio.move_on_after(self._next()):
                    await self._news.wait()

    async def _turn(self, alarms: tuple[Alarm, ...]) -> None:
        before = self._standing
        self._standing, alerts = turn(before, alarms, self._clock(), self._repeat)
        for channel in self._channels:
            channel.put(alerts)
        if self._memory is not None and alerts:
            await to_thread.run_sync(remember, self._memory, self._standing, self._log)

    def _next(self) -> float:
        """Seconds until something may have to be told though no new picture comes."""
        at = due(self._standing, self._repeat)
        return math.inf if at is None else max(0.1, at - self._clock())

# -- what outlives a restart -------------------------------------------------------------------------------------------

def remember(memory: Path, standing: tuple[Standing, ...], log: Any) -> None:
    """Write the standing alarms down. A disk that refuses is said, and costs no more than an alert told twice."""
    rows = [{"since": one.since, "told": one.told, **asdict(one.alarm), "severity": one.alarm.severity.value} for one in standing]
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_whole(memory, json.dumps({"version": 1, "standing": rows}).encode())
    except OSError as error:
        log.warning("alarms_not_remembered", file=str(memory), seen=str(error))


def recalled(memory: Path, now: float, log: Any) -> tuple[Standing, ...]:
    """The alarms that stood when the supervisor ended; GRACE passes before one of them counts as gone. A file that cannot be
    read is said: its alarms are told anew."""
    try:
        rows = json.loads(memory.read_bytes())["standing"]
        return tuple(_standing(now, **row) for row in rows)
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("alarms_not_recalled", file=str(memory), seen=f"{type(error).__name__}: {error}")
        return ()


def _standing(now: float, since: float, told: float, severity: str, **words: str) -> Standing:
    return Standing(Alarm(severity=Severity(severity), **words), float(since), float(told), gone=now + GRACE - SETTLE)
