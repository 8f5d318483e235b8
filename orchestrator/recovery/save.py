"""Saving the victim's blocks before anything is discarded.

    extents = await victim_extents(remote, request)     what the victim changed; its DRBD has to be down
    extents = await survivor_extents(remote, request)   what the survivor changed; it may go on serving
    manifest = await save(remote, request, into, watch) both, then the archive, verified

Nothing here decides whether to save, or what to do afterwards. What a node says is checked there, in the same shell, right
before each step (save.sh): the resource's identifiers, that the victim is Down, that the survivor is StandAlone.
"""

from __future__ import annotations

import time
from pathlib import Path

import anyio
from anyio.abc import ObjectSendStream

from orchestrator.errors import RefusedError
from orchestrator.recovery import nodes
from orchestrator.recovery.archive import Partial, SaveFailedError
from orchestrator.recovery.extents import Extents, Run
from orchestrator.recovery.manifest import Changed, Manifest
from orchestrator.recovery.request import SaveRequest
from orchestrator.remote import Remote
from orchestrator.watch import Watch
from states.goal import Refused
from states.progress import Progress

__all__ = ["SaveRequest", "save", "survivor_extents", "victim_extents"]

MOST_RUNS = 32_768
"""Segments of one device-mapper table: 7 MiB of kernel memory, 0.6 s to load (measured, User-Mode Linux)."""


async def victim_extents(remote: Remote, request: SaveRequest) -> Changed:
    """What the victim changed while it was alone, from its metadata. Its resource has to be Down (secondary, disconnect and down
    were done); the activity log is applied, which is what `up` would do too. Raises RefusedError if the node is not as the
    request says, SaveFailedError for what a tool said or a lost connection."""
    return await nodes.own_extents(remote, request, request.victim)


async def survivor_extents(remote: Remote, request: SaveRequest) -> Changed:
    """What the survivor changed while it was alone. It may be Primary, mounted and serving: it stands still for a moment
    (`fsfreeze`), while DRBD is made to write its bitmap down, with the replication port closed on it. Its identifiers are the
    same before and after, or it raises. Raises RefusedError and SaveFailedError, as `victim_extents`."""
    return await nodes.flushed_extents(remote, request)


async def save(remote: Remote, request: SaveRequest, into: Path, watch: Watch) -> Manifest:
    """Save what the victim has and the survivor has not, into the folder `into`; back only when it is verified.

    Calls `victim_extents` and `survivor_extents` itself. Until it is verified the archive is called `into`.partial; a second
    call goes on with the chunks that are there, if blocks and identifiers are the same. An archive of that name that is
    complete and of the same split is verified again and returned. Raises RefusedError (rule save-before-discard: no room, the
    nodes are not as the request says, the name is taken) and SaveFailedError (a tool, a connection, a full disk).
    """
    began = time.time()
    victim = await victim_extents(remote, request)
    flushed = time.time()
    survivor = await survivor_extents(remote, request)
    if victim.size != survivor.size:
        raise RefusedError(Refused("save-before-discard", f"save {request.resource}", f"the sides differ in size: {victim.size} and "
                                   f"{survivor.size} bytes", "make the devices the same size by hand"))
    union = victim.extents | survivor.extents
    saved = Extents.whole(victim.size) if request.whole else union.coalesced(MOST_RUNS)
    partial = await anyio.to_thread.run_sync(Partial.open, into, request, (victim, survivor), saved)
    if partial.done is not None:
        await _verify(remote, request, partial, watch)
        await nodes.still_down(remote, request)
        return partial.done
    partial.need_room()
    await _stream(remote, request, partial, watch)
    data = await _verify(remote, request, partial, watch)
    rest = Extents.whole(victim.size) - saved
    base = await _hash(remote, request, partial, rest, watch, "checking the rest")
    theirs = await _hash(remote, request, partial, rest, watch, "checking the survivor's", request.survivor) if request.compare else ""
    image = await _hash(remote, request, partial, Extents.whole(victim.size), watch, "checking the whole image")
    await nodes.still_down(remote, request)
    manifest = Manifest(
        request.resource, victim, survivor, victim.size, saved, partial.chunk_size, partial.chunks(), data, base, image,
        began, flushed, time.time(), theirs,
    )
    await anyio.to_thread.run_sync(partial.finish, manifest)
    return manifest


async def _stream(remote: Remote, request: SaveRequest, partial: Partial, watch: Watch) -> None:
    """Take every chunk that is not there yet. Two wait at most: the disk here sets the pace of the disk there."""
    watch.note(f"{request.resource}: saving {partial.length / 1024**2:.1f} MiB of {request.victim} into {partial.into}")
    told = _bar(watch, f"{request.resource}: saving", partial.length)
    done = partial.length - sum(partial.length_of(number) for number in partial.missing())
    sum_ = await nodes.keep_list(remote, request.resource, request.victim, partial.saved)
    for run in Extents.of((number, 1) for number in partial.missing()).runs:
        send, receive = anyio.create_memory_object_stream[tuple[int, bytes]](2)
        try:
            async with anyio.create_task_group() as both, receive:
                both.start_soon(_read, remote, request, partial, sum_, run, send)
                async for number, data in receive:
                    await anyio.to_thread.run_sync(partial.put, number, data)
                    done += len(data)
                    told(done)
        except BaseExceptionGroup as broken:
            raise _first(broken) from broken


def _first(broken: BaseExceptionGroup[BaseException]) -> BaseException:
    """What began it: the rest of a group is what was cancelled for it."""
    inner = broken.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


async def _read(
    remote: Remote, request: SaveRequest, partial: Partial, sum_: str, run: Run, send: ObjectSendStream[tuple[int, bytes]]
) -> None:
    """Cut a stream of consecutive chunks into them. One `dd` reads them all."""
    number, last = run[0], sum(run)
    length = sum(partial.length_of(one) for one in range(number, last))
    waiting = bytearray()
    async with send, nodes.read_blocks(remote, request, sum_, partial.size, partial.chunk_size, run, length) as pulled:
        async for data in pulled:
            waiting += data
            while number < last and len(waiting) >= partial.length_of(number):
                piece = bytes(waiting[:partial.length_of(number)])
                del waiting[:len(piece)]
                await send.send((number, piece))
                number += 1
        nodes.all_of_it(pulled.outcome, f"reading the blocks of {request.resource} on {request.victim}")
    if number < last or waiting:
        raise SaveFailedError(f"{request.victim} sent {len(waiting)} bytes where a chunk of {partial.length_of(number)} was to come")


async def _verify(remote: Remote, request: SaveRequest, partial: Partial, watch: Watch) -> str:
    """A second read of both: the node's blocks, and what was written here. The sha256 that they share."""
    far = await _hash(remote, request, partial, partial.saved, watch, "verifying")
    here = await anyio.to_thread.run_sync(partial.sha256)
    if here != far:
        raise SaveFailedError(f"{request.resource}: the archive has sha256 {here}, a second read on {request.victim} {far}: a disk or a "
                              f"memory is failing, or somebody wrote to {request.victim_disk}; nothing may be discarded")
    return far


async def _hash(
    remote: Remote, request: SaveRequest, partial: Partial, extents: Extents, watch: Watch, doing: str, node: str = ""
) -> str:
    """Of the victim's blocks, or `node`'s."""
    told = _bar(watch, f"{request.resource}: {doing}", extents.bytes_of(partial.size))
    return await nodes.hash_blocks(remote, request, node or request.victim, extents, partial.size, told)


def _bar(watch: Watch, name: str, total: int) -> nodes.Told:
    """What is called with the bytes done so far."""
    progress = [Progress().seen(anyio.current_time(), total // 1024)]

    def told(done: int) -> None:
        progress[0] = progress[0].seen(anyio.current_time(), max(total - done, 0) // 1024)
        watch.progress(name, progress[0])

    return told
