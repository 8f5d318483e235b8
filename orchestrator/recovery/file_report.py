"""Which files differ between the two sides of a split brain, fetched from the nodes.

Nothing here changes a DRBD device, a disk or a mounted file system. On a node it makes a read-only view of the backing disk
(loop device, device-mapper devices, mounts below /run; every name begins with `orchestrate-view-RESOURCE`), and takes it down.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import anyio
from attrs import frozen

from orchestrator.recovery.dump_md import DumpError, read_dump
from orchestrator.recovery.extents import BLOCK, Extents
from orchestrator.recovery.files import FileChange, FileReport, Side, join, unowned
from orchestrator.recovery.site import Request, Site, Unseen, together
from orchestrator.remote import Remote

MANY = 64
"""Blocks that are compared as one at first."""


async def report(remote: Remote, request: Request, victim_extents: Extents, survivor_extents: Extents) -> FileReport:
    """The files that differ, from each side's complete bitmap. The victim's DRBD is down or a Secondary with nothing mounted;
    the survivor may be mounted and in use (its bitmap was written under a frozen file system).

    Only blocks that really differ count: a journal's replay and a crash mark thousands that nobody changed. What cannot be
    looked into (no file system known, a tree that hangs) is said in `unmapped`, never raised. Raises StepFailedError where
    a node cannot be reached, or a view cannot be taken down.
    """
    async with sites(remote, request) as (victim, survivor):
        return await _compared(victim, survivor, victim_extents, survivor_extents, exact=True)


async def approximate(remote: Remote, request: Request) -> FileReport:
    """The same before anything is stopped: both sides may be mounted and in use, nothing is frozen and nothing is flushed.

    The bitmaps are read as they are on disk, which on 8.4 is how they were when the link was lost: files may be missing,
    and `approximate` says so. A tree that hangs is said in `unmapped`. Raises as `report`.
    """
    async with sites(remote, request) as (victim, survivor):
        bitmaps = {}
        for site in (victim, survivor):
            bitmaps[site.node] = await _bitmap_on_disk(site)
        return await _compared(victim, survivor, bitmaps[victim.node], bitmaps[survivor.node], exact=False)


async def clear_views(remote: Remote, request: Request) -> None:
    """Take down what an interrupted run may have left on either node. Before the victim is connected; harmless if there is
    nothing. Raises StepFailedError."""
    await together(*(Site(remote, node, request.resource).close for node in (request.victim, request.survivor)))


@asynccontextmanager
async def sites(remote: Remote, request: Request) -> AsyncIterator[tuple[Site, Site]]:
    """Both sides opened and walked; closed on the way out, also when cancelled."""
    both = Site(remote, request.victim, request.resource), Site(remote, request.survivor, request.resource)

    async def opened(site: Site) -> None:
        await site.open()
        await site.walk()

    try:
        await together(*(partial(opened, site) for site in both))
        yield both
    finally:
        with anyio.CancelScope(shield=True):
            await together(*(site.close for site in both))


async def _bitmap_on_disk(site: Site) -> Extents:
    """As drbdmeta reads it beside a running DRBD: behind the times on a Primary."""
    config = site.remote.config
    peer = 1 - config.names.index(site.node)
    try:
        said = await site.ask(("bitmap_on_disk", str(config.resource[site.resource].minor), site.disk), 120)
        return read_dump(said.decode(errors="replace"), peer).extents
    except (Unseen, DumpError) as why:
        site.unmapped.append(f"the bitmap of {site.node} cannot be read: {why}")
        return Extents()


async def _compared(victim: Site, survivor: Site, mine: Extents, theirs: Extents, *, exact: bool) -> FileReport:
    unmapped, notes = [*victim.unmapped, *survivor.unmapped], [*victim.notes, *survivor.notes]
    try:
        contents = await _Contents.read(victim, survivor, mine | theirs)
        dirty = contents.changed(victim, mine), contents.changed(survivor, theirs)
    except Unseen as why:
        notes.append(f"the two sides' contents could not be compared, and a bitmap marks more than what was changed: {why}")
        dirty = mine, theirs
    changes: list[FileChange] = []
    for volume in sorted(victim.trees.keys() | survivor.trees.keys()):
        if volume in victim.trees and volume in survivor.trees:
            sides = Side(victim.node, victim.trees[volume], dirty[0]), Side(survivor.node, survivor.trees[volume], dirty[1])
            changes += join(volume, *sides, exact=exact)
        else:
            seen = victim if volume in victim.trees else survivor
            unmapped.append(f"{volume or 'the file system'} could be looked into only on {seen.node}")
    internals = tuple((site.node, unowned(site.trees.values(), blocks)) for site, blocks in zip((victim, survivor), dirty, strict=True))
    return FileReport(victim.node, survivor.node, tuple(changes), internals, not exact, tuple(unmapped), tuple(notes))


@frozen
class _Contents:
    """What was seen of the contents of blocks. `differ`: the two sides have different ones. `replayed`: of a node that is
    viewed, those that its journal's replay has put in place: the node wrote them, and no bitmap has them. `unseen`: not read."""

    differ: Extents
    replayed: dict[str, Extents]
    unseen: Extents

    @classmethod
    async def read(cls, victim: Site, survivor: Site, marked: Extents) -> _Contents:
        """Ask both sides. Unseen if one cannot say."""
        unseen = Extents.of([(0, max(victim.hidden, survivor.hidden) // BLOCK)])
        left, right = ((site, "all" if site.viewed else "disk") for site in (victim, survivor))
        differ = await _different(left, right, (marked | _odd(victim, survivor)) - unseen)
        replayed = {site.node: await _different((site, "all"), (site, "disk"), differ) for site in (victim, survivor) if site.viewed}
        return cls(differ, replayed, unseen)

    def changed(self, site: Site, marked: Extents) -> Extents:
        """What this side has changed: marked or replayed, and not as the other side has it."""
        return ((marked | self.replayed.get(site.node, Extents())) & self.differ) | (marked & self.unseen)


async def _different(left: tuple[Site, str], right: tuple[Site, str], blocks: Extents) -> Extents:
    """Which blocks are not the same there and there: first in pieces of many, for most are the same."""
    for unit in (MANY, 1):
        blocks = unlike(blocks, unit, *await _both_digests(left, right, blocks, unit))
    return blocks


async def _both_digests(left: tuple[Site, str], right: tuple[Site, str], blocks: Extents, unit: int) -> tuple[list[bytes], list[bytes]]:
    """Of two nodes at once, of one node one after the other: it lays out one thing at a time."""
    if left[0] is right[0]:
        return await left[0].digests(left[1], blocks, unit), await right[0].digests(right[1], blocks, unit)
    answers: dict[str, list[bytes]] = {}

    async def ask(site: Site, part: str) -> None:
        answers[site.node] = await site.digests(part, blocks, unit)

    await together(partial(ask, *left), partial(ask, *right))
    return answers[left[0].node], answers[right[0].node]


def unlike(blocks: Extents, unit: int, one: list[bytes], other: list[bytes]) -> Extents:
    """Those of `blocks` whose pieces of `unit` blocks have different digests. Pure."""
    numbers = (block for first, count in blocks.runs for block in range(first, first + count))
    return Extents.of((block, 1) for at, block in enumerate(numbers) if one[at // unit] != other[at // unit])


def _odd(victim: Site, survivor: Site) -> Extents:
    """The inodes' own blocks of names that are not the same on both sides: a change that is only in a journal is in no bitmap."""
    found = []
    for volume in victim.trees.keys() & survivor.trees.keys():
        here, there = ({one.path: one for one in site.trees[volume]} for site in (victim, survivor))
        for path in here.keys() | there.keys():
            one, other = here.get(path), there.get(path)
            if one is None or other is None or not one.looks_like(other):
                found += [(entry.own, 1) for entry in (one, other) if entry is not None and entry.own is not None]
    return Extents.of(found)
