"""The bench's own parts, without a lab: its table, and what the script and the playbook may not do."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.bench.__main__ import HERE, RECAP, Way, table

SHELL = ("at_a_node.sh", "sequential.sh")


def test_the_table_has_both_ratios() -> None:
    ours = Way("orchestrate up", lambda lab, folder: False, cold=[44.0, 40.0, 48.0], again=[2.0])
    other = Way("a script", lambda lab, folder: False, cold=[88.0])
    rows = {line[:38].strip(): line[38:].split() for line in table([ours, other], 40.0).splitlines()[1:]}
    assert rows["critical path of `up`"] == ["40.00", "1.00", "0.91"]
    assert rows["orchestrate up"] == ["44.00", "1.10", "1.00", "2.00", "s"]
    assert rows["a script"] == ["88.00", "2.20", "2.00"]


def test_a_recap_is_read_only_where_nothing_failed() -> None:
    said = """
linux-nas01                : ok=15   changed=12   unreachable=0    failed=0    skipped=1    rescued=0    ignored=0
linux-nas02                : ok=9    changed=3    unreachable=0    failed=1    skipped=5    rescued=0    ignored=0
"""
    assert RECAP.findall(said) == [("linux-nas01", "12")]


@pytest.mark.parametrize("name", SHELL)
def test_the_shell_is_shell(name: str) -> None:
    assert subprocess.run(["sh" if name == "at_a_node.sh" else "bash", "-n", str(HERE / name)], capture_output=True).returncode == 0


@pytest.mark.parametrize("path", sorted(path for path in HERE.iterdir() if path.suffix in (".sh", ".yml")), ids=lambda path: path.name)
def test_it_waits_for_conditions_and_never_for_a_time(path: Path) -> None:
    waits = re.findall(r"^.*\b(?:sleep|pause|wait_for|delay)\b.*$", path.read_text(), re.MULTILINE)
    assert [line.strip() for line in waits] == (["sleep 0.1"] if path.name == "at_a_node.sh" else []), "only between two looks of await"


def test_script_and_playbook_take_the_same_steps() -> None:
    taught = set(re.findall(r"^(\w+)\(\)", (HERE / "at_a_node.sh").read_text(), re.MULTILINE))
    script, playbook = ((HERE / name).read_text().replace("\\n", " ") for name in ("sequential.sh", "playbook.yml"))
    steps = {"drbd_up", "first_copy", "group", "promote", "locks", "volume", "active", "file_system", "mounted", "shares"}
    assert steps <= taught & set(re.findall(r"\w+", script)) & set(re.findall(r"\w+", playbook))
