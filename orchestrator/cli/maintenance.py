"""`orchestrate maintenance`: nodes that a supervisor leaves alone, until it is said otherwise."""

from __future__ import annotations

import getpass
from pathlib import Path

import anyio
import click

from orchestrator.cli.common import known_node, reaching, read_config
from orchestrator.config import Config
from orchestrator.errors import RefusedError, StepFailedError
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
    reason = " ".join(why.split()) or f"{getpass.getuser()} said so"
    nodes = (known_node(config, node),) if node is not None else config.names
    anyio.run(_stand, config, nodes, reason if what == "on" else "-")
    click.echo(f"{' and '.join(nodes)}: {'left alone' if what == 'on' else 'watched over'} from now on")
    return 0


async def _stand(config: Config, nodes: tuple[str, ...], words: str) -> None:
    """Tell each node. After all were told that could be: raises RefusedError for who was not reached, StepFailedError for who could
    not keep it."""
    missed: dict[str, str] = {}
    failed: dict[str, str] = {}

    async def one(name: str) -> None:
        outcome = await remote.stand(name, words)
        if not isinstance(outcome, Exited):
            missed[name] = str(outcome)
        elif outcome.code != 0:
            failed[name] = outcome.stderr.decode(errors="replace").strip() or f"exit {outcome.code}"

    async with reaching(config, compare=False) as remote, anyio.create_task_group() as group:
        for name in nodes:
            group.start_soon(one, name)
    if missed:
        raise RefusedError(Refused("unknown-is-not-down", "maintenance", _words(missed), "make it reachable, then the same again",
                                   Kind.UNREACHABLE))
    if failed:
        raise StepFailedError(f"maintenance: {_words(failed)}; mend that on the node, then the same again")


def _words(said: dict[str, str]) -> str:
    return "; ".join(f"{name}: {words}" for name, words in said.items())
