"""What the commands share: reading the configuration, reaching the nodes, and where the journal is."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import click

from orchestrator.config import Config, load
from orchestrator.errors import ConfigError, NotAgreedError
from orchestrator.lease import holder
from orchestrator.remote import Answer, Remote
from states.facts import ClusterFacts

if TYPE_CHECKING:
    from orchestrator.transport import Transport


def read_config(obj: dict[str, Path | None]) -> Config:
    """The configuration the command line names. Raises ConfigError before any connection is made."""
    return load(obj["config"] or Path("cluster.toml"))


def known_node(config: Config, name: str) -> str:
    """The node that was typed. Raises ConfigError for one that cluster.toml does not have."""
    if name not in config.names:
        raise ConfigError(f"there is no node {name} in {config.path}; there are {', '.join(config.names)}")
    return name


def known_resource(config: Config, name: str) -> str:
    """The resource that was typed. Raises ConfigError for one that cluster.toml does not have."""
    if name not in config.resource:
        raise ConfigError(f"there is no resource {name} in {config.path}; there are {', '.join(config.resource)}")
    return name


def new_run() -> tuple[str, str]:
    """This process as a lease names it, and the name of a run of its: other than those of all its others."""
    name = holder()
    return name, f"{int(wall_clock() * 1000):x}-{name.split(':')[1]}"


def ask(question: str) -> None:
    """Go on only if a human says so. Raises NotAgreedError if not, ConfigError where there is no terminal to ask on."""
    if not sys.stdin.isatty():
        raise ConfigError(f"nobody is there to be asked {question!r}: stdin is no terminal; sure of it? add --yes")
    if not click.confirm(question):
        raise NotAgreedError("nothing was done")


def make_transport(config: Config) -> Transport:
    """SSH to the nodes, as [ssh] and [node.*] say."""
    import random

    from orchestrator.ssh import Identity, SshTransport, Target, Timing

    ssh = config.ssh
    proxy = ssh.proxy_command
    targets = [
        Target(name, node.address, node.port, ssh.user, _proxy(config, proxy) if proxy else None, ssh.legacy or node.legacy)
        for name, node in config.node.items()
    ]
    identity = Identity(config.file(ssh.known_hosts), config.file(ssh.key) if ssh.key else None, ssh.agent)
    jitter = random.Random(os.getpid())  # noqa: S311 - spreads reconnects, guards nothing
    return SshTransport(targets, identity, Timing(connect=ssh.connect_timeout, keepalive=ssh.keepalive), lambda: jitter.uniform(0.05, 0.4))


def _proxy(config: Config, command: str) -> str:
    """A proxy command's first word may be a file beside cluster.toml."""
    first, _, rest = command.partition(" ")
    beside = config.file(first)
    return f"{beside} {rest}" if "/" in first and beside.exists() else command


@asynccontextmanager
async def reaching(config: Config, *, compare: bool = True) -> AsyncIterator[Remote]:
    """The nodes, for the length of one command; every connection is closed on the way out."""
    transport = make_transport(config)
    try:
        yield Remote(config, transport, anyio.current_time, compare)
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(5):
            await transport.aclose()


async def look_once(config: Config) -> ClusterFacts:
    """One look at every node, over connections of its own."""
    async with reaching(config) as remote:
        return await look_at_all(remote)


async def look_at_all(remote: Remote, *, zeros: bool = False) -> ClusterFacts:
    """One look at every node, all at once."""
    answers: dict[str, Answer] = {}

    async def one(name: str) -> None:
        answers[name] = await remote.look(name, zeros)

    async with anyio.create_task_group() as group:
        for name in remote.config.names:
            group.start_soon(one, name)
    return ClusterFacts(tuple(answers[name].facts for name in remote.config.names))


def journal_path(config: Config) -> Path:
    """Where this cluster's journal is: [cluster] journal, else below $XDG_STATE_HOME."""
    if config.cluster.journal:
        return config.file(config.cluster.journal)
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return state / "orchestrate" / config.cluster.name / "journal.jsonl"


def wall_clock() -> float:
    """Seconds since the epoch, for people who read the journal."""
    return time.time()
