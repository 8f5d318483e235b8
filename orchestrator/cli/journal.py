"""`orchestrate journal`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from orchestrator.cli.common import journal_path, read_config
from orchestrator.journal import open_intents, read
from orchestrator.render import draw_journal


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the records as JSON lines.")
@click.option("-n", "--last", type=click.IntRange(1), help="Only the last N records.")
@click.pass_obj
def journal(obj: dict[str, Path | None], as_json: bool, last: int | None) -> int:
    """What was intended on this cluster from this machine, what came of it, and why."""
    records = tuple(read(journal_path(read_config(obj))))
    shown = records[-last:] if last is not None else records
    if as_json:
        for record in shown:
            click.echo(json.dumps(record, sort_keys=True))
    else:
        draw_journal(shown, open_intents(records), sys.stdout)
    return 0
