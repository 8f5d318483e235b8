"""What of the alarms is told to people: each once, again while it stays, and once more when it has gone. Pure.

Times are seconds since the epoch; so `since` and `told` still mean something after a restart.
"""

from __future__ import annotations

from enum import Enum

from attrs import evolve, frozen

from states.alarm import Alarm, Severity

SETTLE = 5.0
"""Seconds an alarm has to be away before it counts as gone: what comes and goes is one alarm, not twenty."""
_WORSE = tuple(Severity)


class Phase(Enum):
    """Why an alarm is told now."""

    __hash__ = object.__hash__

    RAISED = "raised"      # it is new, or worse than it was
    REPEATED = "repeated"  # it is still there
    CLEARED = "cleared"    # its cause has gone


@frozen
class Alert:
    """An alarm as it is told. `since`: when it was raised; `at`: when this came to pass."""

    alarm: Alarm
    phase: Phase
    since: float
    at: float


@frozen
class Standing:
    """An alarm that was told and has not ended. `told`: when last; `gone`: since when it is not seen any more."""

    alarm: Alarm
    since: float
    told: float
    gone: float | None = None


def turn(
    standing: tuple[Standing, ...], alarms: tuple[Alarm, ...], now: float, repeat: float = 0.0, settle: float = SETTLE,
) -> tuple[tuple[Standing, ...], tuple[Alert, ...]]:
    """What stands now, and what has to be told. `repeat`: seconds after which a standing alarm is told again, 0: never."""
    seen = {alarm.key: alarm for alarm in alarms}
    kept: list[Standing] = []
    told: list[Alert] = []
    for one in standing:
        alarm = seen.pop(one.alarm.key, None)
        after, phase = _gone(one, now, settle) if alarm is None else _stays(one, alarm, now, repeat)
        if phase is not None:
            told.append(Alert(after.alarm, phase, after.since, now))
            after = evolve(after, told=now)
        if phase is not Phase.CLEARED:
            kept.append(after)
    for alarm in seen.values():
        told.append(Alert(alarm, Phase.RAISED, now, now))
        kept.append(Standing(alarm, now, now))
    return tuple(kept), tuple(told)


def _gone(one: Standing, now: float, settle: float) -> tuple[Standing, Phase | None]:
    since = now if one.gone is None else one.gone
    return evolve(one, gone=since), Phase.CLEARED if now - since >= settle else None


def _stays(one: Standing, alarm: Alarm, now: float, repeat: float) -> tuple[Standing, Phase | None]:
    after = evolve(one, alarm=alarm, gone=None)
    if _WORSE.index(alarm.severity) > _WORSE.index(one.alarm.severity):
        return after, Phase.RAISED
    return after, Phase.REPEATED if repeat > 0 and now - one.told >= repeat else None


def due(standing: tuple[Standing, ...], repeat: float = 0.0, settle: float = SETTLE) -> float | None:
    """When `turn` has to be asked again though no new picture came; None: never."""
    ends = [one.gone + settle for one in standing if one.gone is not None]
    again = [one.told + repeat for one in standing if one.gone is None and repeat > 0]
    return min(ends + again, default=None)


def newest(before: Alert, after: Alert) -> Alert:
    """The one that is told where neither was yet: the later, and still as new where its first news never got out."""
    unheard = before.phase is Phase.RAISED and after.phase is Phase.REPEATED
    return evolve(after, phase=Phase.RAISED) if unheard else after
