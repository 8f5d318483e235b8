"""What the commands say, and their exit codes, where nothing can be reached or what was typed cannot be meant. Real connections, to
ports of this machine that nobody listens on: no command gets as far as a node."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cli import COMMANDS, main

UNREACHABLE = """
[cluster]
name = "nas"
journal = "journal.jsonl"
[node.nas1]
address = "127.0.0.1"
port = 1
replication_address = "198.51.100.11"
[node.nas2]
address = "127.0.0.2"
port = 1
replication_address = "198.51.100.12"
[resource.r0]
disk = "/dev/vg0/r0"
primaries = 1
"""
Capture = pytest.CaptureFixture[str]
FENCING = '[node.nas1.fence]\nmethod = "manual"\n[node.nas2.fence]\nmethod = "manual"\n'


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())


def typed(config: Path, *words: str) -> int:
    """The exit code of one command."""
    with pytest.raises(SystemExit) as end:
        main(["-c", str(config), *words])
    assert isinstance(end.value.code, int)
    return end.value.code


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "cluster.toml"
    path.write_text(UNREACHABLE)
    return path


@pytest.mark.parametrize("words", [
    ("check",), ("plan",), ("up",), ("down",), ("down", "--node", "nas1"), ("restart", "--rolling"), ("status",), ("status", "--json"),
    ("verify", "r0"), ("maintenance", "on"), ("maintenance", "off", "nas1"), ("recover-splitbrain", "r0"), ("recover-splitbrain", "--all"),
    ("recover-splitbrain", "r0", "--plan"), ("recover-splitbrain", "r0", "--victim", "nas1"), ("watch", "--once"),
])
def test_a_node_that_cannot_be_reached_is_exit_6_and_is_named(config: Path, words: tuple[str, ...], capsys: Capture) -> None:
    assert typed(config, *words) == 6
    said = capsys.readouterr()
    assert "unreachable: nas1 (root@127.0.0.1:1): Connection refused" in said.out + said.err
    assert "Traceback" not in said.err
    assert "Why." not in said.err, "no name of ours, but words"


def test_what_was_not_seen_is_not_called_no_split_brain(config: Path, capsys: Capture) -> None:
    assert typed(config, "recover-splitbrain", "r0", "--plan", "--json") == 6
    assert json.loads(capsys.readouterr().out)[0]["split_brain"] is None
    assert typed(config, "recover-splitbrain", "r0", "--plan") == 6
    said = capsys.readouterr()
    assert "whether it is split brain cannot be told: identifiers were not read on nas1 and nas2" in said.out
    assert "refused: recover r0: nas1 cannot be reached" in said.err


def test_where_nobody_can_be_told_that_a_node_is_off_none_is_told_to_say_so(config: Path, capsys: Capture) -> None:
    typed(config, "down")
    said = capsys.readouterr().err
    assert "with no fencing configured `orchestrate` does nothing without it" in said
    assert "fence-ack" not in said


@pytest.mark.parametrize(("words", "said"), [
    (("down", "--node", "nas3"), "there is no node nas3"),
    (("maintenance", "on", "nas3"), "there is no node nas3"),
    (("fence", "nas3", "--yes"), "there is no node nas3"),
    (("fence-ack", "nas3", "--yes"), "there is no node nas3"),
    (("fence", "nas1", "--yes"), "give each node a [node.NAME.fence]"),
    (("recover-splitbrain", "r0", "--victim", "nas3"), "there is no node nas3"),
    (("recover-splitbrain", "r1"), "there is no resource r1"),
    (("recover-splitbrain",), "name one resource, or --all"),
    (("verify", "r1"), "there is no resource r1"),
    (("verify", "r0", "--repair", "nas3"), "there is no node nas3"),
    (("journal", "-n", "0"), "x>=1"),
    (("graph", "nothing"), "is not one of"),
    (("--log", "/dev/null/log", "up"), "--log /dev/null/log: cannot be written: Not a directory"),
    (("nothing",), "No such command"),
])
def test_what_cannot_be_meant_is_exit_2_and_named(config: Path, words: tuple[str, ...], said: str, capsys: Capture) -> None:
    assert typed(config, *words) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("command", ["fence", "fence-ack"])
def test_a_script_is_not_asked(config: Path, command: str, capsys: Capture) -> None:
    config.write_text(UNREACHABLE + FENCING)
    assert typed(config, command, "nas1") == 2
    assert "stdin is no terminal; sure of it? add --yes" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(config: Path, command: str, capsys: Capture) -> None:
    assert typed(config, command, "--help") == 0
    assert f" {command} " in capsys.readouterr().out


@pytest.mark.parametrize("words", [("graph",), ("status",), ("--help",)])
def test_a_full_stdout_is_no_bug(config: Path, words: tuple[str, ...]) -> None:
    """A process of its own, for Python writes what is left on its way out."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-m", "orchestrator", "-c", str(config), *words], stdout=full, stderr=subprocess.PIPE,
                              text=True, check=False)
    assert done.returncode == 74, done.stderr
    assert "stdout cannot be written: No space left on device" in done.stderr
    assert "bug" not in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
