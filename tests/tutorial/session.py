"""Where the tutorial is executed: the how-to's pair as simulated nodes behind real SSH, and `orchestrate` in processes of its own.

Its cluster.toml is fixtures/seed's. Only the way to the nodes is another: addresses and ports of sshd, the key, where the journal is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from fixtures.sim.clock import sleep
from fixtures.sim.stage import ADDRESSES, NAMES, Staging, stage
from fixtures.sim.world import World
from tests.tutorial.page import Typed

ROOT = Path(__file__).parents[2]
SEED = ROOT / "fixtures" / "seed" / "cluster.toml"
PAIR = Staging(cells=9, mib=112, cell=0.01, fork=0.0005, profile="rhcs", slow=0.05)
"""Nine such cells hold the volume of 900 MiB."""
PATIENCE = 240.0


def seed(staging: Staging, name: str, key: str, ports: tuple[int, int]) -> str:
    """The how-to's cluster.toml, with the way to the simulated nodes."""
    text = SEED.read_text()
    changes = [('key = "~/.ssh/id_rsa"', f'key = "{key}"\nknown_hosts = "{Path(key).with_name("known_hosts")}"'),
               ('profile = "rhcs"\n', 'profile = "rhcs"\njournal = "journal.jsonl"\n')]
    for number, address, port in zip((18, 19), ADDRESSES, ports, strict=True):
        old = f'address = "192.168.0.{number}"'
        changes.append((old, f'address = "{address}"\nport = {port}\nreplication_{old}'))
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


class Session:
    """One reader, from the first block to the last."""

    def __init__(self, folder: Path, world: World) -> None:
        self.folder, self.world = folder, world
        script = folder / "bin" / "orchestrate"
        script.parent.mkdir()
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m orchestrator "$@"\n')
        script.chmod(0o755)
        self.env = os.environ | {"PATH": f"{script.parent}:{os.environ['PATH']}", "COLUMNS": "140", "LC_ALL": "C.UTF-8",
                                 "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))}

    async def type(self, typed: Typed) -> str:
        """What comes out of it, complaints included."""
        with anyio.fail_after(PATIENCE):
            if typed.prompt == "$":
                done = await anyio.run_process(("bash", "-c", f"exec 2>&1; {typed.text}"), check=False, cwd=self.folder, env=self.env)
                return done.stdout.decode()
            machine = self.world.machines[NAMES.index(typed.prompt.rstrip("#"))]
            ran = await machine.run(("sh", "-c", typed.text), pace=sleep)
            return ran.stdout + ran.stderr


@asynccontextmanager
async def session(folder: Path) -> AsyncIterator[Session]:
    """Blank nodes. What they were asked for and is not modelled fails."""
    async with anyio.create_task_group() as group:
        (_, world, _), = await stage(folder, PAIR, group, write=seed)
        yield Session(folder, world)
        unknown = [what for machine in world.machines for what in machine.unknown]
        assert not unknown, unknown
        group.cancel_scope.cancel()
