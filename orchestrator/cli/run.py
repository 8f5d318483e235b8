"""`orchestrate up` and `orchestrate down`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import anyio
import click

from orchestrator.cli.common import journal_path, reaching, read_config, wall_clock
from orchestrator.config import Config
from orchestrator.engine import Engine
from orchestrator.journal import Journal, open_intents
from orchestrator.lease import holder
from orchestrator.render import Screen, draw_status
from states.facts import ClusterFacts
from states.goal import Direction, Reached


@click.command()
@click.option("--apply-config", is_flag=True, help="Replace resource files on the nodes that differ from cluster.toml.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.pass_obj
def up(obj: dict[str, Path | None], apply_config: bool, as_json: bool, quiet: bool) -> int:
    """Bring every resource up on both nodes, in order. Run again, it goes on from what it sees; there already, it changes
    nothing. What it would do: `orchestrate plan`."""
    return _go(obj, Direction.UP, apply_config, as_json, quiet)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.pass_obj
def down(obj: dict[str, Path | None], as_json: bool, quiet: bool) -> int:
    """Take every resource down: both sides Secondary first, then both away."""
    return _go(obj, Direction.DOWN, apply_config=False, as_json=as_json, quiet=quiet)


def _go(obj: dict[str, Path | None], direction: Direction, apply_config: bool, as_json: bool, quiet: bool) -> int:
    from orchestrator.logs import open_log

    config = read_config(obj)
    log = open_log(obj["log"])
    screen = Screen(quiet=quiet, log=log)
    with Journal(journal_path(config), wall_clock) as journal:
        for intent in open_intents(journal.past):
            screen.note(f"an earlier run ended before it knew what came of {intent.key} ({intent.op}): looking")
        reached, facts, sent = anyio.run(_run, config, direction, apply_config, journal, screen)
    _tell(config, reached, facts, sent, as_json=as_json, quiet=quiet)
    return 0


async def _run(
    config: Config, direction: Direction, apply_config: bool, journal: Journal, screen: Screen
) -> tuple[Reached, ClusterFacts, int]:
    goal = config.goal(direction, apply_config)
    name = holder()
    run_id = f"{int(wall_clock() * 1000):x}-{name.split(':')[1]}"
    with screen:
        async with reaching(config) as remote:
            engine = Engine(remote, journal, goal, name, run_id, screen)
            reached = await engine.run()
            return reached, engine.facts, len(engine.ledger.sent)


def _tell(config: Config, reached: Reached, facts: ClusterFacts, sent: int, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        document: dict[str, Any] = {"reached": True, "steps_sent": sent, "warnings": list(reached.warnings)}
        click.echo(json.dumps(document))
        return
    for warning in reached.warnings:
        click.echo(f"warning: {warning}", err=True)
    if quiet:
        return
    if not sent:
        click.echo("already there: nothing was changed")
    draw_status(config, facts, sys.stdout)
