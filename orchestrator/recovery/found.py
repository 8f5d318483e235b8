"""Blocks that a verify has found: kept as the side has them that is about to be overwritten."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import anyio

from orchestrator.recovery import nodes
from orchestrator.recovery.archive import SaveFailedError, write_whole
from orchestrator.recovery.extents import Extents
from orchestrator.recovery.request import SaveRequest
from orchestrator.remote import Remote


async def keep_found(remote: Remote, request: SaveRequest, blocks: Extents, size: int, into: Path) -> None:
    """Write the blocks of `request.victim`, which is Down, to `into`, one after the other, and beside it `into`.json: which blocks they
    are, and their sha256 as read twice. `size`: of the device, bytes. Raises RefusedError and SaveFailedError."""
    length = blocks.bytes_of(size)
    digest = hashlib.sha256()
    sum_ = await nodes.keep_list(remote, request.resource, request.victim, blocks)
    whole = (0, -(-length // nodes.MEBIBYTE))
    try:
        await anyio.Path(into.parent).mkdir(parents=True, exist_ok=True)
        async with await anyio.open_file(into, "wb") as file:
            async with nodes.read_blocks(remote, request, sum_, size, nodes.MEBIBYTE, whole, length) as pulled:
                async for data in pulled:
                    digest.update(data)
                    await file.write(data)
            nodes.all_of_it(pulled.outcome, f"reading the blocks of {request.resource} on {request.victim}")
            await file.flush()
            await anyio.to_thread.run_sync(os.fsync, file.wrapped.fileno())
    except OSError as error:
        raise SaveFailedError(f"saving into {into}: {error}; nothing was overwritten") from error
    far = await nodes.hash_blocks(remote, request, request.victim, blocks, size, lambda _: None)
    if far != digest.hexdigest():
        twice = f"a second read of the blocks gave sha256 {far}, the first {digest.hexdigest()}"
        raise SaveFailedError(f"{request.victim}: {twice}; nothing was overwritten")
    await nodes.still_down(remote, request)
    about = {"resource": request.resource, "node": request.victim, "runs": [list(run) for run in blocks.runs], "sha256": far}
    await anyio.to_thread.run_sync(write_whole, into.with_name(f"{into.name}.json"), (json.dumps(about, indent=1) + "\n").encode())
