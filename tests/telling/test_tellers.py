"""Who is told of a cluster follows from its cluster.toml; and a resync that is stuck is an alarm of the next picture."""

from __future__ import annotations

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path

import trio
from attrs import evolve
from trio.testing import MockClock

from orchestrator.logs import Form, Told
from orchestrator.supervisor.metrics import Board
from orchestrator.supervisor.resyncs import Resyncs
from orchestrator.supervisor.tellers import tellers
from states.stall import MOMENT
from states.vocabulary import DiskState, ReplicationState
from tests.telling.pictures import SPLIT, START, cluster, picture
from tests.unit.stack_cluster import ONE, OTHER, facts_of, with_side

ALERTS = '\n[supervise.alerts]\ncommand = ["cat"]\n'


def test_who_is_told(tmp_path: Path) -> None:
    with Told(StringIO(), Form.JSON) as told:
        def kinds(more: str, board: Board | None) -> list[str]:
            return [type(one).__name__ for one in tellers(cluster(tmp_path, more), board, lambda: START, told.log)]
        assert kinds("", None) == ["Log", "Resyncs"]
        assert kinds("", Board()) == ["Log", "Resyncs", "Metrics"]
        assert kinds(ALERTS, Board()) == ["Log", "Resyncs", "Metrics", "Alerts"]


def test_what_is_not_asked_for_is_not_even_loaded() -> None:
    """Each costs some megabytes."""
    costly = {"httpx", "prometheus_client", "h11"}
    script = f"import sys, orchestrator.supervisor.tellers; print(sorted({costly} & set(sys.modules)))"
    done = subprocess.run((sys.executable, "-c", script), capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_one_picture_reaches_all_of_them(tmp_path: Path) -> None:
    config = cluster(tmp_path, '\n[supervise.alerts]\ncommand = ["cp", "/dev/stdin", "heard"]\n'.replace("heard", str(tmp_path / "heard")))
    out, board = StringIO(), Board()

    async def main() -> None:
        with Told(out, Form.JSON) as told:
            async with trio.open_nursery() as nursery:
                for one in tellers(config, board, lambda: START, told.log, tmp_path / "alarms.json"):
                    nursery.start_soon(one.run)
                    one.picture(evolve(picture(config), alarms=(SPLIT,)))
                with trio.fail_after(30):
                    while not (tmp_path / "heard").exists() or not (tmp_path / "alarms.json").exists():  # noqa: ASYNC110 - a process's to say
                        await trio.sleep(0.01)
                assert 'orchestrate_alarm{about="r0",alarm="split-brain"' in board.text().decode()
                nursery.cancel_scope.cancel()

    trio.run(main)
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["alarm_raised"]
    assert json.loads((tmp_path / "alarms.json").read_bytes())["standing"][0]["name"] == "split-brain"
    assert board.shown == {}, "who has left is on no board"


def test_a_resync_that_is_stuck_is_an_alarm_of_the_next_picture(tmp_path: Path) -> None:
    config = cluster(tmp_path)
    facts = with_side(facts_of(config), ONE, peer_disk=DiskState.INCONSISTENT, out_of_sync=0)
    facts = with_side(facts, OTHER, disk=DiskState.INCONSISTENT, replication=ReplicationState.SYNC_TARGET, out_of_sync=4096)

    async def main() -> None:
        resyncs = Resyncs()
        resyncs.picture(picture(config, facts))
        assert not resyncs.alarms
        await trio.sleep(MOMENT)
        resyncs.picture(picture(config, facts))
        assert [(alarm.name, alarm.about) for alarm in resyncs.alarms] == [("resync-stuck", "r0")]
        resyncs.picture(picture(config))
        assert not resyncs.alarms

    trio.run(main, clock=MockClock(autojump_threshold=0))
