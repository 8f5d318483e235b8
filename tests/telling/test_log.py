"""The log: every move with its why, alarms as they come and go, as JSON lines or for people; and a reader that does not read."""

from __future__ import annotations

import io
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from orchestrator.logs import Form, Told
from orchestrator.supervisor.log import Log
from orchestrator.supervisor.service import bugs
from states.alarm import Severity
from states.picture import Move, Picture
from states.vocabulary import Layer, Node, Resource
from tests.telling.pictures import AWAY, SPLIT, START, cluster, picture

SEEN = Move(START, "r0", None, Resource.DUAL_PRIMARY, "seen")
LOST = Move(START + 1, "linux-nas02", Node.REACHABLE, Node.UNREACHABLE, "lost", "no answer for 5 s")
BACK = Move(START + 60, "linux-nas02", Node.UNREACHABLE, Node.REACHABLE, "answers")
ODD = Move(START + 61, "mount opt on linux-nas01", Layer.DOWN, Layer.STOPPING, None, "umount runs")


def told(pictures: list[Picture], form: Form = Form.JSON, *, priorities: bool | None = None) -> str:
    out = io.StringIO()
    with Told(out, form, priorities=priorities) as stream:
        listener = Log(pictures[0].cluster, stream.log)
        for one in pictures:
            listener.picture(one)
    return out.getvalue()


def lines(pictures: list[Picture]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in told(pictures).splitlines()]


def test_every_move_once_with_its_row_and_its_why(tmp_path: Path) -> None:
    base = picture(cluster(tmp_path))
    said = lines([evolve(base, moves=moves) for moves in ((SEEN,), (SEEN, LOST), (SEEN, LOST), (LOST, BACK, ODD))])
    assert [(line["event"], line["machine"], line["before"], line["after"]) for line in said] == [
        ("first_seen", "r0", "", "DualPrimary"), ("moved", "linux-nas02", "Reachable", "Unreachable"),
        ("moved", "linux-nas02", "Unreachable", "Reachable"), ("surprise", "mount opt on linux-nas01", "Down", "Stopping"),
    ]
    assert {line["cluster"] for line in said} == {"NASCluster"}
    assert (said[1]["row"], said[1]["evidence"], said[1]["at"]) == ("lost", "no answer for 5 s", START + 1)
    assert said[2]["why"] == "the node may be booting", "the table's own words"
    assert (said[3]["level"], said[3]["evidence"]) == ("warning", "umount runs")


@pytest.mark.parametrize("form", Form)
def test_a_listeners_bug_comes_with_its_traceback(form: Form) -> None:
    out = io.StringIO()
    with Told(out, form) as stream:
        try:
            json.loads("no json")
        except ValueError as error:
            bugs(stream.log, "nas")("Log broke off", error)
    text = json.loads(out.getvalue())["exception"] if form is Form.JSON else out.getvalue()
    assert "Traceback (most recent call last)" in text
    assert "test_log.py" in text


def test_moves_that_fell_out_of_the_picture_are_not_told_twice(tmp_path: Path) -> None:
    base = picture(cluster(tmp_path))
    assert [line["machine"] for line in lines([evolve(base, moves=(SEEN, LOST)), evolve(base, moves=(ODD,))])][2:] == [ODD.machine]


def test_alarms_doing_and_maintenance_are_told_when_they_change(tmp_path: Path) -> None:
    base = picture(cluster(tmp_path))
    worse = evolve(AWAY, severity=Severity.CRITICAL)
    said = lines([evolve(base, alarms=(AWAY,)), evolve(base, alarms=(AWAY, SPLIT), doing="up r0"), evolve(base, alarms=(worse, SPLIT)),
                  evolve(base, alarms=(SPLIT,), maintenance=frozenset({"linux-nas02"}))])
    assert [(line["event"], line.get("alarm")) for line in said] == [
        ("alarm_raised", "node-away"), ("alarm_raised", "split-brain"), ("doing", None), ("alarm_raised", "node-away"), ("doing", None),
        ("alarm_cleared", "node-away"), ("maintenance", None),
    ]
    assert [line["level"] for line in said if line["event"] == "alarm_raised"] == ["warning", "error", "error"]
    assert said[1]["remedy"] == SPLIT.remedy
    assert said[4]["what"] == "at rest"


def test_for_people(tmp_path: Path) -> None:
    text = told([evolve(picture(cluster(tmp_path)), moves=(SEEN, LOST))], Form.CONSOLE)
    assert len(text.splitlines()) == 2
    assert "linux-nas02" in text
    assert "\x1b" not in text, "colour belongs to terminals"


def test_the_system_journal_is_told_how_bad_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal"
    with path.open("w") as file:
        about = os.fstat(file.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{about.st_dev}:{about.st_ino}")
        with Told(file, Form.JSON) as stream:
            Log("c", stream.log).picture(evolve(picture(cluster(tmp_path)), moves=(SEEN, ODD), alarms=(SPLIT,)))
        assert [line[:3] for line in path.read_text().splitlines()] == ["<6>", "<4>", "<3>"]
        monkeypatch.setenv("JOURNAL_STREAM", "1:1")
        with Told(file, Form.JSON) as stream:
            stream.log.info("elsewhere")
    assert path.read_text().splitlines()[-1].startswith("{")


def test_a_reader_that_does_not_read_holds_nobody_up() -> None:
    """A pipe that is full: 20,000 lines are told in a moment, and the end waits no longer than it says."""
    reading, writing = os.pipe()
    try:
        with os.fdopen(writing, "w") as pipe:
            began = time.monotonic()
            with Told(pipe, Form.JSON) as stream:
                for number in range(20_000):
                    stream.log.info("line", number=number, text="x" * 100)
                told_after = time.monotonic() - began
            ended_after = time.monotonic() - began - told_after
            assert told_after < 10
            assert ended_after < 10
            heard = _drained(reading, until=b"lines_lost")
        numbers = [json.loads(line).get("number") for line in heard.splitlines()[:-1]]
        assert numbers[:5000] == list(range(5000)), "what is told is told in order"
    finally:
        os.close(reading)


def _drained(reading: int, until: bytes) -> bytes:
    """What the log's thread still had, as far as the line that says how many were lost."""
    heard = b""
    while until not in heard:
        chunk = os.read(reading, 65536)
        assert chunk, "the pipe was closed before that was said"
        heard += chunk
    return heard
