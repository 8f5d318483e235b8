"""One node and a resource's disk on it, as the file report needs them: what is mounted, a view, its trees, what its blocks hold.

Every method is one far-side shell (`files.sh`). What cannot be had is a sentence in `unmapped`; a node that cannot be reached
or a view that cannot be taken down is a StepFailedError.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Protocol

import anyio
from attrs import Factory, define, frozen

from orchestrator.commands import Command, Effect
from orchestrator.errors import StepFailedError
from orchestrator.recovery.extents import BLOCK, SECTOR, Extents, Run
from orchestrator.recovery.files import Entry
from orchestrator.recovery.lvm import LvmError, Segment, Volume, read_volumes
from orchestrator.recovery.tree import Place, TreeError, read_walk, unpack
from orchestrator.remote import Remote
from orchestrator.transport import Exited, Outcome, Unknown, Why

SCRIPT = resources.files(__package__).joinpath("files.sh").read_text()
WALK = 180
"""Seconds a walk may take before it is said to hang. Measured: 2000 files of a mounted GFS2 in 1.2 s on a small node."""
PER_BLOCK = BLOCK // SECTOR
AT_ONCE = 32768
"""Blocks whose digests are asked for in one go: 128 MiB, and as many lines of a device-mapper table at most."""


class Unseen(Exception):  # noqa: N818 - no error: a sentence for `unmapped`
    """Something cannot be looked into; the sentence why."""


class Request(Protocol):
    """What is to be looked into: a resource of the configuration, and which node is which."""

    @property
    def resource(self) -> str:
        """As in cluster.toml."""
        ...

    @property
    def victim(self) -> str:
        """The node whose changes are going to be discarded."""
        ...

    @property
    def survivor(self) -> str:
        """The other one."""
        ...


@frozen
class Mounted:
    """A file system that can be walked. `where`: its mount point."""

    kind: str
    where: str
    place: Place


@define
class Site:
    """One side. `viewed`: its file systems are seen in a view of the backing disk, for none is mounted."""

    remote: Remote
    node: str
    resource: str
    mounted: dict[str, Mounted] = Factory(dict)   # by volume: "VG/LV", or "" for the device itself
    trees: dict[str, tuple[Entry, ...]] = Factory(dict)
    unmapped: list[str] = Factory(list)
    notes: list[str] = Factory(list)
    viewed: bool = False
    hidden: int = 0                               # bytes at the disk's beginning that its view does not show

    @property
    def disk(self) -> str:
        """The backing disk."""
        return self.remote.config.disk_of(self.resource, self.node)

    async def ask(self, call: tuple[str, ...], limit: float = 60.0, stdin: bytes | None = None) -> bytes:
        """What a function of `files.sh` prints. Unseen where it says no, StepFailedError where the node cannot be asked."""
        script = f"{SCRIPT}\n{shlex.join(call)}"
        outcome = await self.remote.transport.run(Command(self.node, ("sh", "-c", script), Effect.IDEMPOTENT, limit, stdin=stdin))
        if isinstance(outcome, Unknown) and outcome.why is Why.TOO_LONG:
            raise Unseen(f"{self.node} has more to say than can be taken: {outcome.detail}")
        if not isinstance(outcome, Exited):
            raise StepFailedError(f"{self.node} could not be asked for the files of {self.resource}: {said_of(outcome)}")
        if outcome.code:
            words = " ".join((outcome.stderr or outcome.stdout[-500:]).decode(errors="replace").split())
            raise Unseen(f"{self.node}: {call[0]} ended with {outcome.code}: {words or 'it said nothing'}")
        return outcome.stdout

    # -- opening and closing -------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Find what is mounted, or make a view. Afterwards `close`, whatever came of it."""
        try:
            await self._find_mounted()
            if self.mounted:
                self.hidden = BLOCK
                await self.ask(("close", self.resource, self.disk))
                await self.ask(("open_disk", self.resource, self.disk, str(self.hidden)))
            else:
                await self._make_view()
        except Unseen as why:
            self.unmapped.append(str(why))

    async def close(self) -> None:
        """Take down every view of this resource on the node, an earlier run's too."""
        with anyio.CancelScope(shield=True):
            try:
                await self.ask(("close", self.resource, self.disk), 200)
            except Unseen as why:
                raise StepFailedError(f"the view of {self.disk} could not be taken down: {why}") from why

    async def _find_mounted(self) -> None:
        said = await self.ask(("list_mounted", str(self.remote.config.resource[self.resource].minor)))
        for kind, where, mapped, table in read_mounted(said.decode(errors="surrogateescape")):
            volume = volume_of(mapped)
            if volume in self.mounted:
                continue  # mounted twice
            try:
                self.mounted[volume] = Mounted(kind, where, Place(read_table(table)) if mapped else Place())
            except ValueError as why:
                self.unmapped.append(f"{volume} on {self.node}: {why}")

    async def _make_view(self) -> None:
        head = await self.ask(("read_head", self.disk))
        try:
            volumes = read_volumes(unpack(head))
        except (LvmError, TreeError) as why:
            raise Unseen(f"{self.disk} of {self.node}: {why}") from why
        self.viewed, self.hidden = True, 0 if volumes is None else BLOCK
        wanted = [Volume("")] if volumes is None else [one for one in volumes if not one.why]
        self.unmapped += [f"{self.node}: {one.why}" for one in volumes or () if one.why]
        asked = [word for key, one in enumerate(wanted) for word in (str(key), self._table(one), self.folder(one.name))]
        said = await self.ask(("view", self.resource, self.disk, str(self.hidden), *asked), 60 + 90 * len(wanted))
        for key, kind, words in read_views(said.decode(errors="replace")):
            one = wanted[key]
            if kind in ("failed", "hung"):
                self.unmapped.append(f"{one.name or self.disk} on {self.node} cannot be viewed: {words or 'its mount hangs'}")
            else:
                self.mounted[one.name] = Mounted(kind, words, Place(one.segments))

    def _table(self, volume: Volume) -> str:
        """A device-mapper table over the view; "whole" for a file system without LVM."""
        lines = [f"{one.start} {one.count} linear {self.device('all')} {one.first - self.hidden // SECTOR}" for one in volume.segments]
        return "\n".join(lines) or "whole"

    def folder(self, volume: str) -> str:
        """What a volume's files are below, in a view and in what is saved of it: VG/LV, or the resource's name without LVM."""
        return volume or self.resource

    def device(self, part: str) -> str:
        """`disk`: as it is; `all`: with journals replayed (a view only)."""
        return f"/dev/mapper/orchestrate-view-{self.resource}:{part}"

    # -- looking -------------------------------------------------------------------------------------------------------

    async def walk(self) -> None:
        """Fill `trees` from what is mounted."""
        for key, (volume, one) in enumerate(self.mounted.items()):
            try:
                walk = read_walk(await self._walked(f"tree{key}", volume or one.where, one.where), one.kind, one.place)
            except (Unseen, TreeError) as why:
                self.unmapped.append(str(why))
                continue
            self.trees[volume] = walk.entries
            if walk.block < BLOCK:
                self.notes.append(f"{volume or one.where} on {self.node} has blocks of {walk.block} bytes, DRBD counts in {BLOCK}: "
                                  "neighbours of what was changed are named, too")

    async def _walked(self, key: str, what: str, where: str) -> bytes:
        said = await self.ask(("walk", self.resource, key, where, str(WALK)), WALK + 60)
        verdict, _, packed = said.partition(b"\n")
        if verdict == b"walked":
            return packed
        words = "it hangs" if verdict == b"hung" else verdict.decode(errors="replace").removeprefix("failed ")
        raise Unseen(f"{what} on {self.node} could not be walked: {words}")

    async def digests(self, part: str, blocks: Extents, unit: int) -> list[bytes]:
        """Of every `unit` blocks, one after the other as they are in `blocks`, what their contents are known by; `unit` divides
        AT_ONCE. Unseen if the node cannot say it of every one."""
        found: list[bytes] = []
        for runs in _portions(blocks.runs):
            table, at = [], 0
            for first, count in runs:
                table.append(f"{at} {count * PER_BLOCK} linear {self.device(part)} {first * PER_BLOCK - self.hidden // SECTOR}\n")
                at += count * PER_BLOCK
            number = at // PER_BLOCK
            said = await self.ask(("digest", self.resource, str(number), str(unit * BLOCK)), 300, "".join(table).encode())
            try:
                lines = unpack(said).splitlines()
            except TreeError as why:
                raise Unseen(f"{self.node}: {why}") from why
            if len(lines) != -(-number // unit):
                raise Unseen(f"{self.node} could read {len(lines)} of {-(-number // unit)} pieces")
            found += lines
        return found


async def together(*calls: Callable[[], Awaitable[None]]) -> None:
    """All at once, to their ends; the first that failed raises its own error, not a group."""
    failed: list[Exception] = []

    async def one(call: Callable[[], Awaitable[None]]) -> None:
        try:
            await call()
        except (Unseen, StepFailedError) as why:
            failed.append(why)

    async with anyio.create_task_group() as group:
        for call in calls:
            group.start_soon(one, call)
    if failed:
        raise failed[0]


def said_of(outcome: Outcome | None) -> str:
    """An outcome in one line, without what it printed."""
    if isinstance(outcome, Exited):
        return f"exit {outcome.code}: {' '.join(outcome.stderr.decode(errors='replace').split())}"
    return str(outcome) if outcome is not None else "no answer"


def _portions(runs: tuple[Run, ...]) -> list[list[Run]]:
    """Runs in portions of AT_ONCE blocks, the last one maybe fewer."""
    found: list[list[Run]] = []
    room = 0
    for first, count in runs:
        while count:
            if not room:
                found.append([])
                room = AT_ONCE
            taken = min(count, room)
            found[-1].append((first, taken))
            first, count, room = first + taken, count - taken, room - taken  # noqa: PLW2901 - what is left of the run
    return found


# -- what list_mounted and view print ------------------------------------------------------------------------------------

def read_views(text: str) -> list[tuple[int, str, str]]:
    """Of each volume its key, and type and mount point, or "hung", or "failed" and why."""
    return [(int(key), kind, words) for key, kind, words in re.findall(r"^volume (\d+) (\w+) ?(.*)$", text, re.MULTILINE)]


def read_mounted(text: str) -> list[tuple[str, str, str, str]]:
    """Type, mount point, device-mapper name ("" for the DRBD device itself) and table of each file system."""
    found = []
    for part in re.split(r"^mounted ", text, flags=re.MULTILINE)[1:]:
        line, _, table = part.partition("\n")
        kind, where, mapped = (*line.split(" "), "")[:3]
        found.append((kind, re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), where), mapped, table))
    return found


def volume_of(mapped: str) -> str:
    """"VG/LV" of a device-mapper name: LVM doubles the dashes of a name."""
    return re.sub(r"(?<!-)-(?!-)", "/", mapped, count=1).replace("--", "-")


def read_table(table: str) -> tuple[Segment, ...]:
    """The segments of a linear device. ValueError for one that is not."""
    found = []
    for line in table.splitlines():
        words = line.split()
        if words[2:3] != ["linear"]:
            raise ValueError(f"it is not linear: {line}")
        found.append(Segment(int(words[0]), int(words[1]), int(words[4])))
    return tuple(found)
