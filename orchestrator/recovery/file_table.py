"""The file report for people: a table, grouped by what became of the files."""

from __future__ import annotations

import datetime as dt
from typing import TextIO

from rich.table import Table
from rich.text import Text

from orchestrator.recovery.files import Change, Entry, FileChange, FileReport
from orchestrator.render import console

ORDER = (Change.BOTH, Change.CHANGED, Change.CREATED, Change.RENAMED, Change.DELETED, Change.ONLY, Change.DIFFERS)
EXPLAINED = {
    Change.CREATED: "created: or it was there, was changed there, and the other side deleted it",
    Change.ONLY: "only here: created there, or deleted on the other side",
    Change.DIFFERS: "differs: owner, times, mode or size; the node named is the one where it was touched later",
}


def draw_files(report: FileReport, stream: TextIO, most: int = 40) -> None:
    """Print the report; of each class at most `most` names, folders last."""
    out = console(stream)
    table = Table(title=f"files that differ: {report.victim} (victim), {report.survivor} (survivor)", title_justify="left")
    for heading in ("what", "where", "file", f"on {report.victim}", f"on {report.survivor}"):
        table.add_column(heading, overflow="fold")
    for change in ORDER:
        for node in (report.victim, report.survivor, ""):
            found = sorted((one for one in report.changes if one.change is change and one.node == node), key=lambda one: one.kind == "d")
            style = "bold red" if any(one in report.to_save() for one in found[:1]) else ""
            for one in found[:most]:
                table.add_row(Text(change.value, style), node or "both", Text(_name(one)), _stat(one.on_victim), _stat(one.on_survivor))
            if len(found) > most:
                table.add_row(Text(change.value, style), node or "both", f"... and {len(found) - most} more", "", "")
    out.print(table if report.changes else "no file differs")
    for change, words in EXPLAINED.items():
        if report.of(change):
            out.print(words, style="dim")
    for node, blocks in report.internals:
        out.print(f"filesystem internals on {node}: {blocks * 4} KiB that belong to no file (journals, allocation maps, freed blocks)")
    if report.approximate:
        out.print("approximate: while a node is Primary, its record of changed blocks lags behind; files may be missing", style="yellow")
    for why in report.unmapped:
        out.print(f"not looked into: {why}", style="yellow")
    for note in report.notes:
        out.print(f"note: {note}", style="yellow")


def _name(one: FileChange) -> str:
    """A name on one line, whatever is in it."""
    path = "/".join(part for part in (one.volume, one.path) if part) + ("/" if one.kind == "d" else "")
    shown = f"{path} (there: {one.was})" if one.was else path or "/"
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in shown)


def _stat(entry: Entry | None) -> str:
    if entry is None:
        return "-"
    when = dt.datetime.fromtimestamp(entry.mtime // 10**9, dt.UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"{entry.size} bytes, {when}"
