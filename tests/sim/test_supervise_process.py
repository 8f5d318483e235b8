"""`orchestrate supervise` as a process, on simulated nodes behind real SSH: signals, what systemd hears, a second one, a bad file."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.sim.stage import Staging, staged

ORCHESTRATE = [sys.executable, "-m", "orchestrator"]
PATIENCE = 60.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cluster.toml of a pair that was brought up."""
    with staged(tmp_path_factory.mktemp("staged"), Staging(cells=4, cell=0.01, fork=0.002)) as (path,):
        text = path.read_text()
        path.write_text(f'{text}\n[supervise]\nlisten = ""\n')
        subprocess.run([*ORCHESTRATE, "-c", str(path), "up", "-q"], check=True, timeout=PATIENCE)
        yield path


class Process:
    """A running supervisor: what it logs, and what it tells systemd."""

    def __init__(self, config: Path, folder: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(folder / "notify"))
        self.socket.settimeout(PATIENCE)
        self.log = folder / "log"
        env = {**os.environ, "NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "400000"}
        env.pop("WATCHDOG_PID", None)
        with self.log.open("w") as out:
            self.process = subprocess.Popen([*ORCHESTRATE, "-c", str(config), "supervise", "--log-format", "json"], stderr=out, env=env)

    def told(self, word: str) -> str:
        """What systemd is told that has this word in it; TimeoutError if it is not."""
        while True:
            said = self.socket.recv(4096).decode()
            if word in said:
                return said

    def logged(self, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first line of the log that fits. TimeoutError if there is none in time."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            for line in self.log.read_text().splitlines():
                record: dict[str, Any] = json.loads(line)
                if fits(record):
                    return record
            time.sleep(0.05)
        raise TimeoutError(self.log.read_text())

    def watches(self) -> None:
        """Until it has seen the cluster."""
        self.logged(lambda record: record.get("machine") == "r0")

    def end(self) -> tuple[int, float]:
        """SIGTERM: its exit code, and the seconds it took. Those in which it only waited for a core, which others had, do not count."""
        queued = waited = self._queued()
        gone = os.pidfd_open(self.process.pid)
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        while not select.select([gone], [], [], 0.01)[0] and time.monotonic() < began + PATIENCE:
            waited = max(waited, self._queued())
        took = time.monotonic() - began
        os.close(gone)
        return self.process.wait(0.1), took - (waited - queued)

    def _queued(self) -> float:
        """Seconds for which it was ready to run and had no core, so far (proc/PID/schedstat, second field); 0 where nobody counts."""
        try:
            return int(Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[1]) / 1e9
        except (OSError, IndexError):
            return 0.0


@pytest.fixture
def supervisor(cluster: Path, tmp_path: Path) -> Iterator[Process]:
    found = Process(cluster, tmp_path)
    try:
        found.told("READY=1")
        found.watches()
        yield found
    finally:
        found.process.kill()
        found.process.wait()
        found.socket.close()


def test_it_ends_within_a_second(supervisor: Process) -> None:
    assert "WATCHDOG=1" in supervisor.told("WATCHDOG")
    code, seconds = supervisor.end()
    assert code == 0
    assert seconds < 1.0
    supervisor.told("STOPPING=1")


def test_a_second_one_is_refused(supervisor: Process, cluster: Path) -> None:
    second = subprocess.run([*ORCHESTRATE, "-c", str(cluster), "supervise"], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert second.returncode == 75
    assert "another supervisor" in second.stderr


def test_a_bad_file_is_said_and_the_old_one_goes_on(supervisor: Process, cluster: Path) -> None:
    good = cluster.read_text()
    try:
        cluster.write_text(f"{good}\nflaps = 'many'\n")
        supervisor.process.send_signal(signal.SIGHUP)
        refused = supervisor.logged(lambda record: record["event"] == "config_refused")
        assert "supervise.flaps" in refused["seen"]
        assert "RELOADING=1" in supervisor.told("RELOADING")
        supervisor.told("READY=1")
        cluster.write_text(f"{good}\nflaps = 5\n")
        supervisor.process.send_signal(signal.SIGHUP)
        assert supervisor.logged(lambda record: record["event"] == "config_read")["changed"] is True
    finally:
        cluster.write_text(good)
    assert supervisor.process.poll() is None
    assert supervisor.end()[0] == 0


def test_maintenance_is_seen_at_once_and_shown(supervisor: Process, cluster: Path) -> None:
    command = [*ORCHESTRATE, "-c", str(cluster), "maintenance"]
    subprocess.run([*command, "on", "linux-nas02", "--why", "new memory"], check=True, timeout=PATIENCE)
    supervisor.logged(lambda record: record["event"] == "maintenance" and record["nodes"] == ["linux-nas02"])
    status = [*ORCHESTRATE, "-c", str(cluster), "status"]
    said = json.loads(subprocess.run([*status, "--json"], capture_output=True, text=True, timeout=PATIENCE, check=True).stdout)
    assert said["nodes"]["linux-nas02"]["maintenance"] == "new memory"
    assert "new memory" in subprocess.run(status, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
    subprocess.run([*command, "off"], check=True, timeout=PATIENCE)
    supervisor.logged(lambda record: record["event"] == "maintenance" and record["nodes"] == [])


def test_a_command_goes_first_and_what_it_took_down_stays_down(supervisor: Process, cluster: Path) -> None:
    subprocess.run([*ORCHESTRATE, "-c", str(cluster), "down", "-q"], check=True, timeout=PATIENCE)
    supervisor.logged(lambda record: record["event"] == "maintenance" and len(record["nodes"]) == 2)
    check = subprocess.run([*ORCHESTRATE, "-c", str(cluster), "supervise", "--check"], capture_output=True, text=True, timeout=PATIENCE)
    assert (check.returncode, "would repair nothing" in check.stdout) == (0, True)
    subprocess.run([*ORCHESTRATE, "-c", str(cluster), "up", "-q"], check=True, timeout=PATIENCE)
    supervisor.logged(lambda record: record["event"] == "maintenance" and record["nodes"] == [])
    assert not [line for line in supervisor.log.read_text().splitlines() if json.loads(line)["event"] == "alarm_raised"]
