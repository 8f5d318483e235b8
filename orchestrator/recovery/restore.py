"""The victim's image again: an archive applied to a base.

The base is the survivor's image as it was when the victim's blocks were saved (a backup, a snapshot, a copy; none is needed for
an archive of the whole device). It may differ only in the saved blocks: everything else is checked before anything is written,
so that nothing ever becomes a silent mixture of the two. It can be broken off and done again at any moment. Blocking.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.errors import ConfigError, RefusedError, StepFailedError
from orchestrator.recovery.archive import Archive
from orchestrator.recovery.extents import Extents
from states.goal import Refused

PIECE = 4 * 1024 * 1024
"""Bytes read or written at once."""

Told = Callable[[str, int, int], None]
"""What is being done, bytes so far, bytes in all."""


def restore(archive: Archive, target: Path, told: Told) -> bool:
    """Make the device or image file `target` the victim's image; False: it was already. `target` may be longer than the image
    (DRBD's metadata is behind it): the rest is left alone.

    Raises RefusedError (rule restore-on-its-base) if the target is not the base this archive is for, is too short or in use;
    DamagedArchiveError; ConfigError where it cannot be opened; StepFailedError if what is there in the end is not the image.
    """
    manifest = archive.manifest
    with _opened(target) as handle:
        length = os.lseek(handle, 0, os.SEEK_END)
        if length < manifest.size:
            raise _refused(archive, target, f"it has {length} bytes, the image has {manifest.size}",
                           "name a device or file that is large enough")
        image, base = _checksums(handle, manifest.size, manifest.saved, told)
        if image == manifest.image_sha256:
            return False
        if base != manifest.base_sha256:
            raise _refused(
                archive, target,
                f"outside the saved blocks it has sha256 {base}, {manifest.survivor.node}'s image had {manifest.base_sha256}",
                f"name a copy of {manifest.resource} on {manifest.survivor.node} from the time of the archive; nothing was written")
        archive.verify(lambda done: told("checking the archive", done, manifest.length))
        _apply(handle, archive, told)
        image, _ = _checksums(handle, manifest.size, manifest.saved, told)
    if image != manifest.image_sha256:
        raise StepFailedError(f"restore to {target}: it has sha256 {image} now, {manifest.victim.node}'s image had "
                              f"{manifest.image_sha256}: a disk or a memory is failing, or somebody else writes to it")
    return True


@contextmanager
def _opened(target: Path) -> Iterator[int]:
    """For us alone: a device that is mounted or has a holder, and a file that another restore has, are refused."""
    try:
        handle = os.open(target, os.O_RDWR | (os.O_EXCL if target.is_block_device() else 0))
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise _in_use(target) from error
        raise ConfigError(f"restore to {target}: {os.strerror(error.errno or 0)}") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _in_use(target) from error
        yield handle
    finally:
        os.close(handle)


def _checksums(handle: int, size: int, saved: Extents, told: Told) -> tuple[str, str]:
    """sha256 of the image, and of the image with the saved blocks left out, from one reading."""
    image, base = hashlib.sha256(), hashlib.sha256()
    spans = [(offset, length, True) for offset, length in saved.spans(size)]
    spans += [(offset, length, False) for offset, length in (Extents.whole(size) - saved).spans(size)]
    for offset, length, left_out in sorted(spans):
        at = offset
        while at < offset + length:
            data = os.pread(handle, min(PIECE, offset + length - at), at)
            if not data:
                raise StepFailedError(f"the target ended at byte {at}, while it was read")
            image.update(data)
            if not left_out:
                base.update(data)
            at += len(data)
            told("checking the image", at, size)
    return image.hexdigest(), base.hexdigest()


def _apply(handle: int, archive: Archive, told: Told) -> None:
    """Write the saved blocks to their places; on the disk when it returns."""
    manifest = archive.manifest
    waiting, done = bytearray(), 0
    pieces = archive.pieces()
    for offset, length in manifest.saved.spans(manifest.size):
        at, end = offset, offset + length
        while at < end:
            if not waiting:
                waiting += next(pieces)
            written = os.pwrite(handle, waiting[:min(PIECE, end - at)], at)
            del waiting[:written]
            at += written
            done += written
            told("writing the saved blocks", done, manifest.length)
    os.fsync(handle)


def _in_use(target: Path) -> RefusedError:
    return RefusedError(Refused("restore-on-its-base", f"restore to {target}", "it is in use", "unmount it, or stop what has it open"))


def _refused(archive: Archive, target: Path, evidence: str, remedy: str) -> RefusedError:
    return RefusedError(Refused("restore-on-its-base", f"restore {archive.folder.name} to {target}", evidence, remedy))
