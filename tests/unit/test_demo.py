"""`orchestrate demo` on simulated nodes, as a user runs it: a process of its own in a fresh folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from orchestrator.journal import read

ROOT = Path(__file__).parents[2]


def start(folder: Path, *words: str, path: str | None = None) -> subprocess.Popen[str]:
    """The demo. `path`: a PATH on which the lab does not find what it needs."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "cache")} | ({"PATH": path} if path else {})
    env.pop("ORCHESTRATE_LAB", None)
    argv = [sys.executable, "-m", "orchestrator", "demo", *words]
    return subprocess.Popen(
        argv, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - tests started in the background ignore it
    )


def stagers(folder: Path) -> list[int]:
    """Processes that simulate nodes for a demo in this folder."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = line.read_bytes().split(b"\0")
        except OSError:
            continue  # ended meanwhile
        if b"fixtures.sim.stage" in words and any(str(folder).encode() in word for word in words):
            found.append(int(line.parent.name))
    return found


def gone(folder: Path) -> bool:
    """Whether the simulated nodes end, within the time a starved machine may need."""
    end = time.monotonic() + 10
    while stagers(folder) and time.monotonic() < end:
        time.sleep(0.05)
    return not stagers(folder)


def read_until(demo: subprocess.Popen[str], words: str) -> str:
    """What it says on stderr, up to a line with these words, or to its end."""
    assert demo.stderr is not None
    said = ""
    for line in demo.stderr:
        said += line
        if words in line:
            break
    return said


def test_where_no_lab_can_be_made_the_nodes_are_simulated_and_it_says_so(tmp_path: Path) -> None:
    with start(tmp_path, path=str(tmp_path / "nothing")) as demo:
        said = read_until(demo, "orchestrate up")
        assert len(stagers(tmp_path)) == 1
        stdout, rest = demo.communicate(timeout=100)
    assert demo.returncode == 0, rest
    assert "no lab can be made here: " in said
    assert "THE NODES ARE SIMULATED" in said
    assert "create metadata" in stdout
    assert stdout.count("DualPrimary") == 2  # `up` ends with it, `status` sees it
    assert "copying" in rest
    assert gone(tmp_path)
    kinds = [record["kind"] for record in read(tmp_path / "lab" / "simulated" / "journal.jsonl")]
    assert kinds.count("intent") == kinds.count("outcome") > 0


def test_ctrl_c_ends_the_demo_and_its_nodes(tmp_path: Path) -> None:
    with start(tmp_path, "--simulated", "--dir", "here") as demo:
        said = read_until(demo, "force primary")
        assert "no lab can be made" not in said
        demo.send_signal(signal.SIGINT)
        _, rest = demo.communicate(timeout=60)
    assert demo.returncode == 130, rest
    assert "stopped by hand" in rest
    assert "Traceback" not in rest
    assert gone(tmp_path)


def test_kept_nodes_stay_until_ctrl_c(tmp_path: Path) -> None:
    with start(tmp_path, "--simulated", "--keep") as demo:
        assert "Ctrl-C" in read_until(demo, "Ctrl-C")
        config = tmp_path / "lab" / "simulated" / "cluster.toml"
        argv = [sys.executable, "-m", "orchestrator", "-c", str(config), "status"]
        status = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
        assert (status.returncode, "DualPrimary" in status.stdout) == (0, True)
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=60)
    assert demo.returncode == 0
    assert gone(tmp_path)


def test_the_nodes_end_when_the_demo_is_killed(tmp_path: Path) -> None:
    with start(tmp_path, "--simulated") as demo:
        read_until(demo, "orchestrate plan")
        assert len(stagers(tmp_path)) == 1
        demo.kill()
    assert gone(tmp_path)


def test_who_insists_on_the_lab_gets_no_other(tmp_path: Path) -> None:
    with start(tmp_path, "--lab", path=str(tmp_path / "nothing")) as demo:
        stdout, stderr = demo.communicate(timeout=60)
    assert demo.returncode == 4
    assert "no demo: " in stderr
    assert "SIMULATED" not in stderr
    assert stdout == ""
