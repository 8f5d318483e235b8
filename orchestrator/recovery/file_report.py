"""Which files differ between the two sides of a split brain, fetched from the nodes; and saving the victim's.

Nothing here changes a DRBD device, a disk or a mounted file system. On a node it makes a read-only view of the backing disk
(loop device, device-mapper devices, mounts below /run; every name begins with `orchestrate-view-RESOURCE`), and takes it down.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from orchestrator.recovery.extents import Extents
from orchestrator.recovery.files import FileReport
from orchestrator.remote import Remote


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


async def report(remote: Remote, request: Request, victim_extents: Extents, survivor_extents: Extents) -> FileReport:
    """The files that differ, from each side's complete bitmap. The victim's DRBD is down or a Secondary with nothing mounted;
    the survivor may be mounted and in use (its bitmap was written under a frozen file system).

    Only blocks that really differ count: a journal's replay and a crash mark thousands that nobody changed. What cannot be
    looked into (no file system known, a tree that hangs) is said in `unmapped`, never raised. Raises StepFailedError where
    a node cannot be reached at all.
    """
    raise NotImplementedError


async def approximate(remote: Remote, request: Request) -> FileReport:
    """The same before anything is stopped: both sides may be mounted and in use, nothing is frozen and nothing is flushed.

    The bitmaps are read as they are on disk, which on 8.4 is how they were when the link was lost: files may be missing,
    and `approximate` says so. A tree that hangs is said in `unmapped`. Raises as `report`.
    """
    raise NotImplementedError


async def save_files(remote: Remote, request: Request, found: FileReport, into: Path) -> None:
    """Every name of `found.to_save()` from the victim's view into `into/files.tar` (gzip), and `into/files.json`: the report and the
    sha256 of every file, computed on the node and again from what arrived. Raises StepFailedError if they are not the same.
    """
    raise NotImplementedError


async def clear_views(remote: Remote, request: Request) -> None:
    """Take down what an interrupted run may have left on either node. Before the victim is connected; harmless if there is nothing."""
    raise NotImplementedError
