"""A supervisor beside the lab's file server: what it logs, what its metrics say, what it tells people, and what it has sent."""

from __future__ import annotations

import fnmatch
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from attrs import define
from prometheus_client.parser import text_string_to_metric_families

from fixtures.lab.system import wait_until
from orchestrator.journal import read
from tests.lab.cluster import N1, N2
from tests.lab.stack_cluster import StackCluster

PATIENCE = 400.0
"""Seconds a node may take, on a busy machine, from its boot to serving again."""
LOST = ("split-brain", "diverged", "unrelated", "suspect")
"""Alarms that would say that somebody's data are in danger: never here."""


@define(eq=False)
class Supervised:
    """One run of `orchestrate supervise` in a process of its own."""

    nodes: StackCluster
    folder: Path
    port: int
    process: subprocess.Popen[bytes]
    claims: list[tuple[str, str, str]]
    records: int

    # -- what it says --------------------------------------------------------------------------------------------------

    def logged(self) -> list[dict[str, Any]]:
        """Its log so far; a line that is being written is not in it."""
        return [json.loads(line) for line in (self.folder / "log").read_text().splitlines(keepends=True) if line.endswith("\n")]

    def story(self) -> list[str]:
        """The log as lines without times: moves, alarms, and what it was about."""
        return [words for words in map(in_words, self.logged()) if words]

    def standing(self) -> set[str]:
        """Alarms that stand, by its log."""
        found: set[str] = set()
        for record in self.logged():
            key = f"{record.get('alarm')}:{record.get('about')}"
            if record["event"] == "alarm_raised":
                found.add(key)
            elif record["event"] == "alarm_cleared":
                found.discard(key)
        return found

    def samples(self, name: str) -> list[dict[str, str]]:
        """Labels of all samples of a gauge that are 1, as Prometheus reads them."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=10)) as server:
            server.request("GET", "/metrics")
            families = text_string_to_metric_families(server.getresponse().read().decode())
        return [sample.labels for family in families if family.name == name for sample in family.samples if sample.value == 1]

    def measured(self) -> set[str]:
        """Alarms that stand, by its metrics."""
        return {f"{one['alarm']}:{one['about']}" for one in self.samples("orchestrate_alarm")}

    def alerts(self, key: str) -> list[str]:
        """What people were told of an alarm: raised, cleared."""
        path = self.folder / "alerts"
        told = [alert for line in path.read_text().splitlines() for alert in json.loads(line)["alerts"]] if path.exists() else []
        return [one["status"] for one in told if f"{one['name']}:{one['about']}" == key and one["status"] != "repeated"]

    def told_over(self, key: str) -> bool:
        """The last that people were told of it is that it has ended."""
        return self.alerts(key)[-1:] == ["cleared"]

    # -- what is waited for --------------------------------------------------------------------------------------------

    def until_alarmed(self, key: str, seconds: float = 120) -> None:
        """The log has raised it, the metrics show it, and people are told."""
        self.until(lambda: key in self.standing() | self._cleared(), f"alarm {key}", seconds)
        self.until(lambda: "raised" in self.alerts(key), f"people are told of {key}", 60)

    def _cleared(self) -> set[str]:
        return {f"{one['alarm']}:{one['about']}" for one in self.logged() if one["event"] == "alarm_cleared"}

    def until_whole(self, seconds: float = PATIENCE) -> None:
        """Its metrics say that all is well, and its log agrees."""
        self.until(self.whole, "all is well", seconds)

    def whole(self) -> bool:
        """DualPrimary, both serve, no alarm, nothing under way: by metrics and log alike."""
        states = {one["layer"] + " on " + one["node"]: one["state"] for one in self.samples("orchestrate_layer_state")}
        serves = all(states.get(f"samba on {node}") == "Up" for node in (N1, N2)) and set(states.values()) == {"Up"}
        paired = {one["state"] for one in self.samples("orchestrate_resource_state")} == {"DualPrimary"}
        return serves and paired and not self.measured() and not self.standing() and not self.samples("orchestrate_working")

    def until(self, seen: Callable[[], bool], what: str, seconds: float) -> None:
        if not wait_until(seen, seconds, 0.3):
            raise AssertionError(f"not seen within {seconds} s: {what}; it stands: {self.standing()}\n" + "\n".join(self.timed()))

    # -- what came of it -----------------------------------------------------------------------------------------------

    def assert_told(self, *keys: str) -> None:
        """Each of these was raised and is cleared: in the log, in the metrics, and to people."""
        for key in keys:
            self.until(partial(self.told_over, key), f"people are told that {key} is over", 60)
            assert self.alerts(key)[0] == "raised", self.alerts(key)
        assert self.measured() == self.standing() == set()

    def assert_story(self, golden: Path) -> None:
        """Every line of the golden is in the story, in this order; what a busy machine puts between them is not its business."""
        lines = iter(self.story())
        for pattern in golden.read_text().splitlines():
            assert any(fnmatch.fnmatchcase(line, pattern) for line in lines), f"not seen: {pattern}\n" + "\n".join(self.timed())

    def assert_harmless(self) -> None:
        """Nothing was sent that cannot be undone, nothing was claimed, nobody's data were ever in danger."""
        sent = [one for one in list(read(self.nodes.folder / f"{self.nodes.machine}.jsonl"))[self.records:] if one["kind"] == "intent"]
        assert [one["key"] for one in sent if one["effect"] == "destructive"] == []
        assert self.nodes.claims() == self.claims
        assert not [line for line in self.story() if line.startswith("alarm ") and line.split()[1].partition(":")[0] in LOST]
        assert self.process.poll() is None, "it has ended"

    def timed(self) -> list[str]:
        """The story with the seconds since its start, for people."""
        start = _when(self.logged()[0]) if self.logged() else 0.0
        return [f"{_when(one) - start:7.2f} {in_words(one)}" for one in self.logged() if in_words(one)]


def _when(record: dict[str, Any]) -> float:
    return datetime.fromisoformat(record["logged"]).timestamp()


def in_words(record: dict[str, Any]) -> str:
    """A line of the log as a line of the story; "" for what is none of it."""
    match record["event"]:
        case "moved" | "surprise":
            row = record.get("row", "a surprise")
            return f"{record['machine']}: {record['before']} -> {record['after']} ({row})"
        case "alarm_raised":
            return f"alarm {record['alarm']}:{record['about']}, {record['severity']}"
        case "alarm_cleared":
            return f"cleared {record['alarm']}:{record['about']}"
        case "doing":
            return f"doing: {record['what']}"
    return ""


@contextmanager
def supervising(nodes: StackCluster, folder: Path) -> Iterator[Supervised]:
    """A supervisor that has seen the cluster whole. It ends with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    taker = json.dumps(["sh", "-c", f"cat >>{folder}/alerts && echo >>{folder}/alerts"])
    section = f'[supervise]\nlisten = "127.0.0.1:{port}"\n\n[supervise.alerts]\ncommand = {taker}\n\n'
    nodes.changes = {"[ssh]\n": f"{section}[ssh]\n"}
    journal = nodes.folder / f"{nodes.machine}.jsonl"
    before = len(list(read(journal))) if journal.exists() else 0
    argv = [sys.executable, "-m", "orchestrator", "-c", str(nodes.config()), "supervise", "--log-format", "json"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=log, start_new_session=True)
    found = Supervised(nodes, folder, port, process, nodes.claims(), before)
    try:
        found.until(lambda: any(one["event"] == "first_seen" for one in found.logged()), "it watches", 60)
        found.until_whole(120)
        yield found
        print("\n" + "\n".join(found.timed()))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
