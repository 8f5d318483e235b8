"""`save` from end to end on this machine, where no DRBD is: real shells, pipes, disks and connections of ours; DRBD's tools and device
mapper are a few lines of shell each. What those really do is for tests/lab/test_save.py.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from attrs import evolve, frozen

from orchestrator.commands import Command
from orchestrator.config import ClusterSection, Config, NodeSection, ResourceSection
from orchestrator.errors import RefusedError
from orchestrator.local import LocalBytes, LocalTransport
from orchestrator.recovery import archive
from orchestrator.recovery.archive import Archive, SaveFailedError
from orchestrator.recovery.manifest import Manifest
from orchestrator.recovery.run import Saving
from orchestrator.recovery.save import SaveRequest, save
from orchestrator.remote import Remote
from orchestrator.transport import NotSent, Outcome, Why
from orchestrator.watch import Silent
from states.consent import Consent
from states.facts import ClusterFacts, NodeFacts, Side
from states.goal import Do, Step
from states.identifiers import Identifiers
from states.progress import Progress
from states.vocabulary import Node
from tests.unit.test_archive import Split, cut, split
from tests.unit.test_extents import printed

VICTIM, SURVIVOR = "nas02", "nas01"
GI = {VICTIM: "1111111111111112:2222222222222222:0000000000000000:0000000000000000",
      SURVIVOR: "3333333333333333:2222222222222222:0000000000000000:0000000000000000"}
PROC = """version: 8.4.11 (api:1/proto:86-101)

 1: cs:StandAlone ro:Primary/Unknown ds:UpToDate/DUnknown   r-----
    ns:0 nr:0 dw:73 dr:0 al:11 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:{oos}
"""
TOOLS = {
    "drbdadm": r"""echo "$*" >>$HERE/calls
case "$*" in
--version) echo DRBDADM_VERSION=9.22.0 ;;
apply-al*) [ ! -e $HERE/crashed ] || { echo 'Marked additional 12 MB as out-of-sync based on AL.'; rm $HERE/crashed; } ;;
*dump-md*) cat $HERE/dump ;;
connect*) sed -i s/cs:StandAlone/cs:WFConnection/ $HERE/proc-drbd ;;
disconnect*) sed -i s/cs:WFConnection/cs:StandAlone/ $HERE/proc-drbd ;;
esac""",
    "drbdsetup": "echo $(cat $HERE/gi):1:1:1:0:0:0:0",
    "drbdmeta": "echo $(cat $HERE/gi):1:1:0:0:0:0:0",
    "iptables-legacy": 'echo "iptables $*" >>$HERE/calls',
    "fsfreeze": r"""while [ "$1" = -f ] && [ -e $HERE/slow ]; do sleep 0.05; done
echo "fsfreeze $*" >>$HERE/calls
[ ! -e $HERE/unfreezable ] || { echo "fsfreeze: $2: freeze failed: Operation not supported" >&2; exit 1; }""",
    # a view is a copy of what it shows; --deferred removes nothing while it is read, and this one not afterwards either
    "dmsetup": r"""case "$1" in
info) [ -e $HERE/view ] || exit 1; case "$*" in *minor*) echo 77 ;; esac ;;
remove) case "$2" in --deferred) [ ! -e $HERE/old ] ;; *) rm $HERE/view ;; esac ;;
create) exec PYTHON -c '
import os, sys
with open(os.environ["HERE"] + "/view", "wb") as view:
    for line in sys.stdin:
        _, count, kind, *rest = line.split()
        if kind == "zero":
            view.write(bytes(int(count) * 512))
        else:
            with open(rest[0], "rb") as disk:
                disk.seek(int(rest[1]) * 512)
                view.write(disk.read(int(count) * 512))
' ;;
esac""",
}


@frozen
class Machines(LocalTransport):
    """Two nodes that are folders here: their /proc/drbd, /run and devices are files in them."""

    folder: Path

    def _at(self, command: Command) -> Command:
        here = self.folder / command.host
        words = {"/proc/drbd": f"{here}/proc-drbd", "/run/orchestrate": f"{here}/run", "/dev/dm-${number# }": f"{here}/view",
                 '[ -b "$view" ] && read -r ro <"/sys/class/block/${view#/dev/}/ro"': "ro=1", " iflag=direct": ""}
        text = "\0".join(command.argv)
        for old, new in words.items():
            text = text.replace(old, new)
        argv = text.split("\0")
        path = f"PATH={here}/bin:{os.environ['PATH']}"
        return evolve(command, argv=("env", path, f"HERE={here}", *argv))

    async def run(self, command: Command) -> Outcome:
        return await LocalTransport.run(self, self._at(command))

    @asynccontextmanager
    async def pull(self, command: Command, most: int) -> AsyncIterator[LocalBytes]:
        async with LocalTransport.pull(self, self._at(command), most) as pulled:
            yield pulled


@frozen
class Here:
    """The two nodes, and what is on their disks."""

    folder: Path
    torn: Split

    @property
    def request(self) -> SaveRequest:
        one, other = (str(self.folder / node / "disk") for node in (VICTIM, SURVIVOR))
        return SaveRequest("r0", 1, VICTIM, SURVIVOR, one, other, GI[VICTIM], GI[SURVIVOR])

    def save(self, into: Path, request: SaveRequest | None = None, watch: Silent | None = None) -> Manifest:
        config = Config(ClusterSection("here"), {name: NodeSection(f"127.0.0.{n}") for n, name in enumerate((SURVIVOR, VICTIM), 1)},
                        {"r0": ResourceSection(disk="/dev/vdb", minor=1, port=7789)})

        async def run() -> Manifest:
            remote = Remote(config, Machines(self.folder), anyio.current_time)
            return await save(remote, request or self.request, into, watch or Silent())

        return anyio.run(run)

    def calls(self, node: str) -> list[str]:
        return (self.folder / node / "calls").read_text().splitlines()


@pytest.fixture
def here(tmp_path: Path) -> Here:
    torn = split(seed=3, size=1500 * 4096 + 1536)
    for node, image, own in ((VICTIM, torn.victim, torn.own), (SURVIVOR, torn.survivor, torn.theirs)):
        place = tmp_path / "nodes" / node
        (place / "bin").mkdir(parents=True)
        for name, body in TOOLS.items():
            (place / "bin" / name).write_text(f"#!/bin/sh\n{body.replace('PYTHON', sys.executable)}\n")
            (place / "bin" / name).chmod(0o755)
        (place / "disk").write_bytes(image)
        (place / "gi").write_text(GI[node])
        blocks = frozenset(block for first, count in own.runs for block in range(first, first + count))
        words = [int(word, 16) for word in GI[node].split(":")]
        text = printed(blocks, 80, 4096, len(image))
        for number, word in enumerate(words, 1):
            text = text.replace(f"0x{number:016X};", f"0x{word:016X};", 1)
        (place / "dump").write_text(text)
        if node == SURVIVOR:
            (place / "proc-drbd").write_text(PROC.format(oos=own.kib))
    return Here(tmp_path / "nodes", torn)


@pytest.fixture(autouse=True)
def _is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "CHUNK", 1 << 20)
    if subprocess.run(["sh", "-c", "command -v flock setsid awk gzip sha256sum"], capture_output=True).returncode:
        pytest.skip("flock, setsid, awk, gzip and sha256sum are needed")


def test_all_of_it(here: Here, tmp_path: Path) -> None:
    (here.folder / VICTIM / "crashed").touch()
    made = here.save(tmp_path / "r0")
    torn = here.torn
    assert (made.victim.extents, made.survivor.extents, made.saved) == (torn.own, torn.theirs, torn.saved)
    assert (made.victim.inflated, made.survivor.inflated) == (12 * 1024, 0)
    assert made.image_sha256 == hashlib.sha256(torn.victim).hexdigest()
    assert b"".join(Archive.open(tmp_path / "r0").pieces()) == cut(torn.victim, torn.saved)
    done = [line.split(" -w 5 ")[-1] for line in here.calls(SURVIVOR)]
    rules = [f"{chain} 1 -p tcp --{end} 7789" for chain in ("INPUT", "OUTPUT") for end in ("dport", "sport")]
    assert all(line.startswith(f"-I {rule}") for line, rule in zip(done, rules, strict=False)), "the port is closed first"
    assert done[4:7] == ["connect r0", "disconnect r0", "-- --force dump-md r0"]
    assert [line[:2] for line in done[7:11]] == ["-D"] * 4, "and opened again last"
    assert done.count("connect r0") == 1


OLD_ADM = r"""echo "$*" >>$HERE/calls
case "$*" in
--version) echo DRBDADM_VERSION=8.3.16 ;;
apply-al*) echo "drbdadm: Unknown command 'apply-al'" >&2; exit 20 ;;
attach*) sed -i s/cs:Unconfigured/cs:StandAlone/ $HERE/proc-drbd ;;
down*) sed -i 's/ 1: cs:.*/ 1: cs:Unconfigured/' $HERE/proc-drbd ;;
*dump-md*) cat $HERE/dump ;;
connect*) sed -i s/cs:StandAlone/cs:WFConnection/ $HERE/proc-drbd ;;
disconnect*) sed -i s/cs:WFConnection/cs:StandAlone/ $HERE/proc-drbd ;;
esac"""


def test_with_the_words_of_8_3(here: Here, tmp_path: Path) -> None:
    """Its drbdadm cannot apply the activity log; its kernel does when it attaches. The survivor's bitmap is written down as ever."""
    for node in (VICTIM, SURVIVOR):
        (here.folder / node / "bin" / "drbdadm").write_text(f"#!/bin/sh\n{OLD_ADM}\n")
        proc = here.folder / node / "proc-drbd"
        lines = proc.read_text() if proc.exists() else PROC.partition("\n\n")[0] + "\n 1: cs:Unconfigured\n"
        proc.write_text(lines.replace("version: 8.4.11 (api:1/proto:86-101)", "version: 8.3.16 (api:88/proto:86-97)"))
    made = here.save(tmp_path / "r0")
    assert (made.victim.extents, made.survivor.extents, made.saved) == (here.torn.own, here.torn.theirs, here.torn.saved)
    assert b"".join(Archive.open(tmp_path / "r0").pieces()) == cut(here.torn.victim, here.torn.saved)
    assert [line for line in here.calls(VICTIM) if line != "--version"] == [
        "attach r0", "secondary r0", "disconnect r0", "down r0", "dump-md r0"]
    assert [line for line in here.calls(SURVIVOR) if "r0" in line and not line.startswith("iptables")] == [
        "connect r0", "disconnect r0", "-- --force dump-md r0"]


@pytest.mark.parametrize("old", [False, True], ids=["deferred removal", "a device mapper that knows none"])
def test_broken_off_and_gone_on_with(here: Here, tmp_path: Path, old: bool) -> None:
    class Breaks(Silent):
        def progress(self, resource: str, progress: Progress) -> None:
            if "verifying" in resource:
                raise InterruptedError

    if old:
        (here.folder / VICTIM / "old").touch()
    with pytest.raises(InterruptedError):
        here.save(tmp_path / "r0", watch=Breaks())
    assert not (tmp_path / "r0").exists()
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "r0.partial" / "blocks").iterdir()}
    made = here.save(tmp_path / "r0")
    assert len(kept) > 1
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "r0" / "blocks").iterdir()} == kept
    assert here.save(tmp_path / "r0") == made
    assert not (here.folder / VICTIM / "view").exists()
    assert [path.name for path in (here.folder / VICTIM / "run").iterdir()] == []


def test_the_whole_device_and_the_survivors_rest(here: Here, tmp_path: Path) -> None:
    made = here.save(tmp_path / "r0", evolve(here.request, whole=True))
    assert made.data_sha256 == made.image_sha256
    target = tmp_path / "image"
    target.write_bytes(bytes(made.size))
    from orchestrator.recovery.restore import restore

    assert restore(Archive.open(tmp_path / "r0"), target, lambda *_: None)
    assert target.read_bytes() == here.torn.victim


@pytest.mark.parametrize(
    ("node", "file", "old", "new", "words"),
    [
        (SURVIVOR, "proc-drbd", "cs:StandAlone", "cs:Connected", "is Connected here"),
        (SURVIVOR, "gi", "33333", "33344", "identifiers are"),
        (VICTIM, "gi", "11111", "11144", "identifiers are"),
        (VICTIM, "proc-drbd", "", PROC.format(oos=4), "is StandAlone here"),
    ],
)
def test_a_node_that_is_not_what_was_looked_at(here: Here, tmp_path: Path, node: str, file: str, old: str, new: str, words: str) -> None:
    path = here.folder / node / file
    path.write_text(path.read_text().replace(old, new) if old else new)
    with pytest.raises(RefusedError, match=words) as refused:
        here.save(tmp_path / "r0")
    assert refused.value.refused.rule == "save-before-discard"
    assert not (here.folder / SURVIVOR / "calls").exists() or "connect r0" not in here.calls(SURVIVOR)


def test_a_survivor_whose_link_was_never_healed_only_disconnects(here: Here, tmp_path: Path) -> None:
    """It still waits for its peer, which is Down: to give up waiting writes the bitmap, too."""
    path = here.folder / SURVIVOR / "proc-drbd"
    path.write_text(path.read_text().replace("cs:StandAlone", "cs:WFConnection"))
    made = here.save(tmp_path / "r0")
    assert made.survivor.extents == here.torn.theirs
    calls = here.calls(SURVIVOR)
    assert "disconnect r0" in calls
    assert "connect r0" not in calls
    assert "cs:StandAlone" in path.read_text()


def test_a_bitmap_that_was_not_written_down_is_noticed(here: Here, tmp_path: Path) -> None:
    path = here.folder / SURVIVOR / "proc-drbd"
    path.write_text(PROC.format(oos=here.torn.theirs.kib + 4))
    with pytest.raises(SaveFailedError, match="the bitmap was not written down"):
        here.save(tmp_path / "r0")


def test_a_disk_that_reads_differently_the_second_time_is_noticed(here: Here, tmp_path: Path) -> None:
    class Flips(Silent):
        def note(self, text: str) -> None:
            self.armed = True

        def progress(self, resource: str, progress: Progress) -> None:
            if "saving" in resource and progress.left == 0:
                disk = here.folder / VICTIM / "disk"
                first = here.torn.saved.runs[0][0] * 4096
                image = bytearray(disk.read_bytes())
                image[first] ^= 1
                disk.write_bytes(image)

    with pytest.raises(SaveFailedError, match="a second read on nas02"):
        here.save(tmp_path / "r0", watch=Flips())
    assert not (tmp_path / "r0").exists()


# -- the survivor's file system ------------------------------------------------------------------------------------------

def test_it_stands_still_while_the_bitmap_is_written_and_no_longer(here: Here, tmp_path: Path) -> None:
    here.save(tmp_path / "r0", evolve(here.request, mount="/srv/x"))
    done = [line for line in here.calls(SURVIVOR) if "iptables" not in line and line != "--version"]
    assert done == ["fsfreeze -f /srv/x", "connect r0", "disconnect r0", "-- --force dump-md r0", "fsfreeze -u /srv/x"]
    assert {path.name for path in (here.folder / SURVIVOR / "run").iterdir()} == {"flush-r0.lock", "flush-r0.said"}


def test_one_that_cannot_be_frozen_is_not_flushed(here: Here, tmp_path: Path) -> None:
    (here.folder / SURVIVOR / "unfreezable").touch()
    with pytest.raises(SaveFailedError, match="Operation not supported"):
        here.save(tmp_path / "r0", evolve(here.request, mount="/srv/x"))
    assert "connect r0" not in here.calls(SURVIVOR)
    assert "fsfreeze -u /srv/x" not in here.calls(SURVIVOR), "whoever has frozen it may not want it thawed"


def test_a_freeze_that_comes_after_everybody_gave_up_thaws_itself(here: Here, tmp_path: Path) -> None:
    """fsfreeze waits in the kernel, deaf to kill. Until it has ended nobody else may begin a flush."""
    slow, run = here.folder / SURVIVOR / "slow", here.folder / SURVIVOR / "run"
    slow.touch()
    with pytest.raises(SaveFailedError, match=r"did not end in 10 s; when it does, it is undone"):
        here.save(tmp_path / "r0", evolve(here.request, mount="/srv/x"))
    assert not [line for line in here.calls(SURVIVOR) if "fsfreeze" in line]
    assert subprocess.run(["flock", "-n", str(run / "flush-r0.lock"), "true"]).returncode == 1
    slow.unlink()
    assert subprocess.run(["flock", "-w", "30", str(run / "flush-r0.lock"), "true"]).returncode == 0, "it has ended"
    assert [line for line in here.calls(SURVIVOR) if "fsfreeze" in line] == ["fsfreeze -f /srv/x", "fsfreeze -u /srv/x"]
    assert {path.name for path in run.iterdir()} == {"flush-r0.lock", "flush-r0.said"}
    assert here.save(tmp_path / "r0", evolve(here.request, mount="/srv/x")).survivor.extents == here.torn.theirs


# -- whose it is ---------------------------------------------------------------------------------------------------------

def test_another_resources_lists_are_left_alone(here: Here, tmp_path: Path) -> None:
    others = {"extents-r0.x:0123", "extents-r1:0123", "dump-r0.x.gz", "hash-r0.x.sum"}
    for node in (VICTIM, SURVIVOR):
        (here.folder / node / "run").mkdir()
        for name in others:
            (here.folder / node / "run" / name).touch()
    here.save(tmp_path / "r0")
    assert {path.name for path in (here.folder / VICTIM / "run").iterdir()} == others


@pytest.mark.parametrize("node", [VICTIM, SURVIVOR])
def test_a_lost_lease_ends_it_before_anything_is_touched(here: Here, tmp_path: Path, node: str) -> None:
    with pytest.raises(SaveFailedError, match="the lease was lost"):
        here.save(tmp_path / "r0", evolve(here.request, leases=((node, "somebody", 7),)))
    calls = here.calls(node) if (here.folder / node / "calls").exists() else []
    assert not [line for line in calls if line.startswith(("apply-al", "connect", "disconnect", "-- --force"))]


class Deaf(Machines):
    """Nodes that cannot be asked for what is mounted."""

    async def run(self, command: Command) -> Outcome:
        if command.argv[-1].rpartition("\n")[2].startswith("list_mounted"):
            return NotSent(Why.NO_SESSION, "the file report's own connection failed")
        return await Machines.run(self, command)


def test_files_that_cannot_be_listed_do_not_keep_the_blocks_from_being_saved(here: Here, tmp_path: Path) -> None:
    class Hears(Silent):
        def note(self, text: str) -> None:
            heard.append(text)

    heard: list[str] = []
    agreed = Consent("r0", VICTIM, tuple((node, Identifiers.bare(GI[node])) for node in (SURVIVOR, VICTIM)), "anna")
    facts = ClusterFacts(tuple(NodeFacts(node, Node.REACHABLE, sides=(("r0", Side(node, identifiers=ids)),)) for node, ids in agreed.shown))
    disks = {node: str(here.folder / node / "disk") for node in (SURVIVOR, VICTIM)}
    config = Config(ClusterSection("here"), {name: NodeSection(f"127.0.0.{n}") for n, name in enumerate(disks, 1)},
                    {"r0": ResourceSection(disks=disks, minor=1, port=7789)})

    async def run() -> str:
        remote = Remote(config, Deaf(here.folder), anyio.current_time)
        return await Saving(config, remote, tmp_path, (agreed,), Hears())(Step(Do.SAVE, VICTIM, "r0"), facts)

    place = Path(anyio.run(run).partition(":")[2])
    assert Archive.open(place).manifest.saved == here.torn.saved
    assert any("its files are not saved by name" in text and "connection failed" in text for text in heard), heard
