"""`orchestrate fence` and `orchestrate fence-ack`: a node is switched off, or a human says that it is."""

from __future__ import annotations

from pathlib import Path

import anyio
import click

from orchestrator.cli.common import ask, known_node, look_at_all, reaching, read_config
from orchestrator.commands import Command, Effect
from orchestrator.config import Config
from orchestrator.errors import ConfigError, RefusedError, StepFailedError
from orchestrator.remote import Remote
from orchestrator.stack.files import FENCE_PATH
from orchestrator.transport import Exited
from states.facts import ClusterFacts
from states.goal import Kind, Refused


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
    """From the first node that can. Raises RefusedError if none can be reached, StepFailedError if none succeeds."""
    async with reaching(config, compare=False) as remote:
        facts = await look_at_all(remote)
        shooters = [node.name for node in facts.nodes if node.reachable and node.name != victim and node.name in config.storage]
        if not shooters:
            raise RefusedError(Refused("unknown-is-not-down", f"fence {victim}", "no other node can be reached to do it from",
                                       f"switch {victim} off by hand", Kind.UNREACHABLE))
        said = ""
        for shooter in shooters:
            code, said = await _far(remote, shooter, "--node", victim, 90.0)
            if code == 0:
                return
        raise StepFailedError(f"fence {victim}: {said or 'the agent said nothing'}; "
                              f"if it has no power, say so: orchestrate fence-ack {victim}")


async def _acknowledge(config: Config, victim: str) -> list[str]:
    """Tell every node that can be reached. Raises RefusedError while the victim still answers."""
    async with reaching(config, compare=False) as remote:
        facts = await look_at_all(remote)
        shown = alive(facts, victim)
        if shown:
            raise RefusedError(Refused("unknown-is-not-down", f"fence-ack {victim}", f"it is not off: {shown}",
                                       f"switch it off first: orchestrate fence {victim}"))
        told = []
        for node in facts.nodes:
            if node.reachable and node.name in config.storage:  # who only votes has nothing that waits
                code, said = await _far(remote, node.name, "--ack", victim, 30.0)
                if code != 0:
                    raise StepFailedError(f"fence-ack {victim} on {node.name}: {said or f'exit {code}'}")
                told.append(node.name)
        if not told:
            raise RefusedError(Refused("unknown-is-not-down", f"fence-ack {victim}", "no other node can be reached",
                                       "make one reachable", Kind.UNREACHABLE))
        return told


def alive(facts: ClusterFacts, victim: str) -> str:
    """What shows that it runs: it was reached, or its DRBD talks to another node. Only silence on every way may mean "off"."""
    node = facts.node(victim)
    if node.reachable or "hangs" in node.why:
        return f"{victim} answers"
    for other in facts.nodes:
        for resource, side in other.sides:
            if other.name != victim and side.connected:
                return f"{resource} on {other.name} is connected to it"
    return ""


async def _far(remote: Remote, node: str, word: str, victim: str, limit: float) -> tuple[int, str]:
    outcome = await remote.transport.run(Command(node, (FENCE_PATH, word, victim), Effect.IDEMPOTENT, limit))
    if not isinstance(outcome, Exited):
        return 255, f"{node} was lost: {outcome}"
    words = (outcome.stderr or outcome.stdout).decode(errors="replace").strip()
    return outcome.code, f"{node}: {words}"
