"""A far-side shell that is ended at any moment leaves nobody behind. What waits in a pipe for someone who is gone waits for ever, and
keeps what it has inherited: a lock ("another save of r0 is running", until the node boots) or a view of a disk.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import resources
from pathlib import Path

ROUNDS = 400
"""With a pipe whose ends wait for each other 5 of 400 were left behind."""


def _soon(what: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def _gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_save_that_is_ended_at_any_moment_gives_its_lock_back(tmp_path: Path) -> None:
    text = resources.files("orchestrator.recovery").joinpath("save.sh").read_text()
    view = tmp_path / "view"
    view.write_bytes(bytes(3 << 20))
    script = text.replace(" iflag=direct", "").replace("RUN=/run/orchestrate", f"RUN={tmp_path}") + f"""
stands() {{ alone r0 || return; view={view}; exec 7<$view; trap 'exec 7<&-' EXIT; trap 'exit 143' TERM INT; }}
hash_view stands r0 1 disk identifiers sum 0
"""
    rng = random.Random(5)
    for turn in range(ROUNDS):
        shell = subprocess.Popen(["sh", "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        time.sleep(rng.uniform(0.002, 0.02))  # the moment itself is what is tried out
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGTERM)
        shell.wait()
        lock = tmp_path / "save-r0.lock"
        free = not lock.exists() or subprocess.run(["flock", "-w", "10", lock, "true"]).returncode == 0
        if not free:
            os.killpg(shell.pid, signal.SIGKILL)
        assert free, f"round {turn}: somebody still holds {lock}"


def test_what_ends_after_everybody_gave_up_does_not_wait_for_them(tmp_path: Path) -> None:
    text = resources.files("orchestrator.recovery").joinpath("files.sh").read_text()
    script = f"{text}\nroom={tmp_path}\ndetached 0.5 sh -c ': >{tmp_path}/begun; exec sleep 1'"
    shell = subprocess.Popen(["sh", "-c", script], start_new_session=True)
    try:
        assert _soon((tmp_path / "begun").exists)
        shell.kill()
        shell.wait()
        assert _soon((tmp_path / "code").exists)
        assert _soon(lambda: _gone(shell.pid))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
