"""`orchestrate splitbrain extract`: saved files out of an archive. Reaches no node."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("archive", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--file", "path", help="One file, by its path below the mount point, or by VG/LV/PATH.")
@click.option("--all", "everything", is_flag=True, help="All of them, into a new or empty folder.")
@click.option("--to", type=click.Path(path_type=Path), help="Where to: a new file (default: its own name, here), or a folder.")
def extract(archive: Path, path: str | None, everything: bool, to: Path | None) -> int:
    """Take files of the side that was discarded out of ARCHIVE, checked. Nothing that exists is written over."""
    from orchestrator.recovery.saved_files import SavedFiles, take_all, take_one

    if everything == (path is not None):
        raise click.UsageError("either --file PATH or --all was expected")
    saved = SavedFiles.read(archive)
    if path is not None:
        click.echo(take_one(saved, path, to))
    elif to is None:
        raise click.UsageError("--all needs --to FOLDER")
    else:
        click.echo(f"{take_all(saved, to)} names below {to}")
    return 0
