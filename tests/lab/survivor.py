"""Two nodes that write all the time, and what the one that is left over does when their cable is cut.

What a writer says comes here as it says it, so that a node which loses its power takes no acknowledged number with it.
"""

from __future__ import annotations

import math
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Self

from attrs import define, field, frozen

from fixtures.lab.system import wait_until
from tests.lab.cluster import N1, N2
from tests.lab.stack_cluster import MOUNT, StackCluster

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
    print(number, time.monotonic(), flush=True)
    time.sleep(0.1)  # the pace of a writer: the gap is measured in these
"""


@define
class Writer:
    """Appends numbers to a file of its own on one node; `acked`: when each number's fsync was known here, monotonic seconds.

    `ahead`: this machine's clock less the node's, as the message that came quickest has it.
    """

    node: str
    process: subprocess.Popen[str]
    acked: list[tuple[int, float]] = field(factory=list)
    ahead: float = math.inf
    thread: threading.Thread | None = None

    @classmethod
    def start(cls, nodes: StackCluster, node: str, script: str = WRITER) -> Self:
        """Begin where the file ends."""
        nodes.sh(node, f"cat >/root/writer.py <<'END'\n{script}\nEND")
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
            number, said = line.split()
            self.acked.append((int(number), time.monotonic()))
            self.ahead = min(self.ahead, time.monotonic() - float(said))

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

    def longest(self, since: float, until: float) -> float:
        """The longest silence in seconds between two moments, those before the first and after the last number among them."""
        times = [since, *(at for _, at in self.acked if since < at < until), until]
        return max(after - before for before, after in pairwise(times))

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


def until(seen: Callable[[], bool], what: str, seconds: float) -> None:
    """Ask this machine, which is quick to answer, ten times a second."""
    assert wait_until(seen, seconds), f"not seen within {seconds} s: {what}"


def assert_nothing_lost(nodes: StackCluster, acked: dict[str, int]) -> None:
    """Each writer's file, read on both nodes: every number up to the last acknowledged one, each once, in order."""
    for reader in (N1, N2):
        for writer, last in acked.items():
            numbers = [int(line) for line in nodes.sh(reader, f"cat {MOUNT}/by-{writer}").split()]
            assert numbers == list(range(1, len(numbers) + 1)), f"{writer}'s file as {reader} reads it has gaps"
            assert len(numbers) >= last, f"{reader} reads {len(numbers)} of {last} acknowledged numbers of {writer}"


PARTS = (
    # what                  the first line of the survivor's kernel log that says so
    ("DRBD notices",        r"PingAck did not arrive|Connected -> (?:NetworkFailure|Timeout|BrokenPipe)"),
    ("DRBD asks to fence",  r"orchestrate-fence: DRBD \S+ asks to fence"),
    ("dlm asks to fence",   r"orchestrate-fence: dlm asks to fence"),
    ("it is known off",     r"orchestrate-fence: \S+ is off"),
    ("DRBD goes on",        r"susp\( 1 -> 0 \)"),
    ("locks go on",         r"dlm: \S+: dlm_recover \d+ generation \d+ done"),
    ("journal replayed",    r"gfs2: .*recover generation \d+ done"),
)
"""What the silence is made of, in its usual order."""


@frozen
class Cut:
    """What one cut came to. Seconds; the parts begin at the cut, by the survivor's own clock."""

    survivor: str
    victim: str
    off: float                           # the victim had no power any more
    gap: float                           # the survivor's longest silence
    again: float                         # it wrote again
    parts: tuple[tuple[str, float], ...]
    log: str                             # the survivor's kernel log since the cut

    def line(self) -> str:
        """For people."""
        parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in self.parts)
        return (f"{self.victim} was switched off, {self.survivor} wrote again after {self.again:.1f} s (silent for {self.gap:.1f} s);"
                f" seconds after the cut: {parts}, writes {self.again:.1f}")


def cut_cable(nodes: StackCluster, at: str) -> Cut:
    """Pull the replication cable of one node while both write; nodes, journals and files are whole again afterwards, and judged.

    Raises AssertionError: not exactly one was switched off, the other does not write, or something acknowledged is gone.
    """
    lab = nodes.lab
    with writing(nodes) as writers:
        began = time.monotonic()
        lab.cut(at, "repl")
        until(lambda: not all(lab.is_on(node) for node in (N1, N2)), "one is switched off", AGAIN)
        off = time.monotonic()
        (survivor,) = [node for node in (N1, N2) if lab.is_on(node)]
        (victim,) = {N1, N2} - {survivor}
        held = writers[survivor].last
        until(lambda: writers[survivor].last > held + 20, "the survivor goes on writing", AGAIN)
        assert lab.is_on(survivor), "both were switched off"
        silent, again = writers[survivor].resumed(began)
        log = since(nodes.sh(survivor, "dmesg"), began - writers[survivor].ahead)
        assert again - began < AGAIN
    acked = {node: writer.last for node, writer in writers.items()}
    lab.heal()
    nodes.power_on()
    nodes.up()
    nodes.assert_serving()
    assert_nothing_lost(nodes, acked)
    parts = tuple((name, stamp) for name, pattern in PARTS if (stamp := first(log, pattern)) is not None)
    return Cut(survivor, victim, off - began, again - silent, again - began, parts, log)


def since(log: str, moment: float) -> str:
    """The lines of a kernel log after a moment, their stamps counted from it."""
    found = [(float(stamp) - moment, words) for stamp, words in re.findall(r"^\[ *([\d.]+)\] (.*)$", log, re.MULTILINE)]
    return "\n".join(f"{at:.2f} {words}" for at, words in found if at > 0)


def first(log: str, pattern: str) -> float | None:
    """When the first line with this pattern was logged; None: never."""
    found = re.search(rf"^([\d.]+) .*(?:{pattern})", log, re.MULTILINE)
    return float(found[1]) if found else None
