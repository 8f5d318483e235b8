"""`orchestrate fence` and `orchestrate fence-ack`: a node is switched off, or a human says that it is."""

from __future__ import annotations

from pathlib import Path

import anyio
import click

from orchestrator.cli.common import ask, known_node, look_at_all, reaching, read_config
from orchestrator.config import Config
from orchestrator.errors import ConfigError
from orchestrator.stack.off import acknowledge, switch_off


@click.command()
@click.argument("node")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def fence(obj: dict[str, Path | None], node: str, yes: bool) -> int:
    """Switch NODE off with its fence agent, from another node, and let that one's locks and disks go on."""
    config = _config(obj, node)
    if not yes:
        ask(f"Switch {node} off now?")
    anyio.run(_fence, config, node)
    click.echo(f"{node} is off; the other nodes go on. `orchestrate up` takes it back when it has booted.")
    return 0


@click.command(name="fence-ack")
@click.argument("node")
@click.option("--yes", is_flag=True, help="Do not ask: I have seen that it is off.")
@click.pass_obj
def fence_ack(obj: dict[str, Path | None], node: str, yes: bool) -> int:
    """Say that NODE is off: you have switched it off, or seen that it has no power. Wrong, and both nodes write."""
    config = _config(obj, node)
    if not yes:
        ask(f"Have you seen with your own eyes that {node} has no power?")
    told = anyio.run(_acknowledge, config, node)
    click.echo(f"{node} counts as off on {' and '.join(told)}. Nobody serves alone yet? `orchestrate up --degraded`")
    return 0


def _config(obj: dict[str, Path | None], node: str) -> Config:
    config = read_config(obj)
    if config.node[known_node(config, node)].fence is None:
        raise ConfigError(f"{config.path}: no fencing is configured for {node}; give each node a [node.NAME.fence] "
                          "(docs/configuration.md), then `orchestrate up`")
    return config


async def _fence(config: Config, victim: str) -> None:
    async with reaching(config, compare=False) as remote:
        await switch_off(remote, await look_at_all(remote), victim)


async def _acknowledge(config: Config, victim: str) -> list[str]:
    async with reaching(config, compare=False) as remote:
        return await acknowledge(remote, await look_at_all(remote), victim)
