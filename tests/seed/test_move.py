"""`plan --to modern` for the how-to's pair: the text that was read, and what it says of a pair that is whole, broken, or moved already."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from orchestrator.cli import main
from orchestrator.cli.move import show_move
from orchestrator.config import load
from orchestrator.errors import RefusedError
from tests.seed.test_seed import SEED, config, looked

Capture = pytest.CaptureFixture[str]


def typed(*words: str) -> int:
    """The exit code of one command."""
    with pytest.raises(SystemExit) as end:
        main(list(words))
    assert isinstance(end.value.code, int)
    return end.value.code


def moved(tmp_path: Path) -> Path:
    """The seed's cluster.toml as step `describe` has it edited."""
    path = tmp_path / "modern.toml"
    lines = (SEED / "cluster.toml").read_text().replace('profile = "rhcs"', 'profile = "modern"').splitlines()
    path.write_text("\n".join(line for line in lines if not line.startswith("legacy")))
    return path


def test_the_move_is_the_one_that_was_read(capsys: Capture) -> None:
    assert typed("-c", str(SEED / "cluster.toml"), "plan", "--to", "modern", "--offline") == 10
    text = "\n".join(line.rstrip() for line in capsys.readouterr().out.splitlines()) + "\n"
    assert text == (SEED / "move.txt").read_text()


def test_scripts_get_the_same_steps(capsys: Capture) -> None:
    assert typed("-c", str(SEED / "cluster.toml"), "plan", "--to", "modern", "--offline", "--json") == 10
    found = json.loads(capsys.readouterr().out)
    began, ended = found["nobody_is_served"]
    assert [step["number"] for step in found["steps"] if step["stands_still"] == "all"] == list(range(began, ended + 1))
    assert [step["name"] for step in found["steps"] if step["no_return"]] == ["serve"]
    assert found["steps"][-1]["after"] == [found["steps"][-2]["number"]]


def test_the_edited_file_is_good_and_there_is_nothing_left_to_move(tmp_path: Path, capsys: Capture) -> None:
    path = moved(tmp_path)
    assert load(path).volume_of("opt") == config().volume_of("opt")
    assert typed("-c", str(path), "plan", "--to", "modern") == 0, "no node is looked at"
    assert capsys.readouterr().out == "nothing to move: modern.toml has profile modern\n"


def test_options_that_do_not_go_together_are_refused(capsys: Capture) -> None:
    for words in (("--offline",), ("--to", "modern", "--down"), ("--to", "modern", "--apply-config")):
        assert typed("-c", str(SEED / "cluster.toml"), "plan", *words) == 2
        assert "--to stands alone" in capsys.readouterr().err


def test_a_pair_that_was_never_synced_is_not_moved() -> None:
    out = io.StringIO()
    with pytest.raises(RefusedError, match="move-from-whole") as refused:
        show_move(config(), looked().facts, as_json=False, stream=out)
    assert refused.value.code == 3
    assert "orchestrate up" in str(refused.value)
    assert "NO RETURN FROM HERE" in out.getvalue(), "what would be done is shown all the same"


def test_a_pair_that_is_up_may_be_moved() -> None:
    out = io.StringIO()
    assert show_move(config(), looked(up=True).facts, as_json=False, stream=out) == 10
    assert "was not seen" not in out.getvalue()
    assert "nobody looked" not in out.getvalue()


def test_nodes_that_are_not_seen_are_named_and_hold_nothing_up(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "cluster.toml"
    text = (SEED / "cluster.toml").read_text().replace('key = "~/.ssh/id_rsa"', "")
    for last in ("18", "19"):
        text = text.replace(f'"192.168.0.{last}"', f'"127.0.0.{last}"\nport = 1')
    path.write_text(text)
    assert typed("-c", str(path), "plan", "--to", "modern") == 10
    said = capsys.readouterr().out
    for node in ("linux-nas01", "linux-nas02"):
        assert f"note: {node} was not seen: " in said
    assert said.count("Connection refused. Step 1 has to see it connected and UpToDate") == 2
