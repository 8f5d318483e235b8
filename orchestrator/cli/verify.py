"""`orchestrate verify`: do both sides hold the same data, block by block."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import anyio
import click

from orchestrator.cli.common import reaching, read_config, wall_clock
from orchestrator.cli.run import opened
from orchestrator.config import Config
from orchestrator.errors import ConfigError
from orchestrator.journal import Journal
from orchestrator.lease import holder
from orchestrator.probes.verify import PER_BLOCK
from orchestrator.render import Screen
from orchestrator.verify import Verified
from orchestrator.verify import verify as compare
from states.goal import Direction

SHOWN = 20
"""So many runs of blocks are printed; --json has all of them."""


@click.command()
@click.argument("resource")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.pass_obj
def verify(obj: dict[str, Path | None], resource: str, as_json: bool, quiet: bool) -> int:
    """Compare every block of RESOURCE on both nodes, while they serve. Repairs nothing. Exit 10 if blocks differ."""
    config = read_config(obj)
    if resource not in config.resource:
        raise ConfigError(f"there is no resource {resource} in {config.path}; there are {', '.join(config.resource)}")
    with opened(obj, config, quiet=quiet) as (journal, screen):
        found = anyio.run(_verify, config, resource, journal, screen)
    if as_json:
        click.echo(json.dumps(as_document(found)))
    elif not quiet:
        sys.stdout.write(in_words(found))
    return 10 if found.compared.blocks else 0


async def _verify(config: Config, resource: str, journal: Journal, screen: Screen) -> Verified:
    name = holder()
    run_id = f"{int(wall_clock() * 1000):x}-{name.split(':')[1]}"
    with screen:
        async with reaching(config) as remote:
            return await compare(remote, journal, config.goal(Direction.UP), config.wanted(resource), name, run_id, screen)


def as_document(found: Verified) -> dict[str, object]:
    """For --json. `runs`: first block and count, in blocks of 4 KiB; `complete`: they are all that differ."""
    compared = found.compared
    return {"resource": found.resource, "node": found.node, "blocks": compared.blocks, "runs": [list(run) for run in compared.runs],
            "complete": compared.complete, "out_of_sync_kib": found.marked, "seconds": round(found.seconds, 1)}


def in_words(found: Verified) -> str:
    """For people."""
    compared = found.compared
    if not compared.blocks:
        return f"{found.resource}: 0 blocks differ ({found.seconds:.0f} s)\n"
    lines = [f"{found.resource}: {compared.blocks} blocks ({compared.blocks * 4} KiB) differ; each is marked as out of sync on both nodes"]
    lines += [f"  from sector {first * PER_BLOCK}: {count} blocks" for first, count in compared.runs[:SHOWN]]
    if len(compared.runs) > SHOWN:
        lines.append(f"  ... and {len(compared.runs) - SHOWN} more places: --json has all of them")
    if not compared.complete:
        lines.append("  the kernel's log has forgotten some of the places")
    lines.append("nothing was repaired: which side is right, and how to mend the other: docs/split-brain.md, `suspect`")
    return "\n".join(lines) + "\n"
