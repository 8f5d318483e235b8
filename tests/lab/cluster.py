"""The lab as the scenarios use it: the real command line against real kernels, and the nodes' own word afterwards."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field, frozen

from fixtures.lab import Lab, LabError, LabSpec

N1, N2 = "linux-nas01", "linux-nas02"
DISK = "/dev/ubdb"

RESET = f"""
setup=/lib/drbd/drbdsetup-84; [ -x $setup ] || setup=drbdsetup
for try in 1 2 3; do
    [ -r /proc/drbd ] || break
    $setup secondary 1; drbdadm disconnect r0; $setup down r0 && break
done >/dev/null 2>&1
iptables-legacy -F 2>/dev/null; iptables-legacy -P INPUT ACCEPT 2>/dev/null
for holder in /sys/class/block/ubdb/holders/*; do [ -e $holder ] && dmsetup remove --force $(cat $holder/dm/name); done
rm -rf /var/lib/orchestrate /etc/drbd.d/r0.res*
head -c $(($(cat /sys/class/block/ubdb/size) * 512)) /dev/zero > {DISK}
dmesg -C; sync /etc/drbd.d; rmmod drbd 2>/dev/null
! [ -e /proc/drbd ]
"""
"""A node as it comes from the shop. Sent to both at once."""


@contextmanager
def booted(folder: Path, spec: LabSpec) -> Iterator[Lab]:
    """A lab that is up. In CI one that cannot start fails; elsewhere its scenarios are skipped, with the reason."""
    made = Lab(folder)
    try:
        made.up(spec)
    except LabError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"the lab cannot run here: {error}")
    try:
        yield made
    finally:
        made.down()


def first_of(values: Iterable[int], some: int) -> list[Any]:
    """Parameters of a scenario that repeats: `make test` runs `some` of them, `make lab-test` all."""
    return [pytest.param(value, marks=() if number < some else pytest.mark.long) for number, value in enumerate(values)]


@frozen
class Said:
    """What one run of the command line said."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Its stdout, read as JSON."""
        return json.loads(self.out)


@define
class Cluster:
    """Two lab nodes and an `orchestrate` that starts with an empty journal of its own."""

    lab: Lab
    folder: Path
    changes: dict[str, str] = field(factory=dict)
    machine: str = "one"

    # -- the nodes -----------------------------------------------------------------------------------------------------

    def sh(self, node: str, script: str, timeout: float = 120) -> str:
        """What a shell on a node prints. Fails the test if the node cannot be reached."""
        done = self.lab.run(node, "sh", timeout=timeout, stdin=script)
        assert done.returncode != 255, f"ssh to {node}: {done.stderr}"
        return done.stdout + done.stderr

    def both(self, script: str) -> dict[str, str]:
        """The same on both nodes, at once."""
        with ThreadPoolExecutor(2) as pool:
            return dict(zip((N1, N2), pool.map(lambda node: self.sh(node, script), (N1, N2)), strict=True))

    def reset(self) -> None:
        """Both nodes blank, links whole, no file of ours left."""
        self.changes = {}
        self.lab.heal()
        for node in (N1, N2):
            if not self.lab.is_on(node):
                self.lab.power_on(node)
        said = self.both(RESET + "\nprintf 'reset %s' $?")
        stuck = [node for node, text in said.items() if not text.endswith("reset 0")]
        for node in stuck:  # a kernel that will not let go of the module: a fresh one does
            self.lab.power_off(node)
            self.lab.power_on(node)
            said = {node: self.sh(node, RESET + "\nprintf 'reset %s' $?")}
            assert said[node].endswith("reset 0"), said

    def proc(self, node: str) -> str:
        """/proc/drbd's line of r0, "" if there is none."""
        match = re.search(r"^ *1: (.*)$", self.sh(node, "cat /proc/drbd 2>/dev/null"), re.MULTILINE)
        return match[1] if match else ""

    def claims(self) -> list[tuple[str, str, str]]:
        """DESTRUCTIVE operations claimed on the nodes: node, step, outcome."""
        script = (
            "for c in /var/lib/orchestrate/claims/*; do read s _ <$c/intent &&"
            " printf '%s %s\\n' $s $(cat $c/outcome 2>/dev/null || echo open); done"
        )
        found = []
        for node, text in self.both(f"[ -d /var/lib/orchestrate/claims ] || exit 0; {script}").items():
            found += [(node, *line.split()) for line in text.splitlines()]
        return sorted((node, step, outcome) for node, step, outcome in found)

    def until(self, seen: Callable[[], bool], what: str, seconds: float = 60) -> None:
        """Ask again until it is so: for what the kernel does in its own time."""
        deadline = time.monotonic() + seconds
        while not seen():
            assert time.monotonic() < deadline, f"not seen within {seconds} s: {what}"

    # -- the command line ----------------------------------------------------------------------------------------------

    def config(self) -> Path:
        """The lab's cluster.toml with this test's changes."""
        text = self.lab.config_path.read_text()
        own = {'journal = "journal.jsonl"': f'journal = "{self.folder / self.machine}.jsonl"'}
        for old, new in {**own, **self.changes}.items():
            assert old in text, old
            text = text.replace(old, new)
        path = self.lab.config_path.parent / "test.toml"
        path.write_text(text)
        return path

    def resource(self, *lines: str) -> None:
        """Add lines to [resource.r0]."""
        self.changes["minor = 1\n"] = "minor = 1\n" + "".join(f"{line}\n" for line in lines)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start `orchestrate WORDS` in a process group of its own."""
        env = {**os.environ, "COLUMNS": "200"}
        argv = [sys.executable, "-m", "orchestrator", "-c", str(self.config()), *words]
        return subprocess.Popen(
            argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def run(self, *words: str, timeout: float = 120) -> Said:
        """Run `orchestrate WORDS` to its end."""
        with self.start(*words) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                out, err = process.communicate()
                raise AssertionError(f"orchestrate {' '.join(words)} did not end:\n{out}\n{err}") from None
        return Said(process.returncode, out, err)

    def up(self, *words: str, code: int = 0, timeout: float = 120) -> Said:
        """`orchestrate up`, and its exit code is `code`."""
        said = self.run("up", *words, timeout=timeout)
        assert said.code == code, f"exit {said.code}, not {code}\n{said.out}\n{said.err}"
        return said

    def state(self) -> dict[str, Any]:
        """`orchestrate status --json` of r0."""
        resource: dict[str, Any] = self.run("status", "--json").json()["resources"]["r0"]
        return resource

    def records(self) -> list[dict[str, Any]]:
        """This machine's journal."""
        return [json.loads(line) for line in self.run("journal", "--json").out.splitlines()]

    def assert_dual_primary(self) -> None:
        """Both kernels say so, and orchestrate says so."""
        self.assert_both_primary()
        assert self.state()["state"] == "DualPrimary"

    def assert_both_primary(self) -> None:
        """Both kernels say so."""
        for node in (N1, N2):
            assert "cs:Connected ro:Primary/Primary ds:UpToDate/UpToDate" in self.proc(node), self.proc(node)
