"""The benchmark of many pairs runs, both ways, and its figures are of what it says they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from fixtures.bench_pairs import main


@pytest.mark.parametrize("way", [["--processes", "2"], ["--direct"]])
def test_pairs_are_brought_up_at_once(way: list[str], tmp_path: Path) -> None:
    profile = tmp_path / "profile"
    done = CliRunner().invoke(main, ["--pairs", "3", "--fork", "0.004", "--cell", "0.05", "--profile", str(profile), *way])
    assert done.exit_code == 0, done.output
    figures = {name: (int(pairs), float(wall), float(path)) for name, pairs, wall, path in re.findall(
        r"^(alone  |at once) (\d+) pairs?: wall ([\d.]+) s .*?critical path ([\d.]+) s", done.output, re.MULTILINE)}
    assert figures["alone  "][0] == 1
    assert figures["at once"][0] == 3
    assert all(0.05 * 16 < path <= wall for _, wall, path in figures.values())
    assert profile.exists()
