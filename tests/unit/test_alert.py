"""Alerts: each alarm once, again while it stays, once more when it has gone; whatever comes and goes in between."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from states.alarm import Alarm, Severity
from states.alert import SETTLE, Alert, Phase, Standing, due, newest, turn
from tests.unit.strategies import STEADY

SPLIT = Alarm("split-brain", "r0", Severity.CRITICAL, "r0 is split")
AWAY = Alarm("node-away", "linux-nas02", Severity.WARNING, "linux-nas02 does not answer")


def told(steps: Sequence[tuple[float, tuple[Alarm, ...]]], repeat: float = 0.0) -> list[tuple[float, str, Phase]]:
    standing: tuple[Standing, ...] = ()
    said = []
    for now, alarms in steps:
        standing, alerts = turn(standing, alarms, now, repeat)
        said += [(now, alert.alarm.name, alert.phase) for alert in alerts]
    return said


def test_an_alarm_is_told_once_and_cleared_once() -> None:
    steps = [(0.0, (SPLIT,)), (1.0, (SPLIT,)), (2.0, ()), (3.0, ()), (2.0 + SETTLE, ()), (60.0, ())]
    assert told(steps) == [(0.0, "split-brain", Phase.RAISED), (2.0 + SETTLE, "split-brain", Phase.CLEARED)]


def test_what_comes_and_goes_is_one_alarm() -> None:
    steps = [(second / 2, (AWAY,) if second % 2 else ()) for second in range(1, 100)]
    assert told(steps) == [(0.5, "node-away", Phase.RAISED)]


def test_one_that_stays_is_told_again() -> None:
    steps = [(float(at), (SPLIT,)) for at in range(0, 250, 10)]
    assert told(steps, repeat=100.0) == [
        (0.0, "split-brain", Phase.RAISED), (100.0, "split-brain", Phase.REPEATED), (200.0, "split-brain", Phase.REPEATED)]


def test_one_that_gets_worse_is_told_at_once_and_one_that_gets_better_is_not() -> None:
    worse = evolve(AWAY, severity=Severity.CRITICAL)
    assert told([(0.0, (AWAY,)), (1.0, (worse,)), (2.0, (AWAY,))]) == [(0.0, "node-away", Phase.RAISED), (1.0, "node-away", Phase.RAISED)]


def test_other_words_for_the_same_cause_are_no_news_and_the_end_has_the_last_ones() -> None:
    standing, _ = turn((), (SPLIT,), 0.0)
    standing, alerts = turn(standing, (evolve(SPLIT, what="r0 is split: 12 KiB on one side"),), 1.0)
    assert alerts == ()
    standing, _ = turn(standing, (), 2.0)
    _, alerts = turn(standing, (), 60.0)
    assert alerts == (Alert(evolve(SPLIT, what="r0 is split: 12 KiB on one side"), Phase.CLEARED, 0.0, 60.0),)


def test_when_to_ask_again() -> None:
    standing, _ = turn((), (SPLIT, AWAY), 0.0)
    assert due(()) is None
    assert due(standing) is None
    assert due(standing, repeat=30.0) == 30.0
    standing, _ = turn(standing, (SPLIT,), 10.0)
    assert due(standing, repeat=30.0) == 10.0 + SETTLE
    assert due(standing, repeat=12.0) == 12.0


def test_news_that_never_got_out_is_told_as_news() -> None:
    raised = Alert(SPLIT, Phase.RAISED, 0.0, 0.0)
    assert newest(raised, Alert(SPLIT, Phase.REPEATED, 0.0, 9.0)) == Alert(SPLIT, Phase.RAISED, 0.0, 9.0)
    assert newest(raised, Alert(SPLIT, Phase.CLEARED, 0.0, 9.0)).phase is Phase.CLEARED


@settings(STEADY, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
@given(st.lists(st.tuples(st.integers(1, 20), st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_of_every_alarm_raised_and_cleared_take_turns(steps: list[tuple[int, bool, bool]]) -> None:
    """And what is there is standing, what has been away for long is not."""
    standing: tuple[Standing, ...] = ()
    open_: set[str] = set()
    now = 0.0
    for pause, split, away in steps:
        now += pause
        alarms = (SPLIT,) * split + (AWAY,) * away
        standing, alerts = turn(standing, alarms, now)
        for alert in alerts:
            assert (alert.alarm.key in open_) is (alert.phase is not Phase.RAISED)
            (open_.discard if alert.phase is Phase.CLEARED else open_.add)(alert.alarm.key)
        assert {one.alarm.key for one in standing} == open_
        assert {alarm.key for alarm in alarms} <= open_
    standing, _ = turn(turn(standing, (), now + 1)[0], (), now + 1 + SETTLE)
    assert standing == ()
