"""Alerts on a virtual clock: bursts, endpoints that are dead or slow, restarts. What is injected is the way out, nothing of ours."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path

import anyio
import pytest
import trio
from attrs import evolve
from trio.testing import MockClock

from orchestrator.logs import Form, Told
from orchestrator.supervisor import alerts
from orchestrator.supervisor.alerts import Alerts, Channel, Message, NotDeliveredError, Send
from states.alarm import Alarm, Severity
from states.alert import SETTLE, Alert, Phase
from states.picture import Picture
from tests.telling.pictures import AWAY, SPLIT, START, cluster, picture

Heard = list[tuple[float, str, str]]
"""When, which alarm, which phase."""


def clock() -> float:
    """Seconds since the epoch on the virtual clock, which begins with START."""
    return START + trio.current_time()


class Endpoint:
    """A way out of this machine: remembers what it was given, when it lets itself be told anything."""

    def __init__(self, works: Callable[[float], bool] = lambda _: True) -> None:
        self.messages: list[Message] = []
        self.tries: list[Message] = []
        self._works = works

    async def take(self, message: Message) -> None:
        self.tries.append(message)
        if not self._works(trio.current_time()):
            raise NotDeliveredError("it is closed today")
        self.messages.append(message)

    @property
    def heard(self) -> Heard:
        return [(round(one.at - START, 3), one.alarm.name, one.phase.value) for message in self.messages for one in message.alerts]


async def silence(_: Message) -> None:
    """An endpoint that takes the connection and never answers."""
    await trio.sleep_forever()


def scene(ways: dict[str, Send], steps: Sequence[tuple[float, Picture]], until: float, repeat: float = 0.0,
          memory: Path | None = None) -> Alerts:
    """Show pictures at their times, and wait until `until`."""

    async def main() -> Alerts:
        with Told(StringIO(), Form.JSON) as told:
            channels = tuple(Channel(name, "nas", send, clock, told.log) for name, send in ways.items())
            listener = Alerts(channels, clock, told.log, repeat, memory)
            async with anyio.create_task_group() as group:
                group.start_soon(listener.run)
                for at, one in steps:
                    await trio.sleep(at - trio.current_time())
                    listener.picture(one)
                await trio.sleep(until - trio.current_time())
                group.cancel_scope.cancel()
            return listener

    return trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.fixture
def calm(tmp_path: Path) -> Picture:
    return picture(cluster(tmp_path))


def having(calm: Picture, *alarms: Alarm) -> Picture:
    return evolve(calm, alarms=alarms)


def test_raised_repeated_cleared(calm: Picture) -> None:
    endpoint = Endpoint()
    scene({"webhook": endpoint.take}, [(0, calm), (10, having(calm, SPLIT)), (150, calm)], 300, repeat=60)
    assert endpoint.heard == [(10, "split-brain", "raised"), (70, "split-brain", "repeated"), (130, "split-brain", "repeated"),
                              (150 + SETTLE, "split-brain", "cleared")]


def test_a_burst_is_a_few_messages(calm: Picture) -> None:
    """Five hundred alarms, one every 20 ms: the first is told at once, the rest together."""
    endpoint = Endpoint()
    many = [evolve(AWAY, about=f"node{number}") for number in range(500)]
    steps = [(number * 0.02, having(calm, *many[:number + 1])) for number in range(500)]
    listener = scene({"webhook": endpoint.take}, steps, 400)
    assert endpoint.messages[0].sent == START
    assert len(endpoint.messages) < 10
    assert all(len(message.alerts) <= alerts.MOST for message in endpoint.messages)
    told_of = {one.alarm.about for message in endpoint.messages for one in message.alerts}
    dropped = sum(message.dropped for message in endpoint.messages)
    assert len(told_of) + dropped == 500
    assert listener.counts["alerts_dropped"] == dropped > 0


def test_the_worst_is_never_dropped_for_the_many(calm: Picture) -> None:
    late = Endpoint(lambda now: now > 100)
    many = [evolve(AWAY, about=f"node{number}") for number in range(2 * alerts.MOST)]
    listener = scene({"webhook": late.take}, [(0, having(calm, SPLIT)), (1, having(calm, SPLIT, *many))], 300)
    assert "split-brain" in [name for _, name, _ in late.heard]
    assert len(late.heard) == alerts.MOST
    assert listener.counts["alerts_dropped"] == late.messages[0].dropped == alerts.MOST + 1


def test_an_alarm_that_comes_and_goes_for_a_day_is_no_flood(calm: Picture) -> None:
    endpoint = Endpoint()
    steps = [(at * 20.0, having(calm, AWAY) if at % 2 else calm) for at in range(24 * 180)]
    scene({"mail": endpoint.take}, steps, 86400)
    assert len(endpoint.messages) <= 86400 / alerts.GAPS[-1] + len(alerts.GAPS)
    assert endpoint.heard[-1][1:] in (("node-away", "raised"), ("node-away", "cleared"))


def test_a_dead_endpoint_delays_nobody_and_hears_the_newest_when_it_is_back(calm: Picture) -> None:
    dead, well = Endpoint(lambda now: now > 1000), Endpoint()
    steps = [(0, having(calm, SPLIT)), (500, having(calm, SPLIT, AWAY)), (700, having(calm, AWAY))]
    listener = scene({"webhook": dead.take, "silent": silence, "command": well.take}, steps, 1200)
    assert well.heard == [(0, "split-brain", "raised"), (500, "node-away", "raised"), (700 + SETTLE, "split-brain", "cleared")]
    assert sorted(dead.heard) == [(500, "node-away", "raised"), (700 + SETTLE, "split-brain", "cleared")]
    assert len(dead.messages) == 1
    assert dead.messages[0].alerts[-1].since == START, "when it was raised is told with its end"
    assert [alarm.about for alarm in listener.alarms] == ["silent"]
    assert "no answer within 30 s" in listener.alarms[0].evidence
    assert len(dead.tries) < 40, "with growing pauses"


def test_the_same_message_again_has_the_same_number(calm: Picture) -> None:
    """It may have arrived, and the answer been lost: who hears it twice can tell."""
    late = Endpoint(lambda now: now > 20)
    scene({"webhook": late.take}, [(0, having(calm, SPLIT)), (15, having(calm, SPLIT, AWAY))], 60)
    assert {len(message.alerts) for message in late.tries} == {1, 2}
    for size in (1, 2):
        assert len({message.number for message in late.tries if len(message.alerts) == size}) == 1
    assert len({message.number for message in late.tries}) == 2


def test_an_endpoint_in_trouble_is_an_alarm_until_it_takes_something(calm: Picture) -> None:
    dead = Endpoint(lambda now: now > 30)
    listener = scene({"webhook": dead.take}, [(0, having(calm, SPLIT))], 20)
    (alarm,) = listener.alarms
    assert (alarm.name, alarm.about, alarm.severity) == ("alerts-not-delivered", "webhook", Severity.WARNING)
    assert listener.counts["alerts_failures"] == len(dead.tries) > 2
    dead = Endpoint(lambda now: now > 30)
    listener = scene({"webhook": dead.take}, [(0, having(calm, SPLIT))], 60)
    assert listener.alarms == ()
    assert listener.counts["alerts_delivered"] == 1


def test_what_came_and_went_while_nobody_could_be_told_is_told(calm: Picture) -> None:
    late = Endpoint(lambda now: now > 100)
    scene({"webhook": late.take}, [(0, having(calm, SPLIT)), (10, calm)], 200)
    assert late.heard == [(10 + SETTLE, "split-brain", "cleared")]


def test_a_restart_tells_nothing_twice_and_still_tells_the_end(calm: Picture, tmp_path: Path) -> None:
    memory, first, second = tmp_path / "state" / "alarms.json", Endpoint(), Endpoint()
    scene({"webhook": first.take}, [(0, having(calm, SPLIT, AWAY))], 10, memory=memory)
    assert len(first.heard) == 2
    scene({"webhook": second.take}, [(0, calm), (5, having(calm, SPLIT))], 200, memory=memory)
    assert second.heard == [(alerts.GRACE, "node-away", "cleared")], "not before the cluster has been looked at for a while"
    third = Endpoint()
    scene({"webhook": third.take}, [(0, having(calm, SPLIT)), (100, calm)], 200, memory=memory)
    assert third.heard == [(100 + SETTLE, "split-brain", "cleared")]


@pytest.mark.parametrize("content", [
    b"", b"{", b"[]", b'{"standing": [{"since": 1}]}', b'{"standing": [{"since": 1, "told": 1, "severity": "x"}]}', b"\xff\xfe",
])
def test_a_memory_that_cannot_be_read_costs_an_alert_told_twice_and_nothing_else(content: bytes, calm: Picture, tmp_path: Path) -> None:
    memory, endpoint = tmp_path / "alarms.json", Endpoint()
    memory.write_bytes(content)
    scene({"webhook": endpoint.take}, [(0, having(calm, SPLIT))], 10, memory=memory)
    assert endpoint.heard == [(0, "split-brain", "raised")]
    assert json.loads(memory.read_bytes())["standing"][0]["name"] == "split-brain", "and it is whole again"


def test_the_document_says_everything() -> None:
    message = Message("nas", "nas-webhook-1", START, (Alert(SPLIT, Phase.RAISED, START - 60, START),), 2)
    assert json.loads(message.body) == {
        "version": 1, "cluster": "nas", "message": "nas-webhook-1", "sent": "2023-11-14T22:13:20+00:00", "dropped": 2,
        "alerts": [{"id": "nas/split-brain:r0/1699999940", "status": "raised", "since": "2023-11-14T22:12:20+00:00",
                    "at": "2023-11-14T22:13:20+00:00", "name": "split-brain", "about": "r0", "severity": "critical", "what": "r0 is split",
                    "evidence": "identifiers differ", "remedy": "orchestrate recover-splitbrain r0 --plan"}],
    }
