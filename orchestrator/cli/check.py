"""`orchestrate check`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import click
from attrs import asdict

from orchestrator.cli.common import look_at_all, reaching, read_config
from orchestrator.commands import Command, Effect
from orchestrator.config import Config
from orchestrator.remote import Remote
from orchestrator.render import draw_findings
from orchestrator.stack.files import FENCE_PATH
from orchestrator.transport import Exited
from states.boot import BootFacts
from states.check import exit_code, findings
from states.facts import ClusterFacts
from states.finding import Finding, Weight
from states.goal import Direction

SLACK = 4.0
"""Seconds by which fence_delay has to exceed an agent's time: two nodes notice a cut at different moments, and switching off takes
longer than asking. Simulated: 5 s of delay and agents of up to 8 s killed both in 1 of 40 cuts, 10 s in none."""


@click.command()
@click.option("--test-fencing", is_flag=True, help="Also ask each node's fence agent, from every other node, whether that node is on.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_obj
def check(obj: dict[str, Path | None], test_fencing: bool, as_json: bool) -> int:
    """Hazards, drift and half-truths, each with evidence and remedy. Changes nothing. Exit 0: nothing found, 3: something is
    dangerous or would be refused, 6: a node could not be seen."""
    config = read_config(obj)
    found = anyio.run(_check, config, test_fencing)
    if as_json:
        click.echo(json.dumps([{**asdict(one), "weight": one.weight.value} for one in found], indent=2))
    else:
        draw_findings(found, sys.stdout)
    return exit_code(found)


async def _check(config: Config, test_fencing: bool) -> tuple[Finding, ...]:
    async with reaching(config) as remote:
        facts = await look_at_all(remote, zeros=True)
        tested = await _test_fencing(remote, facts) if test_fencing else ()
        return (*tested, *old_ssh(config), *findings(config.goal(Direction.UP), facts, await _boots(remote, facts)))


def old_ssh(config: Config) -> Iterator[Finding]:
    """What `legacy` gives up, of each node it is said of: it is for sshd 5.3 to 7.4, and nobody takes it back when the node is replaced."""
    for name, node in config.node.items():
        if config.ssh.legacy or node.legacy:
            section = f"[node.{name}]" if node.legacy else "[ssh]"
            yield Finding(Weight.NOTE, name, "SSH to it also takes SHA-1 key exchanges and CBC ciphers, as sshd 5.3 to 7.4 may need",
                          f"legacy = true in {section}", "reach it over a network you trust; once its sshd is newer, take that line out")


async def _boots(remote: Remote, facts: ClusterFacts) -> tuple[BootFacts, ...]:
    """What a boot starts, of every node that answered; all at once."""
    seen: dict[str, BootFacts] = {}

    async def one(name: str) -> None:
        seen[name] = await remote.boot(name)

    async with anyio.create_task_group() as group:
        for node in facts.nodes:
            if node.reachable:
                group.start_soon(one, node.name)
    return tuple(seen[node.name] for node in facts.nodes if node.name in seen)


async def _test_fencing(remote: Remote, facts: ClusterFacts) -> tuple[Finding, ...]:
    """Every node's agent asked from every other node that can be seen; all at once."""
    found: list[Finding] = []

    delay = remote.config.corosync.fence_delay

    async def ask(shooter: str, victim: str) -> None:
        began = anyio.current_time()
        outcome = await remote.transport.run(Command(shooter, (FENCE_PATH, "--status", victim), Effect.READ, 60.0))
        took = anyio.current_time() - began
        if isinstance(outcome, Exited) and outcome.code == 0:
            if took + SLACK > delay:
                found.append(Finding(Weight.PROBLEM, shooter, f"the agent for {victim} is slow: both nodes may be shot",
                                     f"it took {took:.1f} s to answer, fence_delay is {delay:g} s",
                                     f"fence_delay = {took + 2 * SLACK:.0f} or more in [corosync]"))
            return
        words = (outcome.stderr or outcome.stdout).decode(errors="replace").strip() if isinstance(outcome, Exited) else str(outcome)
        found.append(Finding(Weight.DANGER, shooter, f"it could not fence {victim}", words or "the agent said nothing",
                             f"mend [node.{victim}.fence], its power device or the way to it, then test again"))

    async with anyio.create_task_group() as group:
        for node in facts.nodes:
            for victim in remote.config.names:
                if node.reachable and node.name != victim:
                    group.start_soon(ask, node.name, victim)
    return tuple(found)
