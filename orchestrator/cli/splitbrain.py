"""`orchestrate splitbrain`: what was saved before a split brain was resolved, shown and brought back. Reaches no node."""

from __future__ import annotations

import datetime as dt
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from orchestrator.cli.extract import extract
from orchestrator.recovery.archive import Archive
from orchestrator.recovery.manifest import Changed, Manifest
from orchestrator.render import console

ARCHIVE = click.Path(path_type=Path, exists=True, file_okay=False)


@click.group()
def splitbrain() -> None:
    """What was saved before a split brain was resolved: look at it, and bring it back."""


splitbrain.add_command(extract)


@splitbrain.command()
@click.argument("archive", type=ARCHIVE)
@click.option("--json", "as_json", is_flag=True, help="Print the manifest.")
@click.option("--verify", is_flag=True, help="Read all of it and compare its checksums.")
def show(archive: Path, as_json: bool, verify: bool) -> int:
    """What is in ARCHIVE: whose blocks, from when, how many, and whether the changed files are there by name."""
    found = Archive.open(archive)
    if verify:
        with bars() as told:
            found.verify(lambda done: told("checking the archive", done, found.manifest.length))
    if as_json:
        click.echo(json.dumps({**json.loads(found.manifest.to_json()), "verified_now": verify}, indent=1))
        return 0
    for line in describe(found.manifest):
        click.echo(line)
    if verify:
        click.echo("every checksum is right")
    return 0


@splitbrain.command()
@click.argument("archive", type=ARCHIVE)
@click.option("--to", "target", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=True,
              help="A device or an image file: a copy of the survivor's side from the time of the archive.")
def restore(archive: Path, target: Path) -> int:
    """Make the victim's image again, byte for byte, out of ARCHIVE and a copy of the survivor's."""
    from orchestrator.recovery.restore import restore as bring_back

    found = Archive.open(archive)
    with bars() as told:
        changed = bring_back(found, target, told)
    manifest = found.manifest
    what = f"{manifest.resource} as {manifest.victim.node} had it (sha256 {manifest.image_sha256})"
    click.echo(f"{target} is {what}" if changed else f"{target} was {what} already")
    return 0


def describe(manifest: Manifest) -> Iterator[str]:
    """A manifest for people."""
    saved = manifest.saved
    yield f"{manifest.resource}: what {manifest.victim.node} had and {manifest.survivor.node} had not"
    yield f"  taken          {_when(manifest.flushed)}, verified {_when(manifest.verified)}"
    yield f"  device         {_size(manifest.size)}"
    yield f"  saved          {saved.blocks} blocks ({_size(manifest.length)}) in {len(saved.runs)} runs"
    yield from _side("victim", manifest.victim)
    yield from _side("survivor", manifest.survivor)
    both = manifest.victim.extents & manifest.survivor.extents
    yield f"  both changed   {both.blocks} blocks"
    yield f"  image          sha256 {manifest.image_sha256}"
    if manifest.survivor_base_sha256:
        equal = manifest.survivor_base_sha256 == manifest.base_sha256
        words = "is the same on both" if equal else f"differs: {manifest.survivor.node} wrote elsewhere, too, before it was read"
        yield f"  all the rest   {words}"
    yield f"  changed files  {'saved by name too' if manifest.files is not None else 'not in here by name'}"


def _side(what: str, side: Changed) -> Iterator[str]:
    guess = f"; after a crash: up to {_size(side.inflated * 1024)} of it may be unchanged" if side.inflated else ""
    yield f"  {what:<14} {side.node} changed {side.extents.blocks} blocks ({_size(side.extents.kib * 1024)}){guess}"
    yield f"                 identifiers {side.identifiers}; {side.versions}"


def _when(at: float) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _size(count: int) -> str:
    return f"{count / 1024**2:.1f} MiB" if count >= 1024**2 else f"{count / 1024:.0f} KiB"


@contextmanager
def bars() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each thing that is done, on a terminal; elsewhere a line every ten seconds. On stderr."""
    out = console(sys.stderr)
    shown = Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(),
                     console=out, transient=True, disable=not out.is_terminal)
    tasks: dict[str, TaskID] = {}
    last = [time.monotonic()]

    def told(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = shown.add_task(what, total=total)
        shown.update(tasks[what], completed=done)
        if not out.is_terminal and time.monotonic() - last[0] > 10:
            last[0] = time.monotonic()
            out.print(f"{what}: {100 * done // max(total, 1)} %")

    with shown:
        yield told
