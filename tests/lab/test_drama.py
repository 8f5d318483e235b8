"""The whole drama on real kernels: two file servers lose each other without fencing, people go on working on both, and
`recover-splitbrain` brings them back together. Nothing that either side has written is lost."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from attrs import define, field

from fixtures.lab.config import _fence
from tests.lab.cluster import N1, N2, Said
from tests.lab.stack_cluster import MOUNT, NAME, PATIENCE, SPEC, VG, StackCluster

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

VICTIM, SURVIVOR = N2, N1
UNFENCED = {
    'name = "NASCluster"\n': 'name = "NASCluster"\naccept_no_fencing = true\n',
    **{_fence(node): "" for node in SPEC.plan()},
}
"""The lab's cluster.toml without fencing; corosync is on the replication network, as it always is."""
ONE_AGENT = {text: new for text, new in UNFENCED.items() if text != _fence(SPEC.plan()[1])}
"""The same, but the victim's power switch is known: one agent is no fencing, it serves `orchestrate fence` and a recovery."""
LONG = 900.0
"""Seconds one recovery may take: everything is read twice, and two nodes' stacks are stopped and started."""


@define
class Files:
    """What each side has, by its own doing: name to checksum. Written through SMB, as people do."""

    nodes: StackCluster
    of: dict[str, dict[str, str]] = field(factory=lambda: {N1: {}, N2: {}})
    common: dict[str, str] = field(factory=dict)
    seed: int = 0

    @property
    def of_the_victim(self) -> dict[str, str]:
        """What it has made or changed since they parted."""
        return {name: sum_ for name, sum_ in self.of[VICTIM].items() if self.common.get(name) != sum_}

    def put(self, node: str, *names: str, size: int = 200_000) -> None:
        """Through the node's own smbd."""
        for name in names:
            self.seed += 1
            self.of[node][name] = self.nodes.put(node, name, self.seed, size)

    def delete(self, node: str, name: str) -> None:
        """The same way."""
        self.nodes.smb(node, f"del {name}")
        assert name not in self.listed(node)
        del self.of[node][name]

    def listed(self, node: str) -> set[str]:
        """What the node's share shows."""
        return {line.split()[0] for line in self.nodes.smb(node, "ls").splitlines() if " A " in line or " N " in line}

    def assert_there(self, node: str, side: str) -> None:
        """The node serves just what that side had."""
        assert self.listed(node) == set(self.of[side])
        for name, sum_ in self.of[side].items():
            assert self.nodes.get(node, name) == sum_, (node, name)


@pytest.fixture
def files(blank: StackCluster) -> Files:
    """Parted, and nobody can be switched off but by hand."""
    return parted(blank, UNFENCED)


@pytest.fixture
def files_and_an_agent(blank: StackCluster) -> Files:
    """Parted, and the victim has a fence agent."""
    return parted(blank, ONE_AGENT)


def parted(blank: StackCluster, changes: dict[str, str]) -> Files:
    """Both serve, without fencing; there are files; the cable is cut, and both have gone on writing."""
    blank.changes = dict(changes)
    blank.resource('verify_alg = "crc32c"')
    blank.up("-q")
    made = Files(blank)
    made.put(N1, "same", "by_survivor", "by_victim", "by_both", "gone_here", "gone_there")
    made.of[N2], made.common = dict(made.of[N1]), dict(made.of[N1])
    made.assert_there(N2, N1)
    part(blank)
    made.put(N1, "by_survivor", "by_both", "new_here")
    made.delete(N1, "gone_here")
    made.put(N2, "by_victim", "by_both", "new_there", "other_there")
    made.put(N2, "large_there", size=3_000_000)
    made.put(N2, "tiny_there", size=30)
    made.delete(N2, "gone_there")
    blank.both("sync -f " + MOUNT)
    return made


def part(nodes: StackCluster) -> None:
    """The cable is cut, and each half is a cluster of its own that serves."""
    nodes.lab.cut(N2, "repl")
    nodes.until(lambda: all("cs:Connected" not in nodes.proc(node) for node in (N1, N2)), "both notice", 60)
    nodes.until(lambda: all(set(one.values()) == {"Up"} for one in nodes.layers().values()), "both halves serve", 120)


def planned(nodes: StackCluster) -> str:
    """`--plan` names the split, what each side has changed and what would be lost; it stops nothing. The token."""
    said = nodes.run("recover-splitbrain", "r0", "--plan")
    assert said.code == 10, said
    assert "split brain" in said.out
    said = nodes.run("recover-splitbrain", "r0", "--plan", "--json")
    assert said.code == 10, said
    (found,) = said.json()
    assert found["split_brain"]
    assert {side["node"]: side["changed_kib"] > 0 for side in found["sides"]} == {N1: True, N2: True}
    named = {one["path"] for one in found["files"]["changes"]}
    assert {"by_victim", "new_there", "by_survivor", "new_here"} <= named, found["files"]
    token: str = found["token"]
    return token


def assert_saved(files: Files, archives: Path) -> None:
    """Every file that the victim has made or changed, byte for byte."""
    (folder,) = (path for path in archives.iterdir() if path.is_dir())
    out = archives.parent / "out"
    said = files.nodes.run("splitbrain", "extract", str(folder), "--all", "--to", str(out))
    assert said.code == 0, said
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (out / VG / NAME).iterdir() if path.is_file()}
    assert len(files.of_the_victim) == 6
    assert {name: found.get(name) for name in files.of_the_victim} == files.of_the_victim
    one = archives.parent / "one"
    assert files.nodes.run("splitbrain", "extract", str(folder), "--file", "by_both", "--to", str(one)).code == 0
    assert hashlib.sha256(one.read_bytes()).hexdigest() == files.of[VICTIM]["by_both"]


def assert_told(archives: Path) -> None:
    """The report beside the archive has who, when and why, and the evidence of before and after."""
    (path,) = archives.glob("*.report.json")
    told = json.loads(path.read_text())
    assert (told["victim"], told["survivor"]) == (VICTIM, SURVIVOR)
    assert told["agreed_by"].endswith("at this machine")
    assert {side["node"]: side["changed_kib"] for side in told["after"]["sides"]} == {N1: 0, N2: 0}
    assert all(side["changed_kib"] != 0 for side in told["before"]["sides"])
    keys = [step["key"] for step in told["steps"]]
    assert keys.index(f"save-changes:r0:{VICTIM}") < keys.index(f"discard-changes:r0:{VICTIM}")
    assert told["archive"]["files"] > 0
    assert told["archive"]["data_sha256"] in path.with_suffix(".txt").read_text()


def assert_whole(files: Files, archives: Path) -> None:
    """Both serve what the survivor had; what the victim had is in the archive."""
    files.nodes.assert_serving()
    for node in (N1, N2):
        files.assert_there(node, SURVIVOR)
    assert_saved(files, archives)
    assert_told(archives)
    said = files.nodes.run("verify", "r0", "--json")
    assert (said.code, said.json()["blocks"], said.json()["out_of_sync_kib"]) == (0, 0, 0), said
    files.put(N2, "afterwards")
    assert files.nodes.get(N1, "afterwards") == files.of[N2]["afterwards"]


def recover(nodes: StackCluster, archives: Path, *words: str) -> Said:
    return nodes.run("recover-splitbrain", "r0", "--archive", str(archives), *words, timeout=LONG)


def test_recovered_while_the_cable_is_still_out(files: Files, tmp_path: Path) -> None:
    """The victim is stopped, saved, and waits, flagged; the survivor serves all the while. With the cable back they meet."""
    nodes, archives = files.nodes, tmp_path / "archives"
    said = recover(nodes, archives, "--victim", VICTIM, "--shown", planned(nodes))
    assert (said.code, "Connecting" in said.err) == (5, True), said
    files.assert_there(SURVIVOR, SURVIVOR)
    nodes.lab.heal(N2)
    said = recover(nodes, archives)
    assert said.code == 0, said
    assert_whole(files, archives)


def test_recovered_after_the_cable_is_back(files: Files, tmp_path: Path) -> None:
    """The lock managers meet again, and one throws the other out: its mount hangs for ever. Only its power helps."""
    nodes, archives = files.nodes, tmp_path / "archives"
    nodes.lab.heal(N2)
    nodes.until(lambda: "Hung" in nodes.layers()[VICTIM].values(), "the victim's cluster is killed", 120)
    files.assert_there(SURVIVOR, SURVIVOR)
    agreed = ("--victim", VICTIM, "--shown", planned_of_a_hung_one(nodes, "by hand"))
    said = recover(nodes, archives, *agreed)
    assert (said.code, "layer-hung" in said.err, "cut its power" in said.err) == (4, True, True), said
    nodes.lab.power_off(VICTIM)
    nodes.lab.power_on(VICTIM)
    said = recover(nodes, archives, *agreed)
    assert said.code == 0, said
    assert_whole(files, archives)


def test_a_victim_that_hangs_is_switched_off_and_on_by_the_command(files_and_an_agent: Files, tmp_path: Path) -> None:
    """The same without a hand: its own fence agent, asked by the survivor, then everything as ever."""
    nodes, archives = files_and_an_agent.nodes, tmp_path / "archives"
    nodes.lab.heal(N2)
    nodes.until(lambda: "Hung" in nodes.layers()[VICTIM].values(), "the victim's cluster is killed", 120)
    boot = nodes.sh(VICTIM, "cat /proc/sys/kernel/random/boot_id")
    said = recover(nodes, archives, "--victim", VICTIM, "--shown", planned_of_a_hung_one(nodes, "fence agent"))
    assert said.code == 0, said
    assert nodes.sh(VICTIM, "cat /proc/sys/kernel/random/boot_id") != boot
    assert f"{VICTIM} hangs" in said.err
    assert_whole(files_and_an_agent, archives)


def planned_of_a_hung_one(nodes: StackCluster, power: str) -> str:
    """It says that the victim hangs and who has to switch it off and on, and names the split; its tree may be walked from what its
    kernel remembers, or not at all, and that is said, too. The token."""
    said = nodes.run("recover-splitbrain", "r0", "--plan", "--json", timeout=PATIENCE)
    assert said.code == 10, said
    (found,) = json.loads(said.out)
    assert found["split_brain"]
    (choice,) = [one for one in found["choices"] if one["victim"] == VICTIM]
    assert choice["power_cycle"] == power, choice
    assert f"mount {NAME}" in choice["hangs"], choice
    keys = [step["key"] for step in choice["steps"]]
    assert (f"power-cycle:r0:{SURVIVOR}" in keys) is (power == "fence agent") is (choice["refused"] is None), choice
    told = found["files"]
    assert "new_there" in {one["path"] for one in told["changes"]} or any(VICTIM in why for why in told["unmapped"]), told
    token: str = found["token"]
    return token
