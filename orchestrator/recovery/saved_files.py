"""The victim's changed files as files: `files.tar.gz` and `files.json` in the folder of an archive, and taking them out again.

In the tar archive a file is below its volume, VG/LV/path, or below the resource's name where there is no LVM. It is a plain
one: `tar --acls --xattrs -xzf files.tar.gz` works without this program. files.json has the report and each file's SHA-256.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

import anyio
from attrs import frozen

from orchestrator.commands import Command, Effect
from orchestrator.errors import OrchestrateError, StepFailedError
from orchestrator.recovery.archive import write_whole
from orchestrator.recovery.files import FileChange, FileReport
from orchestrator.recovery.site import SCRIPT, Request, Site, Unseen, said_of
from orchestrator.recovery.tree import TreeError, unpack
from orchestrator.remote import Remote
from orchestrator.transport import Exited

TAR, LIST = "files.tar.gz", "files.json"
PACK_LIMIT = 6 * 3600.0
"""Seconds that packing may take on the node: as long as the files need to come over."""
MOST = 1 << 42
"""Bytes of a tar archive at most."""


class NoSuchFileError(OrchestrateError):
    """What was asked for is not in the archive, is there more than once, or there is something in its way."""

    code = 2


@frozen
class SavedFiles:
    """What was saved. `sums`: name in the tar archive -> SHA-256, of the regular files. `names`: everything in it."""

    tar: Path
    names: tuple[str, ...]
    sums: dict[str, str]

    @classmethod
    def read(cls, folder: Path) -> SavedFiles:
        """What an archive's folder has. NoSuchFileError if there are no saved files in it."""
        try:
            data = json.loads((folder / LIST).read_text())
            return cls(folder / TAR, tuple(data["names"]), dict(data["sha256"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise NoSuchFileError(f"{folder}: no saved files: {error}") from error

    def find(self, path: str) -> str:
        """The name in the tar archive of PATH: that itself, or a path below a mount point if only one volume has it."""
        wanted = path.strip("/")
        found = [name for name in self.names if name == wanted] or [
            name for name in self.names if wanted in (name.partition("/")[2], name.partition("/")[2].partition("/")[2])]
        if len(found) != 1:
            why = f"is there more than once: {', '.join(found)}" if found else "is not among the saved files"
            raise NoSuchFileError(f"{path} {why}; `tar -tzf {self.tar}` lists them")
        return found[0]


async def save_files(remote: Remote, request: Request, found: FileReport, into: Path) -> SavedFiles:
    """Every name of `found.to_save()` from the victim's view into the folder `into`. The SHA-256 of each file is computed on the
    node and again from what arrived. The list is written last: without it nothing was saved.

    The victim's DRBD has to be down, or Secondary with nothing mounted. StepFailedError if the view cannot be had, a file
    cannot be read there, or the sums are not the same.
    """
    site = Site(remote, request.victim, request.resource)
    try:
        await site.open()
        chosen = _chosen(site, found)
        sums = await _sums(site, [name for name, one in chosen if one.kind == "f"])
        await _pull(site, [name for name, _ in chosen], into / TAR)
    except (Unseen, TreeError) as why:
        raise StepFailedError(f"the changed files of {request.victim} could not be saved: {why}") from why
    finally:
        await site.close()
    arrived = await anyio.to_thread.run_sync(_sums_of, into / TAR)
    if wrong := sorted(name for name in sums.keys() | arrived.keys() if sums.get(name) != arrived.get(name)):
        raise StepFailedError(f"{len(wrong)} saved files are not what {request.victim} has, the first: {wrong[0]!r}; save again")
    names = [name for name, _ in chosen]
    document = {"names": names, "sha256": sums, "report": found.document()}
    await anyio.to_thread.run_sync(write_whole, into / LIST, (json.dumps(document, indent=1) + "\n").encode())
    return SavedFiles(into / TAR, tuple(names), sums)


def _chosen(site: Site, found: FileReport) -> list[tuple[str, FileChange]]:
    """Names in the view, sorted. Unseen if a volume of the report is not in the view."""
    if not site.viewed:
        raise Unseen("; ".join(site.unmapped) or f"{', '.join(one.where for one in site.mounted.values())} is mounted on {site.node}")
    if missing := {one.volume for one in found.to_save()} - site.mounted.keys():
        raise Unseen("; ".join(site.unmapped) or f"{', '.join(sorted(missing))} is not there any more")
    named = ((f"{site.folder(one.volume)}/{one.path}".rstrip("/"), one) for one in found.to_save() if one.kind != "s")  # tar has no sockets
    return sorted(named, key=lambda pair: pair[0])


async def _keep(site: Site, names: list[str]) -> None:
    await site.ask(("keep_names", site.resource), stdin=b"".join(os.fsencode(f"./{name}") + b"\0" for name in names))


async def _sums(site: Site, names: list[str]) -> dict[str, str]:
    if not names:
        return {}
    await _keep(site, names)
    sums = unpack(await site.ask(("sums", site.resource, "3600"), 3700)).decode().split()
    if len(sums) != len(names):
        raise Unseen(f"{len(sums)} of {len(names)} files could be read")
    return dict(zip(names, sums, strict=True))


async def _pull(site: Site, names: list[str], into: Path) -> None:
    await _keep(site, names)
    command = Command(site.node, ("sh", "-c", f"{SCRIPT}\npack {site.resource}"), Effect.READ, PACK_LIMIT)
    async with await anyio.open_file(into, "wb") as file, site.remote.transport.pull(command, MOST) as pulled:
        async for piece in pulled:
            await file.write(piece)
        outcome = pulled.outcome
        await file.flush()
        await anyio.to_thread.run_sync(os.fsync, file.wrapped.fileno())
    if not isinstance(outcome, Exited) or outcome.code:
        raise Unseen(f"tar did not end well: {said_of(outcome)}")


def _sums_of(tar: Path) -> dict[str, str]:
    """Of every file in a tar archive, hard links under each of their names."""
    found: dict[str, str] = {}
    with _opened(tar) as members:
        for member in members:
            name = member.name.removeprefix("./")
            if member.islnk():
                found[name] = found[member.linkname.removeprefix("./")]
            elif member.isreg() and (source := members.extractfile(member)) is not None:
                found[name] = hashlib.file_digest(source, "sha256").hexdigest()  # type: ignore[arg-type]  # extractfile gives a reader, typed as IO
    return found


# -- taking out --------------------------------------------------------------------------------------------------------

def take_one(saved: SavedFiles, path: str, to: Path | None) -> Path:
    """One regular file out of an archive, checked against its sum; where it is now. Nothing that exists is written over."""
    name = saved.find(path)
    target = to if to is not None else Path(PurePosixPath(name).name)
    if name not in saved.sums:
        raise NoSuchFileError(f"{path} is no regular file; take everything with --all")
    with _opened(saved.tar) as tar, _new(target) as file:
        source = tar.extractfile(next(member for member in tar if member.name.removeprefix("./") == name))
        assert source is not None  # noqa: S101 - it has a sum, so it is a file or a link to one
        digest = hashlib.sha256()
        while piece := source.read(1 << 20):
            digest.update(piece)
            file.write(piece)
        if digest.hexdigest() != saved.sums[name]:
            raise StepFailedError(f"{name} in {saved.tar} is damaged: its SHA-256 is not the one in {LIST}")
    return target


def take_all(saved: SavedFiles, to: Path) -> int:
    """Everything into a folder that is new or empty, checked; how many names. Owners are kept for root, ACLs are not."""
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise NoSuchFileError(f"{to} is not an empty folder")
    to.mkdir(parents=True, exist_ok=True)
    with _opened(saved.tar) as tar:
        tar.extractall(to, _inside(tar), **KEEP_INSIDE)  # noqa: S202 - every member was looked at
    for name, wanted in saved.sums.items():
        with (to / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != wanted:
                raise StepFailedError(f"{name} in {saved.tar} is damaged: its SHA-256 is not the one in {LIST}")
    return len(saved.names)


KEEP_INSIDE: dict[str, Any] = {"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}
"""Python 3.11.4 and newer look after it themselves, too."""


def _inside(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Every member, as long as none leads out of the folder. StepFailedError for one that does: it is not one of ours."""
    links: set[PurePosixPath] = set()
    for member in tar.getmembers():
        for name in (member.name, *((member.linkname,) if member.islnk() else ())):
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or links.intersection(path.parents):
                raise StepFailedError(f"{member.name!r} leads out of the folder: this is not an archive of saved files")
        if member.issym():
            links.add(PurePosixPath(member.name))
        yield member


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    """A tar archive; on the way out it was read to its very end, where gzip's own checksum is."""
    try:
        with gzip.open(path) as packed:
            with tarfile.open(fileobj=packed) as tar:
                yield tar
            while packed.read(1 << 20):
                pass
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, KeyError) as error:
        raise StepFailedError(f"{path} is damaged: {error}") from error
    except OSError as error:
        raise NoSuchFileError(f"{error.filename or path}: {error.strerror or error}") from error


@contextmanager
def _new(target: Path) -> Iterator[IO[Any]]:
    """A file that was not there; gone again if something goes wrong."""
    if os.path.lexists(target):
        raise NoSuchFileError(f"{target} is there already")
    with target.open("xb") as file:
        try:
            yield file
        except BaseException:
            target.unlink()
            raise
