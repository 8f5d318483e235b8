"""Lease and claims as the node's own shell keeps them: the real script, in a folder of its own."""

from __future__ import annotations

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator.drbd.steps import SCRIPT
from orchestrator.lease import SUPERVISOR, Held, holder, is_dead, machine, read_held, read_taken, read_wanted
from orchestrator.probes import look

SHELLS = [found for name in ("sh", "dash", "bash") if (found := shutil.which(name))]


def far_side(state: Path, script: str, shell: str = "sh") -> subprocess.CompletedProcess[str]:
    """Run the far-side script as a node would, with its state in `state`."""
    text = "\n".join((look.SCRIPT, SCRIPT, f"STATE={state}", script))
    return subprocess.run([shell, "-c", text], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("script", [look.SCRIPT, SCRIPT], ids=["look", "act"])
def test_the_scripts_are_shell(shell: str, script: str) -> None:
    assert subprocess.run([shell, "-n", "-c", script], capture_output=True, check=False).stderr == b""


def test_taken_renewed_held_and_given_back(tmp_path: Path) -> None:
    assert read_taken(far_side(tmp_path, "lease_take one 30 -").stdout) == 1
    assert read_taken(far_side(tmp_path, "lease_take one 30 -").stdout) == 1
    refused = far_side(tmp_path, "lease_take other 30 -")
    assert refused.returncode == 75
    held = read_held("node", refused.stdout)
    assert held is not None
    assert (held.epoch, held.holder) == (1, "one")
    assert 0 < held.left <= 30
    far_side(tmp_path, "lease_drop other")
    assert far_side(tmp_path, "lease_mine one 1").returncode == 0
    far_side(tmp_path, "lease_drop one")
    assert read_taken(far_side(tmp_path, "lease_take other 30 -").stdout) == 2


def test_a_dead_holder_is_passed_over_and_an_expired_lease_is_free(tmp_path: Path) -> None:
    far_side(tmp_path, "lease_take one 30 -")
    assert read_taken(far_side(tmp_path, "lease_take other 30 one").stdout) == 2
    assert far_side(tmp_path, "lease_mine one 1").returncode != 0
    assert read_taken(far_side(tmp_path / "expired", "lease_take one 0 -").stdout) == 1
    assert read_taken(far_side(tmp_path / "expired", "lease_take other 30 -").stdout) == 2


def test_a_lease_of_an_earlier_boot_is_free(tmp_path: Path) -> None:
    (tmp_path / "lease").write_text("7 one another-boot 99999999\n")
    assert read_taken(far_side(tmp_path, "lease_take other 30 -").stdout) == 8


def test_a_step_without_the_lease_does_nothing(tmp_path: Path) -> None:
    far_side(tmp_path, "lease_take one 30 -; lease_take other 30 one")
    done = far_side(tmp_path, f"act key one 1 touch {tmp_path}/done")
    assert "the lease was lost" in done.stdout
    assert "==result key 75 " in done.stdout
    assert not (tmp_path / "done").exists()


def test_a_claimed_operation_runs_once_under_twenty_at_a_time(tmp_path: Path) -> None:
    script = f"act key one 1 once op-1 create-metadata r0 sh -c 'echo ran >>{tmp_path}/ran; sleep 0.2'"
    far_side(tmp_path, "lease_take one 30 -")
    with ThreadPoolExecutor(20) as pool:
        outputs = list(pool.map(lambda _: far_side(tmp_path, script).stdout, range(20)))
    assert (tmp_path / "ran").read_text() == "ran\n"
    assert sum("==result key 0 " in text for text in outputs) == 1
    assert (tmp_path / "claims/op-1/outcome").read_text() == "0\n"
    assert "claimed before" in far_side(tmp_path, script).stdout


def test_an_operation_that_failed_is_not_run_again(tmp_path: Path) -> None:
    far_side(tmp_path, "lease_take one 30 -")
    script = f"act key one 1 once op-1 create-metadata r0 sh -c 'echo ran >>{tmp_path}/ran; exit 20'"
    assert "==result key 20 " in far_side(tmp_path, script).stdout
    assert "==result key 75 " in far_side(tmp_path, script).stdout
    assert (tmp_path / "ran").read_text() == "ran\n"
    assert (tmp_path / "claims/op-1/outcome").read_text() == "20\n"


def test_a_file_is_written_whole_and_the_old_one_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "drbd.d" / "r0.res"
    assert far_side(tmp_path, f"write_file {path} 'one'").returncode == 0
    assert path.read_text() == "one"
    assert far_side(tmp_path, f"write_file {path} 'two % \\n'").returncode == 0
    assert path.read_text() == "two % \\n"
    assert path.with_name("r0.res.before").read_text() == "one"


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "r0.res"
    path.write_text("one")
    big = "x" * 4096
    assert far_side(tmp_path, f"ulimit -f 1; write_file {path} '{big}'").returncode != 0
    assert path.read_text() == "one"


def test_only_a_process_of_this_boot_can_be_known_dead() -> None:
    assert not is_dead(holder())
    child = subprocess.Popen(["true"])
    child.wait()
    assert is_dead(f"{machine()}:{child.pid}:1")
    assert not is_dead(f"0123456789abcdef:{child.pid}:1")
    assert not is_dead("nonsense")


def test_lines_of_a_nodes_answer() -> None:
    assert read_held("a", "x\n==lease-held 3 m:1:2 17\ny") == Held("a", 3, "m:1:2", 17)
    assert read_held("a", "==lease-held 3 m:1:2") is None
    assert read_taken("==lease-taken 4\n") == 4
    assert read_taken("lease-taken 4") is None


# -- a supervisor yields -------------------------------------------------------------------------------------------------

def test_a_supervisor_hears_who_asks_for_its_lease(tmp_path: Path) -> None:
    assert read_wanted(far_side(tmp_path, "lease_take one:supervise 30 -").stdout) == ""
    refused = far_side(tmp_path, "lease_take other 30 -")
    assert refused.returncode == 75
    heard = far_side(tmp_path, "lease_take one:supervise 30 -").stdout
    assert (read_wanted(heard), read_taken(heard)) == ("other", 1), "it keeps it for the step in flight"
    assert far_side(tmp_path, "lease_mine one:supervise 1").returncode == 0
    far_side(tmp_path, "lease_drop one:supervise")
    taken = far_side(tmp_path, "lease_take other 30 -").stdout
    assert (read_taken(taken), read_wanted(taken)) == (2, "")


def test_nobody_else_yields(tmp_path: Path) -> None:
    far_side(tmp_path, "lease_take one 30 -; lease_take other 30 -; lease_take third:supervise 30 -")
    assert read_wanted(far_side(tmp_path, "lease_take one 30 -").stdout) == ""
    far_side(tmp_path / "two", "lease_take one:supervise 30 -; lease_take other:supervise 30 -")
    assert read_wanted(far_side(tmp_path / "two", "lease_take one:supervise 30 -").stdout) == "", "two of them do not to each other"


def test_who_asked_long_ago_asks_no_more(tmp_path: Path) -> None:
    far_side(tmp_path, "lease_take one:supervise 30 -; lease_take other 30 -")
    words = (tmp_path / "wanted").read_text().split()
    (tmp_path / "wanted").write_text(f"{words[0]} {words[1]} 1\n")
    assert read_wanted(far_side(tmp_path, "lease_take one:supervise 30 -").stdout) == ""
    (tmp_path / "wanted").write_text(f"{words[0]} another-boot 99999999\n")
    assert read_wanted(far_side(tmp_path, "lease_take one:supervise 30 -").stdout) == ""


def test_a_supervisor_is_a_process_as_well() -> None:
    assert not is_dead(holder() + SUPERVISOR)
    child = subprocess.Popen(["true"])
    child.wait()
    assert is_dead(f"{machine()}:{child.pid}:1{SUPERVISOR}")


def test_what_was_taken_down_is_kept_until_it_is_taken_up(tmp_path: Path) -> None:
    mark = tmp_path / "maintenance"
    far_side(tmp_path, "lease_take one 30 - && stand_down")
    assert mark.read_text() == "down\n"
    far_side(tmp_path, "lease_take other 30 - && stand_up")
    assert mark.exists(), "nothing is written down without the lease"
    far_side(tmp_path, "lease_take one 30 - && stand_up")
    assert not mark.exists()


def test_maintenance_outlives_up_and_down(tmp_path: Path) -> None:
    mark = tmp_path / "maintenance"
    far_side(tmp_path, "stand 'new memory'; stand_down; stand_up")
    assert mark.read_text() == "new memory\n"
    far_side(tmp_path, "stand -")
    assert not mark.exists()
