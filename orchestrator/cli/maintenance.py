"""`orchestrate maintenance`: nodes that a supervisor leaves alone, until it is said otherwise."""

from __future__ import annotations

import getpass
from pathlib import Path

import anyio
import click

from orchestrator.cli.common import reaching, read_config
from orchestrator.config import Config
from orchestrator.errors import ConfigError, RefusedError
from orchestrator.transport import Exited
from states.goal import Kind, Refused


@click.command()
@click.argument("what", type=click.Choice(["on", "off"]))
@click.argument("node", required=False)
@click.option("--why", default="", help="What for: shown by `status`.")
@click.pass_obj
def maintenance(obj: dict[str, Path | None], what: str, node: str | None, why: str) -> int:
    """Have `supervise` leave NODE alone (all nodes, if none is named): it repairs nothing there and alarms nobody about it. It is
    kept on the nodes, over reboots. What you type yourself (`up`, `down`, ...) does as always."""
    config = read_config(obj)
    if node is not None and node not in config.names:
        raise ConfigError(f"there is no node {node} in {config.path}; there are {', '.join(config.names)}")
    reason = " ".join(why.split()) or f"{getpass.getuser()} said so"
    nodes = (node,) if node is not None else config.names
    anyio.run(_stand, config, nodes, reason if what == "on" else "-")
    click.echo(f"{' and '.join(nodes)}: {'left alone' if what == 'on' else 'watched over'} from now on")
    return 0


async def _stand(config: Config, nodes: tuple[str, ...], words: str) -> None:
    """Tell each node. Raises RefusedError, after all were told that could be."""
    missed: dict[str, str] = {}

    async def one(name: str) -> None:
        outcome = await remote.stand(name, words)
        if not isinstance(outcome, Exited) or outcome.code != 0:
            missed[name] = outcome.stderr.decode(errors="replace").strip() if isinstance(outcome, Exited) else str(outcome)

    async with reaching(config, compare=False) as remote, anyio.create_task_group() as group:
        for name in nodes:
            group.start_soon(one, name)
    if missed:
        said = "; ".join(f"{name}: {why}" for name, why in missed.items())
        raise RefusedError(Refused("unknown-is-not-down", "maintenance", said, "make it reachable, then the same again", Kind.UNREACHABLE))
