"""Seeds with faults: no harm, faults enough, the same thing every time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from fixtures.sim.__main__ import main
from fixtures.sim.bringup import bring_up
from fixtures.sim.seeds import Result, run_seed
from fixtures.sim.world import Tempo
from states.facts import Generation

SEEDS = int(os.environ.get("SIM_SEEDS", "60"))
"""How many `make test` runs; `make sim` runs the counts."""


@pytest.fixture(scope="module")
def results() -> list[Result]:
    """The first seeds, run once."""
    return [run_seed(seed) for seed in range(SEEDS)]


@pytest.mark.timeout(1200)
def test_no_seed_does_harm(results: list[Result]) -> None:
    assert {result.seed: result.harms for result in results if result.harms} == {}


@pytest.mark.parametrize("seed", [2680, 4752, 7680, 7717])
def test_seeds_that_once_misled_the_judges(seed: int) -> None:
    """Both disks gone; old data given back to a Primary by hand, then a crash (twice); neither disk whole."""
    assert run_seed(seed).harms == ()


def test_the_faults_are_not_tame(results: list[Result]) -> None:
    assert sum(result.faults for result in results) / len(results) >= 10
    assert {0, 3, 137} <= {code for result in results for code in result.codes}, "runs that reach, that refuse, that are killed"


def test_most_seeds_reach_the_goal_and_some_are_refused(results: list[Result]) -> None:
    reached = sum(result.ended == "reached" for result in results)
    assert len(results) / 3 < reached < len(results)


def test_a_seed_is_the_same_twice() -> None:
    one, other = run_seed(3, keep=True), run_seed(3, keep=True)
    assert one.lines == other.lines
    assert one.trace == other.trace
    assert len(one.lines) > 50


def test_a_seed_is_the_same_whatever_the_hash_seed() -> None:
    script = "from fixtures.sim.seeds import run_seed; print([run_seed(seed).trace for seed in (1, 3, 8)])"
    seen = set()
    for hashes in ("0", "1", "4711"):
        env = {**os.environ, "PYTHONHASHSEED": hashes}
        seen.add(subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True).stdout)
    assert len(seen) == 1


@pytest.mark.parametrize("generation", [Generation.V84, Generation.V9])
def test_blank_disks_are_brought_up(tmp_path: Path, generation: Generation) -> None:
    said = bring_up(tmp_path, 1, generation)
    assert (said.code, said.text) == (0, "")
    assert said.sent[-1] == "promote:r0:linux-nas02"


def test_a_copy_that_takes_longer_than_the_stall_limit_is_not_stalled(tmp_path: Path) -> None:
    """Only one node's counter is read while blocks are copied: the other's old count must not hide the progress."""
    said = bring_up(tmp_path, 1, tempo=Tempo(meet=(0.02, 0.1), cell=(15.0, 25.0)))
    assert (said.code, said.text) == (0, "")


def test_a_long_run_is_resumed(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    for expected in (20, 40):
        done = CliRunner().invoke(main, ["--seeds", "20" if expected == 20 else "40", "--jobs", "1", "--state", str(state)])
        assert done.exit_code == 0, done.output
        assert json.loads(state.read_text())["next"] == expected
        assert json.loads(state.read_text())["seeds"] == expected


def test_the_command_runs_on_every_core() -> None:
    argv = [sys.executable, "-m", "fixtures.sim", "--seeds", "40", "--jobs", "2"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "40 seeds; violations: 0" in done.stdout
