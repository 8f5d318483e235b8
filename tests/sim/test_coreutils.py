"""The simulated tools against the real ones of this machine where that is harmless, and by themselves where it is not."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest
from attrs import define, field

from fixtures.sim.coreutils_firewall import NftChain, Packet
from fixtures.sim.machine import Finished, Machine, Module
from orchestrator.probes.firewall import read_port
from states.vocabulary import Layer

LINES = "".join(f"line {number}\n" for number in range(1, 16))
DMESG = "[ 1.0] drbd r0: one\n[ 1.1] drbd r0/0 drbd1: two\n[ 1.2] drbd0: three\n[ 1.3] drbd r01: four\n[ 1.4] a.b [x] (y)\nlast"
THERE = {"f": "hi\n", "g": "hj\n", "long": LINES, "dmesg": DMESG, "empty": "",
         "more": "hi\nho\n", "d/x": "x\n", "d/y": "y\n", "same": "hi\n"}
KERNEL = r"drbd r0([ /:]|$)|drbd1: "

CASES: list[Sequence[str]] = [
    ("mkdir", "new"), ("mkdir", "f"), ("mkdir", "d"), ("mkdir", "no/new"), ("mkdir", "-p", "no/new/er"), ("mkdir", "-p", "d"),
    ("mkdir", "-p", "f"), ("mkdir", "-p", "f/x"), ("mkdir",), ("mkdir", "a", "b", "a"), ("mkdir", "--", "-x"), ("mkdir", "f/x"),
    ("rmdir", "e"), ("rmdir", "d"), ("rmdir", "f"), ("rmdir", "nope"), ("rmdir",),
    ("rm", "f"), ("rm", "d"), ("rm", "nope"), ("rm", "-f", "nope"), ("rm", "-f"), ("rm",), ("rm", "-rf", "d", "nope"), ("rm", "-r", "d"),
    ("rm", "link"), ("rm", "-r", "dlink"), ("rm", "f", "nope", "g"),
    ("mv", "f", "g"), ("mv", "f", "new"), ("mv", "f", "d"), ("mv", "f", "g", "d"), ("mv", "nope", "g"), ("mv", "d", "f"), ("mv", "d", "e"),
    ("mv", "d", "new"), ("mv", "d", "d"), ("mv", "d", "d/z"), ("mv", "f", "f"), ("mv", "f", "no/new"), ("mv", "f"), ("mv",),
    ("mv", "link", "new"), ("mv", "f", "dlink"), ("mv", "-f", "f", "g"),
    ("cp", "f", "g"), ("cp", "-p", "f", "new"), ("cp", "f", "d"), ("cp", "d", "new"), ("cp", "nope", "g"), ("cp", "f", "f"), ("cp", "f"),
    ("cp", "f", "no/new"), ("cp", "link", "new"), ("cp", "f", "g", "d"),
    ("ln", "-s", "f", "new"), ("ln", "-s", "f", "g"), ("ln", "-sf", "f", "g"), ("ln", "-s", "/f", "d"),
    ("touch", "new", "f"), ("touch", "no/new"), ("chmod", "+x", "nope"),
    ("ls", "d"), ("ls", "f", "d"), ("ls", "nope", "f"), ("ls", "-1", "d", "e"), ("ls", "link"),
    ("readlink", "-f", "link"), ("readlink", "-f", "nope"), ("readlink", "-f", "no/new"), ("readlink", "-f", "dlink/x"),
    ("sync", "f", "d"), ("sync", "nope", "f"),
    ("cat", "f", "g"), ("cat", "nope", "f"), ("cat", "d"), ("cat",), ("cat", "f", "-", "g"), ("cat", "dangling"),
    ("head", "-n", "2", "long"), ("head", "long"), ("head", "-n1", "long", "f"), ("head", "-c", "3", "long"), ("head", "-c0", "f"),
    ("head", "-n", "x", "f"), ("head", "nope"), ("head", "-n", "1"), ("head", "-n", "0", "f"),
    ("tail", "-n", "2", "long"), ("tail", "long"), ("tail", "-n", "+14", "long"), ("tail", "-c", "3", "long"), ("tail", "-n", "40"),
    ("tail", "-n", "1", "dmesg"), ("tail", "-n0", "f"), ("tail", "-c", "+3", "f"), ("tail", "-n", "x", "f"), ("tail", "-n1", "f", "g"),
    ("grep", "-E", KERNEL, "dmesg"), ("grep", "-E", KERNEL), ("grep", "-q", "three", "dmesg"), ("grep", "-q", "nope", "dmesg"),
    ("grep", "nope", "dmesg"), ("grep", "x", "nope"), ("grep", "-s", "x", "nope"), ("grep", "h", "f", "g"), ("grep", "-c", "drbd", "dmesg"),
    ("grep", "-v", "drbd", "dmesg"), ("grep", "-n", "drbd0", "dmesg"), ("grep", "-F", "a.b [x]", "dmesg"), ("grep", "-x", "hi", "more"),
    ("grep", "-i", "DRBD0", "dmesg"), ("grep", "-e", "-x", "f"), ("grep", "a.b [[]x", "dmesg"), ("grep", r"(y)", "dmesg"),
    ("grep", r"\(drbd0\|four\)", "dmesg"), ("grep", "-E", r"drbd [[:alpha:]][0-9]+:", "dmesg"), ("grep", "-E", r"\[ 1\.[^]0-2]\]", "dmesg"),
    ("grep", "-qs", "hi", "nope", "f"), ("grep", "-q", "hi", "nope", "f"), ("grep", "hi", "nope", "f"), ("grep", "^l", "dmesg"),
    ("grep", "h$", "f"), ("grep", "-h", "h", "f", "g"), ("grep", "-E", "a{2}|hi", "f"), ("grep", "drbd$r^", "f"),
    ("grep", "-Fx", "hi", "f"),
    ("cmp", "f", "same"), ("cmp", "f", "g"), ("cmp", "-s", "f", "g"), ("cmp", "f", "more"), ("cmp", "f", "empty"), ("cmp", "f", "nope"),
    ("cmp", "-s", "f", "nope"), ("cmp", "-n", "1", "f", "g"), ("cmp", "-n", "2", "f", "g"), ("cmp", "-i", "2", "f", "g"),
    ("cmp", "-i", "0:3", "f", "more"), ("cmp", "-n", "3", "f", "more"), ("cmp", "long", "dmesg"), ("cmp", "f"),
    ("cmp", "-s", "-n", "0", "f", "g"),
    ("tr", "/", "!"), ("tr", "a-z", "A-Z"), ("tr", "-d", "in"), ("tr", "abc", "x"), ("wc", "-l"), ("wc", "-c"),
    ("sort", "dmesg"), ("sort", "-ru"),
    ("sha256sum", "f", "nope", "g"), ("sha256sum",), ("true",), ("false",), ("sleep", "0"),
    ("timeout", "5", "cat", "f"), ("timeout", "0.05", "sleep", "3"), ("timeout", "-s", "KILL", "0.05", "sleep", "3"),
    ("timeout", "5", "nope"),
    ("timeout", "5", "cat", "nope"), ("uname", "-s"), ("date", "-u", "+fixed"),
    ("dd", "if=f", "of=new", "bs=1", "count=2", "status=none"), ("dd", "if=nope", "of=new"),
]
STDIN = "in/put\ndrbd r0: of stdin\nabc"


def real_tree(root: Path) -> dict[str, str | None]:
    """Contents by path; None: a folder; links as `-> TARGET`."""
    tree: dict[str, str | None] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        tree[name] = f"-> {path.readlink()}" if path.is_symlink() else None if path.is_dir() else path.read_text()
    return tree


def sim_tree(machine: Machine, folder: str = "/t") -> dict[str, str | None]:
    """The same of a simulated machine."""
    files, tree = machine.files, dict[str, str | None]()
    for name in files.names(folder):
        path = f"{folder}/{name}"
        if files.is_link(path):
            tree[path[3:]] = "->"
        elif files.is_dir(path):
            tree |= {path[3:]: None, **sim_tree(machine, path)}
        else:
            tree[path[3:]] = files.read(path)
    return tree


def run(machine: Machine, *argv: str, stdin: str = "") -> Finished:
    """Run one command to its end."""
    async def once() -> Finished:
        return await machine.run(argv, stdin)

    return anyio.run(once, backend="trio")


@pytest.mark.parametrize("argv", CASES, ids=" ".join)
def test_as_the_real_tool(argv: Sequence[str], tmp_path: Path) -> None:
    """Exit code, both outputs and what the files are afterwards. The simulated tools work in /, so its files lie there too."""
    machine = Machine("nas01")
    for folder in ("d", "e"):
        (tmp_path / folder).mkdir()
        machine.files.makedirs(f"/{folder}")
    for name, text in THERE.items():
        (tmp_path / name).write_text(text)
        machine.files.write(f"/{name}", text)
    for name, target in {"link": "f", "dlink": "d", "dangling": "nowhere"}.items():
        (tmp_path / name).symlink_to(target)
        machine.files.symlink(target, f"/{name}")
    before = {*machine.files.names("/")} - {*(path.name for path in tmp_path.iterdir())}
    real = subprocess.run(argv, cwd=tmp_path, input=STDIN, capture_output=True, text=True, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"})
    code = real.returncode if real.returncode >= 0 else 128 - real.returncode  # as a shell says it
    seen = run(machine, *argv, stdin=STDIN)
    assert (seen.code, seen.stdout, seen.stderr) == (code, real.stdout.replace(str(tmp_path), ""), real.stderr)
    machine.files.makedirs("/t")
    for name in set(machine.files.names("/")) - before - {"t"}:
        machine.files.rename(f"/{name}", f"/t/{name}")
    links = {name: "->" if text is not None and text.startswith("-> ") else text for name, text in real_tree(tmp_path).items()}
    assert sim_tree(machine) == links
    assert machine.unknown == []


# -- what is not modelled ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("argv", [
    ("cat", "-n"), ("ls", "-l"), ("grep", "-o", "x"), ("grep", r"\w", "f"), ("cmp", "-l", "f", "g"), ("head", "-n", "-1"),
    ("mkdir", "-m", "1", "x"),
    ("blkid", "/dev/vda3"), ("systemctl", "start", "x"), ("iptables", "-t", "nat"), ("nft", "flush", "ruleset"), ("modinfo", "drbd"),
    ("flock", "-x", "f", "true"), ("dmesg", "-T"), ("date", "-d", "x"), ("sh", "script"), ("cat", "/dev/zero"),
    ("dd", "if=/dev/zero", "of=x"),
], ids=" ".join)
def test_what_is_not_modelled_is_loud(argv: Sequence[str]) -> None:
    machine = Machine("nas01")
    assert run(machine, *argv).code == 2
    assert len(machine.unknown) == 1
    assert machine.unknown[0].startswith(" ".join(argv))


def test_not_found() -> None:
    assert run(Machine("nas01"), "nope") == Finished(127, "", "sh: 1: nope: not found\n")


# -- devices -----------------------------------------------------------------------------------------------------------

@define
class Disk:
    """A disk with one written range."""

    sectors: int = 2048
    data: bytearray = field(factory=lambda: bytearray(2048 * 512))
    found: dict[str, str] = field(factory=dict)
    holders: tuple[str, ...] = ()
    broken: bool = False

    def zero(self, start: int, length: int) -> bool:
        if self.broken:
            raise OSError(5, "Input/output error")
        return not any(self.data[start:start + length])

    def signature(self) -> dict[str, str]:
        return self.found

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self.data[offset:offset + length])

    def write(self, offset: int, data: bytes) -> None:
        self.data[offset:offset + len(data)] = data


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def machine(disk: Disk) -> Machine:
    made = Machine("nas01")
    made.add_disk("/dev/cciss/c0d0", disk)
    made.files.makedirs("/dev/disk/by-id")
    made.files.symlink("../../cciss/c0d0", "/dev/disk/by-id/one")
    return made


@pytest.mark.parametrize(("options", "written", "code"), [
    (("-n", "1048576"), None, 0), (("-n", "1048576"), 4096, 1), (("-n", "4096"), 4096, 0), (("-n", "4096", "-i", "4096:0"), 4096, 1),
    (("-n", "4096", "-i", "8192:0"), 4096, 0), (("-n", "1048577"), None, 1), ((), None, 1), (("-n", "512", "-i", "1048576:0"), None, 1),
    (("-n", "0", "-i", "1048576:0"), None, 0),
])
def test_cmp_of_a_device(machine: Machine, disk: Disk, tmp_path: Path, options: Sequence[str], written: int | None, code: int) -> None:
    if written is not None:
        run(machine, "dd", "of=/dev/cciss/c0d0", "bs=512", f"seek={written // 512}", "conv=notrunc", stdin="x")
        assert disk.data[written] == ord("x")
    (tmp_path / "disk").write_bytes(disk.data)
    real = subprocess.run(("cmp", "-s", *options, str(tmp_path / "disk"), "/dev/zero"))
    assert run(machine, "cmp", "-s", *options, "/dev/disk/by-id/one", "/dev/zero").code == real.returncode == code


def test_a_broken_device(machine: Machine, disk: Disk) -> None:
    disk.broken = True
    assert run(machine, "cmp", "-n", "512", "/dev/cciss/c0d0", "/dev/zero").code == 2


def test_blkid_and_sysfs(machine: Machine, disk: Disk) -> None:
    ask = ("blkid", "-p", "-o", "export", "/dev/cciss/c0d0")
    assert run(machine, *ask) == Finished(2, "", "")
    disk.found = {"UUID": "1", "TYPE": "ext4"}
    assert run(machine, *ask) == Finished(0, "DEVNAME=/dev/cciss/c0d0\nUUID=1\nTYPE=ext4\n", "")
    assert machine.files.read("/sys/class/block/cciss!c0d0/size") == "2048\n"
    assert machine.files.names("/sys/class/block/cciss!c0d0/holders") == []
    disk.holders = ("drbd0",)
    assert machine.files.exists("/sys/class/block/cciss!c0d0/holders/drbd0")
    machine.remove_disk("/dev/cciss/c0d0")
    assert machine.files.names("/sys/class/block") == []
    assert run(machine, *ask).code == 2


# -- the kernel --------------------------------------------------------------------------------------------------------

def test_dmesg(machine: Machine) -> None:
    machine.clock = lambda: 5.25
    machine.files.write("/dev/kmsg", "<6>one\ntwo\n")
    assert run(machine, "dmesg").stdout == "[    5.250000] one\n[    5.250000] two\n"
    assert run(machine, "dmesg", "-C").stdout == ""
    assert run(machine, "dmesg").stdout == ""


def test_modules(machine: Machine) -> None:
    assert run(machine, "modinfo", "-F", "version", "drbd") == Finished(1, "", "modinfo: ERROR: Module drbd not found.\n")
    loaded: list[str] = []
    machine.modules["drbd"] = Module("9.2.18", on_load=lambda: loaded.append("drbd"))
    assert run(machine, "modinfo", "-F", "version", "drbd").stdout == "9.2.18\n"
    assert run(machine, "modprobe", "drbd").code == run(machine, "modprobe", "drbd").code == 0
    assert loaded == ["drbd"]
    assert machine.files.is_dir("/sys/module/drbd")
    assert run(machine, "modprobe", "-r", "drbd").code == 0
    assert not machine.files.is_dir("/sys/module/drbd")
    assert run(machine, "modprobe", "nope").code == 1


# -- boot order and firewall -------------------------------------------------------------------------------------------

def test_systemctl_disable(machine: Machine) -> None:
    link = "/etc/systemd/system/multi-user.target.wants/drbd.service"
    machine.files.symlink("/lib/systemd/system/drbd.service", link)
    assert run(machine, "systemctl", "disable", "drbd.service") == Finished(0, "", f'Removed "{link}".\n')
    assert not machine.files.is_link(link)
    assert run(machine, "systemctl", "disable", "drbd.service").code == 1


@pytest.mark.parametrize("tool", [("update-rc.d", "drbd", "disable"), ("chkconfig", "drbd", "off")])
def test_init_links(machine: Machine, tool: Sequence[str]) -> None:
    machine.files.symlink("../init.d/drbd", "/etc/rc3.d/S70drbd")
    assert run(machine, *tool).code == 0
    assert machine.files.names("/etc/rc3.d") == ["K30drbd"]
    machine.files.remove("/etc/rc3.d/K30drbd")
    assert run(machine, *tool).code == 1


PEER, PORT = "10.98.0.11", 7789
INCOMING, ANSWER, ELSE = Packet(PEER, 40000, PORT), Packet(PEER, PORT, 40000, reply=True), Packet("10.98.0.99", 40000, PORT)


@pytest.mark.parametrize("tool", ["iptables-legacy", "nft"])
def test_the_commands_of_the_plan_open_the_port(machine: Machine, tool: str) -> None:
    """What the project's own judge sees and what the packets meet agree, before and after its commands."""
    firewall = machine.firewall
    if tool == "nft":
        machine.load("nf_tables")
        firewall.nft["inet", "filter"] = {"input": NftChain(policy="drop", rules=["ct state invalid drop"])}
        ask: tuple[str, ...] = ("nft", "list", "ruleset")
    else:
        assert not machine.files.exists("/proc/net/ip_tables_names")
        assert run(machine, tool, "-P", "INPUT", "DROP").code == 0
        assert machine.files.read("/proc/net/ip_tables_names") == "filter\n"
        ask = (tool, "-w", "5", "-S")
    closed = read_port(f"active {tool}\n" + run(machine, *ask).stdout, PEER, PORT)
    assert closed.state is Layer.DOWN
    assert not firewall.accepts(INCOMING)
    for command in closed.commands:
        assert run(machine, *command.split()).code == 0
    assert firewall.accepts(INCOMING)
    assert firewall.accepts(ANSWER)
    assert not firewall.accepts(ELSE)
    opened = read_port(f"active {tool}\n" + run(machine, *ask).stdout, PEER, PORT)
    assert opened.state is Layer.UP
    machine.power_off()
    assert firewall.accepts(ELSE)


@pytest.mark.parametrize(("rules", "accepted"), [
    ((), True), (("-i vec1 -p tcp -j DROP",), True), (("-i eth0 -p tcp -j REJECT --reject-with tcp-reset",), False),
    ((f"-p tcp -m tcp --dport {PORT} -j ACCEPT", "-j DROP"), True), (("-p udp -j DROP", "! -s 10.98.0.0/24 -j DROP"), True),
    (("-m state --state RELATED,ESTABLISHED -j ACCEPT", "-j DROP"), False), (("-p tcp -m multiport --dports 22,7788:7799 -j DROP",), False),
    (("-j LOG --log-prefix in",), True),
])
def test_packets_meet_the_rules(machine: Machine, rules: Sequence[str], accepted: bool) -> None:
    for rule in rules:
        assert run(machine, "iptables", "-A", "INPUT", *rule.split()).code == 0
    assert machine.firewall.accepts(INCOMING) is accepted
    assert machine.firewall.chains["INPUT"] == list(rules)
    assert machine.unknown == []


def test_a_chain_of_ones_own(machine: Machine) -> None:
    for command in ("-N MINE", "-A MINE -s 10.98.0.99 -j RETURN", "-A MINE -j DROP", "-A INPUT -j MINE"):
        assert run(machine, "iptables", *command.split()).code == 0
    assert not machine.firewall.accepts(INCOMING)
    assert machine.firewall.accepts(ELSE)
    assert run(machine, "iptables", "-A", "NOPE", "-j", "DROP").code == 1


@pytest.mark.parametrize(("rules", "leaves"), [
    ((), True), (("-o eth0 -p tcp -j DROP",), False), (("-o vec1 -p tcp -j DROP",), True),
    ((f"-p tcp -m tcp --dport {PORT} -j DROP",), False), ((f"-p tcp -m tcp --sport {PORT} -j DROP",), True),
])
def test_packets_of_ones_own_meet_the_rules(machine: Machine, rules: Sequence[str], leaves: bool) -> None:
    for rule in rules:
        assert run(machine, "iptables", "-A", "OUTPUT", *rule.split()).code == 0
    assert machine.firewall.lets_out(Packet("10.98.0.12", 40000, PORT)) is leaves
    assert machine.firewall.accepts(INCOMING)


@pytest.mark.parametrize("hook", ["input", "output"])
def test_a_base_chain_of_nftables_filters_its_own_direction(machine: Machine, hook: str) -> None:
    machine.firewall.nft["inet", "filter"] = {"one": NftChain(hook=hook, policy="drop")}
    assert machine.firewall.accepts(INCOMING) is (hook == "output")
    assert machine.firewall.lets_out(INCOMING) is (hook == "input")


def test_the_real_tools_are_here() -> None:
    """The comparison above would be one of nothing with nothing if these were missing."""
    assert all(shutil.which(name) for name in ("cmp", "grep", "tail", "head", "mkdir", "mv", "cp"))
