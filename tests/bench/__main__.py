"""`make bench`, third part: a file server from blank disks to serving on both nodes, brought up in four ways.

`orchestrate up`, an Ansible playbook, and a shell script over ssh: one node after the other, and each step on both at once. The
script and the playbook are this folder's; on the nodes they do the very same (at_a_node.sh), with the very files `up` writes. Every
run has new disks, and is done a second time: then nothing may change. The critical path is that of `fixtures.bench`.
"""

from __future__ import annotations

import io
import json
import os
import re
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from attrs import define, field

from fixtures.bench import NODES, Run, measured, orchestrate, words
from fixtures.lab import Lab, LabSpec
from orchestrator.config import load
from orchestrator.drbd.files import resource_file
from orchestrator.stack.files import files_of
from states.facts import Generation

HERE = Path(__file__).parent
SPEC = LabSpec(memory=400, disk=256, flavour="full")
SHARE = "share0"
RECAP = re.compile(r"^(\S+) .*\bchanged=(\d+) .*\bunreachable=0 .*\bfailed=0 ", re.MULTILINE)


@define
class Way:
    """One way to bring it up: `cold` and `again` in seconds, one of each for each run."""

    name: str
    go: Callable[[Lab, Path], bool]  # True: it says that it changed something
    cold: list[float] = field(factory=list)
    again: list[float] = field(factory=list)


@contextmanager
def fresh(scratch: Path) -> Iterator[Lab]:
    """A lab of blank nodes."""
    lab = Lab(scratch / "lab")
    try:
        lab.up(SPEC)
        yield lab
    finally:
        lab.down()


def serves(lab: Lab) -> None:
    """What one node's Samba took, the other one's gives. Raises LabError if not."""
    first, second = NODES
    lab.run(first, f"date +%N >/tmp/put && smbclient -N //localhost/{SHARE} -c 'put /tmp/put put'", check=True)
    lab.run(second, f"smbclient -N //localhost/{SHARE} -c 'get put /tmp/got'", check=True)
    put, got = lab.run(first, "cat /tmp/put", check=True).stdout, lab.run(second, "cat /tmp/got", check=True).stdout
    if put != got:
        raise SystemExit(f"{first} took {put!r}, {second} gave {got!r}")


# -- what script and playbook are given --------------------------------------------------------------------------------

def files(lab: Lab, folder: Path) -> None:
    """NODE.tgz for each node: every file of the cluster as `up` would write it, and a new key."""
    config = load(lab.config_path)
    shared = [(f"/etc/drbd.d/{name}.res", resource_file(config, name, Generation.V84), "0644") for name in config.resource]
    key = os.urandom(256)
    for node in NODES:
        with tarfile.open(folder / f"{node}.tgz", "w:gz") as tar:
            for path, text, mode in [*shared, *((one.path, one.text, one.mode) for one in files_of(config, node))]:
                add(tar, path, text.encode(), int(mode, 8))
            add(tar, "/etc/corosync/authkey", key, 0o400)


def add(tar: tarfile.TarFile, path: str, content: bytes, mode: int) -> None:
    """One file, root's."""
    info = tarfile.TarInfo(path.lstrip("/"))
    info.size, info.mode, info.mtime = len(content), mode, int(time.time())
    tar.addfile(info, io.BytesIO(content))


def ssh_config(lab: Lab, folder: Path) -> Path:
    """How to log in, for ssh and for Ansible; one connection to each node is kept open."""
    argv = lab.ssh_argv(NODES[0])
    options = [argv[at + 1].partition("=") for at, word in enumerate(argv) if word == "-o"]
    lines = ["Host *", "User root", f"IdentityFile {argv[argv.index('-i') + 1]}", *(f"{name} {value}" for name, _, value in options),
             "ControlMaster auto", f"ControlPath {folder}/%n.sock", "ControlPersist 60"]
    for node in NODES:
        lines += [f"Host {node}", f"HostName {lab.ssh_argv(node)[-1].partition('@')[2]}"]
    path = folder / "ssh_config"
    path.write_text("\n".join(lines) + "\n")
    return path


# -- the ways ----------------------------------------------------------------------------------------------------------

def script(*options: str) -> Callable[[Lab, Path], bool]:
    """The shell script."""
    def go(lab: Lab, folder: Path) -> bool:
        argv = ["bash", str(HERE / "sequential.sh"), str(folder / "ssh_config"), str(folder), *options]
        done = subprocess.run(argv, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"the script failed: {done.stdout}\n{done.stderr}")
        return "changed" in done.stdout.split()
    return go


def playbook(program: Path) -> Callable[[Lab, Path], bool]:
    """The playbook, tuned as it and ansible.cfg say."""
    def go(lab: Lab, folder: Path) -> bool:
        inventory = folder / "inventory"
        inventory.write_text("[nodes]\n" + "".join(f"{node} ansible_python_interpreter=/usr/bin/python3\n" for node in NODES))
        env = {**os.environ, "ANSIBLE_CONFIG": str(HERE / "ansible.cfg"), "ANSIBLE_HOME": str(folder / "ansible"),
               "ANSIBLE_SSH_ARGS": f"-F {folder / 'ssh_config'}", "LC_ALL": "C.UTF-8"}
        argv = [str(program), "-i", str(inventory), "-e", f"files={folder}", str(HERE / "playbook.yml")]
        done = subprocess.run(argv, env=env, capture_output=True, text=True)
        hosts = dict(RECAP.findall(done.stdout))
        if done.returncode or set(hosts) != set(NODES):
            raise SystemExit(f"the playbook failed: {done.stdout}\n{done.stderr}")
        return any(int(count) for count in hosts.values())
    return go


def ansible(folder: Path) -> Path:
    """ansible-playbook as requirements.txt pins it, in a virtual environment of its own; made where it is not there yet."""
    pinned, stamp = HERE / "requirements.txt", folder / "installed.txt"
    if not stamp.exists() or stamp.read_text() != pinned.read_text():
        click.echo(f"bench: installing Ansible into {folder}", err=True)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([folder / "bin" / "pip", "install", "-q", "-r", pinned], check=True, stdin=subprocess.DEVNULL)
        stamp.write_text(pinned.read_text())
    return folder / "bin" / "ansible-playbook"


def once_more(lab: Lab, journal: Path) -> bool:
    """`orchestrate up`."""
    done = orchestrate(lab, journal, "up", "--json")
    if done.returncode:
        raise SystemExit(f"up failed: {done.stderr}")
    return bool(json.loads(done.stdout)["steps_sent"])


# -- measuring ---------------------------------------------------------------------------------------------------------

def once(way: Way, lab: Lab, folder: Path) -> None:
    """Cold, then once more."""
    began = time.monotonic()
    way.go(lab, folder)
    way.cold.append(time.monotonic() - began)
    serves(lab)
    repeated(way, lab, folder)


def repeated(way: Way, lab: Lab, folder: Path) -> None:
    """The same on what is up already: nothing may change."""
    began = time.monotonic()
    if way.go(lab, folder):
        raise SystemExit(f"{way.name}: the second run changed something")
    way.again.append(time.monotonic() - began)
    click.echo(f"{way.name}: {way.cold[-1]:.2f} s, again {way.again[-1]:.2f} s", err=True)


def up(lab: Lab, journal: Path, way: Way) -> Run:
    """`orchestrate up`, with the measurements of `fixtures.bench`, then once more."""
    found = measured(lab, journal)
    way.cold.append(found.wall)
    serves(lab)
    repeated(way, lab, journal)
    click.echo(words(found), err=True)
    return found


def table(ways: list[Way], critical: float) -> str:
    """Medians, and what they are in terms of the critical path and of the first way."""
    base = statistics.median(ways[0].cold)
    lines = [f"{'blank disks to serving on both nodes':38} {'seconds':>8} {'to critical path':>17} {'to `up`':>8} {'run again':>10}",
             f"{'critical path of `up`':38} {critical:8.2f} {1:17.2f} {critical / base:8.2f}"]
    for way in ways:
        cold = statistics.median(way.cold)
        again = f"{statistics.median(way.again):8.2f} s" if way.again else ""
        lines.append(f"{way.name:38} {cold:8.2f} {cold / critical:17.2f} {cold / base:8.2f} {again:>10}")
    return "\n".join(lines)


@click.command()
@click.option("--runs", type=int, default=2, show_default=True)
@click.option("--ansible", "ansible_folder", type=click.Path(path_type=Path), default=Path(sys.prefix) / "ansible")
def main(runs: int, ansible_folder: Path) -> None:
    """Bring the whole stack up from blank disks in every way a few times, and compare."""
    ours = Way("orchestrate up", once_more)
    others = [
        Way("Ansible, both nodes at once", playbook(ansible(ansible_folder))),
        Way("shell script, both nodes at once", script("--at-once")),
        Way("shell script, node after node", script()),
    ]
    found = []
    for number in range(runs):
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            folder = Path(name)
            with fresh(folder) as lab:
                found.append(up(lab, folder / "journal.jsonl", ours))
            for way in others:
                with fresh(folder) as lab:
                    files(lab, folder)
                    ssh_config(lab, folder)
                    once(way, lab, folder)
        click.echo(f"after run {number + 1}:\n{table([ours, *others], statistics.median(run.critical for run in found))}\n", err=True)
    best = min(found, key=lambda run: run.engine / run.critical)
    click.echo(table([ours, *others], statistics.median(run.critical for run in found)))
    click.echo(f"`up`, best of {runs}: {words(best)}")


if __name__ == "__main__":
    main()
