"""`orchestrate up`, `orchestrate down` and `orchestrate restart`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import click

from orchestrator.cli.common import journal_path, known_node, new_run, reaching, read_config, wall_clock
from orchestrator.config import Config
from orchestrator.engine import Engine
from orchestrator.errors import RefusedError
from orchestrator.journal import Journal, newest, open_intents
from orchestrator.reboot import reboot
from orchestrator.render import Screen, draw_status
from states.facts import ClusterFacts
from states.goal import Direction, Goal, Kind, Ledger, Reached
from states.undone import undone


@click.command()
@click.option("--apply-config", is_flag=True, help="Replace files on the nodes that differ from cluster.toml.")
@click.option("--degraded", is_flag=True, help="Do without a node that is known to be off (fence, fence-ack).")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.pass_obj
def up(obj: dict[str, Path | None], apply_config: bool, degraded: bool, as_json: bool, quiet: bool) -> int:
    """Bring everything up on both nodes, in order. Run again, it goes on from what it sees; there already, it changes
    nothing. What it would do: `orchestrate plan`."""
    config = read_config(obj)
    with opened(obj, config, quiet=quiet) as (journal, screen):
        outcome = go(config, config.goal(Direction.UP, apply_config, degraded=degraded), journal, screen)
    tell(config, *outcome, as_json=as_json, quiet=quiet)
    return 0


@click.command()
@click.option("--node", "only", help="Only this node; the other goes on serving.")
@click.option("--degraded", is_flag=True, help="Do without a node that is known to be off (fence, fence-ack).")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.pass_obj
def down(obj: dict[str, Path | None], only: str | None, degraded: bool, as_json: bool, quiet: bool) -> int:
    """Take everything down, in the reverse order: the shares first, both sides Secondary before either is away."""
    config = read_config(obj)
    goal = config.goal(Direction.DOWN, only=frozenset({known_node(config, only)} if only else ()), degraded=degraded)
    with opened(obj, config, quiet=quiet) as (journal, screen):
        outcome = go(config, goal, journal, screen)
    tell(config, *outcome, as_json=as_json, quiet=quiet)
    return 0


@click.command()
@click.option("--rolling", is_flag=True, required=True, help="One node after the other (there is no other way).")
@click.option("--reboot", is_flag=True, help="Reboot each node while it is down.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.pass_obj
def restart(obj: dict[str, Path | None], rolling: bool, reboot: bool, quiet: bool) -> int:
    """Each node in turn: down, rebooted if asked for, up again and UpToDate before the next. The other one serves."""
    config = read_config(obj)
    with opened(obj, config, quiet=quiet) as (journal, screen):
        go(config, config.goal(Direction.UP), journal, screen)  # nobody is taken away from a pair that is not whole
        for node in (*config.storage, *config.voters):
            go(config, config.goal(Direction.DOWN, only=frozenset({node})), journal, screen)
            if reboot:
                screen.note(f"{node} reboots")
                anyio.run(_reboot, config, node)
            outcome = go(config, config.goal(Direction.UP), journal, screen)
    tell(config, *outcome, as_json=False, quiet=quiet)
    return 0


@contextmanager
def opened(obj: dict[str, Path | None], config: Config, *, quiet: bool) -> Iterator[tuple[Journal, Screen]]:
    """The journal and the screen of one run; what an earlier one left open is said."""
    from orchestrator.logs import open_log

    screen = Screen(quiet=quiet, log=open_log(obj["log"]))
    with Journal(journal_path(config), wall_clock) as journal:
        for intent in open_intents(journal.past):
            screen.note(f"an earlier run ended before it knew what came of {intent.key} ({intent.op}): looking")
        yield journal, screen


Outcome = tuple[Reached, ClusterFacts, int]
"""What was reached, what is seen then, and how many steps were sent."""


def go(config: Config, goal: Goal, journal: Journal, screen: Screen) -> Outcome:
    """One run towards one goal. Raises what the engine raises."""
    return anyio.run(_run, config, goal, journal, screen)


async def _run(config: Config, goal: Goal, journal: Journal, screen: Screen) -> Outcome:
    name, run_id = new_run()
    ledger = Ledger(newest=newest(journal.past))
    with screen:
        async with reaching(config) as remote:
            engine = Engine(remote, journal, goal, name, run_id, screen, ledger)
            try:
                reached = await engine.run()
            except RefusedError as error:
                if error.refused.kind is not Kind.RULE and goal.direction is Direction.UP:
                    screen.note(f"left undone: {'; '.join(undone(goal, engine.facts))}")
                raise
            return reached, engine.facts, len(engine.ledger.sent)


async def _reboot(config: Config, node: str) -> None:
    async with reaching(config) as remote:
        await reboot(remote, node)


def tell(config: Config, reached: Reached, facts: ClusterFacts, sent: int, *, as_json: bool, quiet: bool) -> None:
    """What came of a run."""
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
