"""Two nodes that lose each other: one is switched off, the other serves on, and nothing that was acknowledged is lost.

Both write to the GFS2 all the time. What a writer says comes here as it says it, so that a node which loses its power takes no
acknowledged number with it. The times printed are of two kernels on a busy machine.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Self

import pytest
from attrs import define, field

from fixtures.lab.system import wait_until
from tests.lab.cluster import N1, N2, booted
from tests.lab.stack_cluster import MOUNT, SPEC, StackCluster

pytestmark = pytest.mark.timeout(1500)
CUTS = int(os.environ.get("STACK_CUTS", "1"))
"""How often a cable is cut."""
AGAIN = 90.0
"""Seconds after which the survivor has to be writing again, at most: detection, fencing and recovery on a busy machine."""

WRITER = """
import os, sys, time
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
number = os.fstat(fd).st_size // 8
while True:
    number += 1
    os.write(fd, b"%07d\\n" % number)
    os.fsync(fd)
    print(number, flush=True)
    time.sleep(0.1)  # the pace of a writer: the gap is measured in these
"""


@define
class Writer:
    """Appends numbers to a file of its own on one node; `acked`: when each number's fsync was known here, monotonic seconds."""

    node: str
    process: subprocess.Popen[str]
    acked: list[tuple[int, float]] = field(factory=list)
    thread: threading.Thread | None = None

    @classmethod
    def start(cls, nodes: StackCluster, node: str) -> Self:
        """Begin where the file ends."""
        nodes.sh(node, f"cat >/root/writer.py <<'END'\n{WRITER}\nEND")
        argv = [*nodes.lab.ssh_argv(node), f"exec python3 /root/writer.py {MOUNT}/by-{node}"]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        made = cls(node, process)
        made.thread = threading.Thread(target=made.listen)
        made.thread.start()
        return made

    def listen(self) -> None:
        """Take down what it says, until it ends."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.acked.append((int(line), time.monotonic()))

    def stop(self) -> None:
        """End the connection; the next number has nowhere to go, and that ends the writer."""
        self.process.terminate()
        self.process.wait()
        assert self.thread is not None
        self.thread.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    @property
    def last(self) -> int:
        """The last number known to be on disk; 0 for none."""
        return self.acked[-1][0] if self.acked else 0

    def resumed(self, since: float) -> tuple[float, float]:
        """The longest silence that ended after `since`: when it began and ended."""
        times = [at for _, at in self.acked]
        pairs = [(before, after) for before, after in pairwise(times) if after > since]
        return max(pairs, key=lambda pair: pair[1] - pair[0])


@contextmanager
def writing(nodes: StackCluster) -> Iterator[dict[str, Writer]]:
    """A writer on each node, each with its first numbers acknowledged."""
    writers = {node: Writer.start(nodes, node) for node in (N1, N2)}
    try:
        until(lambda: all(len(writer.acked) > 5 for writer in writers.values()), "both write", 60)
        yield writers
    finally:
        for writer in writers.values():
            writer.stop()


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackCluster]:
    """Two nodes, the stack up."""
    folder = tmp_path_factory.mktemp("fencing")
    with booted(folder / "lab", SPEC) as lab:
        yield StackCluster(lab, folder)


@pytest.fixture
def serving(nodes: StackCluster) -> StackCluster:
    """The stack is up, every cable is in."""
    nodes.lab.heal()
    nodes.power_on()
    nodes.up("-q")
    return nodes


def until(seen: Callable[[], bool], what: str, seconds: float) -> None:
    """Ask this machine, which is quick to answer, ten times a second."""
    assert wait_until(seen, seconds), f"not seen within {seconds} s: {what}"


def uptime(nodes: StackCluster, node: str) -> float:
    """A node's own clock, as its kernel log has it."""
    return float(nodes.sh(node, "cat /proc/uptime").split()[0])


def stamps(nodes: StackCluster, node: str, words: str, since: float) -> list[float]:
    """When its kernel log had these words, by its own clock."""
    found = re.findall(rf"^\[ *([\d.]+)\].*{words}", nodes.sh(node, "dmesg"), re.MULTILINE)
    return [float(text) for text in found if float(text) > since]


def assert_nothing_lost(nodes: StackCluster, acked: dict[str, int]) -> None:
    """Each writer's file, read on both nodes: every number up to the last acknowledged one, each once, in order."""
    for reader in (N1, N2):
        for writer, last in acked.items():
            numbers = [int(line) for line in nodes.sh(reader, f"cat {MOUNT}/by-{writer}").split()]
            assert numbers == list(range(1, len(numbers) + 1)), f"{writer}'s file as {reader} reads it has gaps"
            assert len(numbers) >= last, f"{reader} reads {len(numbers)} of {last} acknowledged numbers of {writer}"


@pytest.mark.parametrize("number", range(CUTS))
def test_a_cut_cable_fences_one_and_the_other_goes_on(serving: StackCluster, number: int) -> None:
    lab = serving.lab
    with writing(serving) as writers:
        clocks = {node: uptime(serving, node) for node in (N1, N2)}
        began = time.monotonic()
        lab.cut((N2, N1)[number % 2], "repl")
        until(lambda: not all(lab.is_on(node) for node in (N1, N2)), "one is switched off", AGAIN)
        off = time.monotonic()
        (survivor,) = [node for node in (N1, N2) if lab.is_on(node)]
        (victim,) = {N1, N2} - {survivor}
        held = writers[survivor].last
        until(lambda: writers[survivor].last > held + 20, "the survivor goes on writing", AGAIN)
        assert lab.is_on(survivor), "both were switched off"
        silent, again = writers[survivor].resumed(began)
        asked = min(stamps(serving, survivor, f"asks to fence {victim}", clocks[survivor]))
        shot = min(stamps(serving, survivor, f"{victim} is off", clocks[survivor]))
        print(f"\ncut {number}: {victim} off {off - began:.1f} s after the cut; {survivor} detected it after"
              f" {asked - clocks[survivor]:.1f} s, fenced in {shot - asked:.1f} s, locks recovered {again - off:.1f} s after it;"
              f" silent for {again - silent:.1f} s, writing again {again - began:.1f} s after the cut")
        assert again - began < AGAIN
    acked = {node: writer.last for node, writer in writers.items()}
    lab.heal()
    serving.power_on()
    serving.up()
    serving.assert_serving()
    assert_nothing_lost(serving, acked)


def test_a_node_without_power_and_the_survivor_serves(serving: StackCluster) -> None:
    with writing(serving) as writers:
        began = time.monotonic()
        serving.lab.power_off(N2)
        put = serving.put(N1, "survivor", 7)
        seconds = time.monotonic() - began
        held = writers[N1].last
        until(lambda: writers[N1].last > held + 20, "the survivor goes on writing", AGAIN)
        _, again = writers[N1].resumed(began)
        print(f"\npower off: {N1} wrote again after {again - began:.1f} s, a file through SMB was there after {seconds:.1f} s")
        assert max(seconds, again - began) < AGAIN
        assert serving.lab.is_on(N1)
    acked = {node: writer.last for node, writer in writers.items()}
    serving.power_on()
    serving.up()
    serving.assert_serving()
    assert serving.get(N2, "survivor") == put
    assert_nothing_lost(serving, acked)
