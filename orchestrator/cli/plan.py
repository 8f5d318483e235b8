"""`orchestrate plan`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import anyio
import click

from orchestrator.cli.common import look_at_all, look_once, reaching, read_config
from orchestrator.cli.move import show_move
from orchestrator.config import Config
from orchestrator.errors import RefusedError
from orchestrator.render import draw_plan
from states.facts import ClusterFacts
from states.goal import Direction
from states.move import TARGETS
from states.plan import Plan
from states.plan import plan as make_plan


@click.command()
@click.option("--down", is_flag=True, help="Plan `down` instead of `up`.")
@click.option("--apply-config", is_flag=True, help="As `up --apply-config` would.")
@click.option("--to", type=click.Choice(TARGETS), help="Plan the move of a pair of profile rhcs to this one, for you to carry out.")
@click.option("--offline", is_flag=True, help="With --to: look at no node.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@click.pass_obj
def plan(obj: dict[str, Path | None], down: bool, apply_config: bool, to: str | None, offline: bool, as_json: bool) -> int:
    """What `up` would do now, step by step, and why. Changes nothing. Exit 0: nothing to do, 10: something to do."""
    if (to and (down or apply_config)) or (offline and not to):
        raise click.UsageError("--to stands alone, --offline beside --to")
    config = read_config(obj)
    if to:
        moved = offline or config.cluster.profile == to
        return show_move(config, None if moved else anyio.run(look_once, config), as_json=as_json, stream=sys.stdout)
    goal = config.goal(Direction.DOWN if down else Direction.UP, apply_config)
    found = make_plan(goal, anyio.run(_look, config))
    if as_json:
        click.echo(json.dumps(as_document(found), indent=2))
    else:
        draw_plan(found, sys.stdout)
    if found.refused is not None:
        raise RefusedError(found.refused)
    return 10 if found.items else 0


async def _look(config: Config) -> ClusterFacts:
    async with reaching(config) as remote:
        return await look_at_all(remote, zeros=True)


def as_document(found: Plan) -> dict[str, object]:
    """A plan for scripts."""
    items = [
        {"key": item.key, "what": item.what, "node": item.node or None, "resource": item.resource, "because": item.because,
         "needs": list(item.needs), "destructive": item.step.destructive if item.step else False}
        for item in found.items
    ]
    return {"items": items, "refused": str(found.refused) if found.refused else None, "warnings": list(found.warnings)}
