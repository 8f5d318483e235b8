"""A writer as a client of a node's Samba is, and when a node's kernel said something, by its own clock."""

from __future__ import annotations

import re

from tests.lab.stack_cluster import StackCluster

POLITE_WRITER = """
import os, sys, time
SERVED = "/sys/fs/cgroup/system.slice/smbd.service/cgroup.procs"
number = None
while True:
    time.sleep(0.1)  # the pace of a writer
    if not os.path.exists(SERVED) or not open(SERVED).read():
        continue
    fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    number = (os.fstat(fd).st_size // 8 if number is None else number) + 1
    os.write(fd, b"%07d\\n" % number)
    os.fsync(fd)
    os.close(fd)
    print(number, time.monotonic(), flush=True)
"""
"""As a client of that node's Samba: where smbd does not run, nothing is written, and nothing is held open."""


def uptime(nodes: StackCluster, node: str) -> float:
    """A node's own clock, as its kernel log has it."""
    return float(nodes.sh(node, "cat /proc/uptime").split()[0])


def stamps(nodes: StackCluster, node: str, words: str, since: float) -> list[float]:
    """When its kernel log had these words, by its own clock."""
    found = re.findall(rf"^\[ *([\d.]+)\].*{words}", nodes.sh(node, "dmesg"), re.MULTILINE)
    return [float(text) for text in found if float(text) > since]
