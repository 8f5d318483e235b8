"""`orchestrate verify`: do both sides hold the same data, block by block."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import anyio
import click

from orchestrator.cli.common import journal_path, known_resource, look_at_all, look_once, new_run, reaching, read_config, wall_clock
from orchestrator.cli.run import go, opened
from orchestrator.config import Config
from orchestrator.errors import ConfigError, RefusedError
from orchestrator.journal import Journal
from orchestrator.probes.verify import PER_BLOCK
from orchestrator.recovery.extents import Extents
from orchestrator.recovery.found import keep_found
from orchestrator.recovery.request import SaveRequest
from orchestrator.render import Screen
from orchestrator.verify import Verified
from orchestrator.verify import verify as compare
from states.goal import Direction, Ledger, Refused
from states.pair import Pair
from states.verify import not_repairable

SHOWN = 20
"""So many runs of blocks are printed; --json has all of them."""


@click.command()
@click.argument("resource")
@click.option("--repair", "bad", metavar="NODE", help="Where blocks differ, NODE's are saved and then overwritten with the other's.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.pass_obj
def verify(obj: dict[str, Path | None], resource: str, bad: str | None, as_json: bool, quiet: bool) -> int:
    """Compare every block of RESOURCE on both nodes, while they serve. Repairs nothing, unless told which side is wrong. Exit 10 if
    blocks differ."""
    config = read_config(obj)
    known_resource(config, resource)
    if bad is not None and bad not in config.storage:
        raise ConfigError(f"there is no node {bad} with storage in {config.path}; there are {', '.join(config.storage)}")
    with opened(obj, config, quiet=quiet) as (journal, screen):
        found = anyio.run(_verify, config, resource, journal, screen)
        if bad is not None and found.compared.blocks:
            found = _repair(config, found, bad, journal, screen)
    if as_json:
        click.echo(json.dumps(as_document(found)))
    elif not quiet:
        sys.stdout.write(in_words(found))
    return 10 if found.compared.blocks else 0


async def _verify(config: Config, resource: str, journal: Journal, screen: Screen) -> Verified:
    name, run_id = new_run()
    with screen:
        async with reaching(config) as remote:
            return await compare(remote, journal, config.goal(Direction.UP), config.wanted(resource), name, run_id, screen)


def _repair(config: Config, found: Verified, bad: str, journal: Journal, screen: Screen) -> Verified:
    """8.4 copies marked blocks when the two meet again: the bad side goes down, its blocks are kept, and it comes back. Then all is
    compared once more."""
    facts = anyio.run(look_once, config)
    wanted = config.wanted(found.resource)
    blocks = Extents.of(found.compared.runs)
    violation = not_repairable(Pair.of(facts, wanted, Ledger()), facts, bad, complete=blocks.blocks == found.compared.blocks)
    if violation is not None:
        raise RefusedError(Refused("repair-from-a-primary", f"repair {found.resource} on {bad}", *violation))
    screen.note(in_words(found).splitlines()[0])
    go(config, config.goal(Direction.DOWN, only=frozenset({bad})), journal, screen)
    into = (journal_path(config).parent / "archives" / f"{found.resource}-{bad}-{int(wall_clock())}.blocks").absolute()
    anyio.run(_keep, config, found.resource, bad, blocks, into)
    screen.note(f"{bad}'s blocks are kept in {into}")
    journal.write({"kind": "kept", "resource": found.resource, "node": bad, "place": str(into)})
    go(config, config.goal(Direction.UP), journal, screen)
    return anyio.run(_verify, config, found.resource, journal, screen)


async def _keep(config: Config, resource: str, bad: str, blocks: Extents, into: Path) -> None:
    """What the bad side has, now that it is Down."""
    async with reaching(config) as remote:
        facts = await look_at_all(remote)
        good = next(node for node in config.wanted(resource).nodes if node != bad)
        size = (facts.node(good).side(resource).size or 0) * 1024
        ids = {node: str(facts.node(node).side(resource).identifiers) for node in (bad, good)}
        request = SaveRequest(resource, config.resource[resource].minor, bad, good, config.disk_of(resource, bad),
                              config.disk_of(resource, good), ids[bad], ids[good])
        await keep_found(remote, request, blocks, size, into)


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
