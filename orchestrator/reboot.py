"""A node is rebooted, and has come back when it answers with another boot id: no exit code says so."""

from __future__ import annotations

import anyio

from orchestrator.commands import Command, Effect
from orchestrator.errors import RefusedError
from orchestrator.remote import Remote
from states.goal import Kind, Refused

LIMIT = 300.0
"""Seconds a node may take to come back."""
AGAIN = 1.0
"""Seconds between two looks at a node that boots: nothing there can tell us yet."""
WORDS = {"modern": ("systemctl", "reboot"), "rhcs": ("/sbin/shutdown", "-r", "now")}
"""For each profile of a cluster."""


async def reboot(remote: Remote, node: str) -> None:
    """Reboot one node and wait until it answers with a new boot id. Raises RefusedError after LIMIT."""
    before = (await remote.look(node)).facts.boot_id
    await remote.transport.run(Command(node, WORDS[remote.config.cluster.profile], Effect.IDEMPOTENT, 30.0))
    with anyio.move_on_after(LIMIT):
        while True:
            facts = (await remote.look(node)).facts
            if facts.reachable and facts.boot_id != before:
                return
            await anyio.sleep(AGAIN)
    raise RefusedError(Refused("deadline", f"reboot {node}", f"it did not come back within {LIMIT:.0f} s", "look at its console",
                               Kind.DEADLINE))
