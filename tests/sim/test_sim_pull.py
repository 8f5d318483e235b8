"""Bytes from a simulated node."""

from __future__ import annotations

from fixtures.sim.stack.stage import Scene, play
from fixtures.sim.transport import SimTransport
from orchestrator.commands import Command
from orchestrator.transport import Exited, Outcome, Why
from tests.ssh.helpers import unknown


def test_bytes_code_and_limit() -> None:
    found: list[tuple[bytes, Outcome | None]] = []

    async def act(scene: Scene) -> None:
        nodes = SimTransport(scene.world, "one")
        for script, most in (("printf abc; exit 3", 10), ("printf abc", 2), ("true", 0)):
            async with nodes.pull(Command("linux-nas01", ("sh", "-c", script)), most) as pulled:
                assert pulled.outcome is None
                data = b"".join([piece async for piece in pulled])
                found.append((data, pulled.outcome))

    play(0, act)
    assert found[0] == (b"abc", Exited(3, b"", b""))
    assert found[1][0] == b"ab"
    assert found[1][1] is not None
    unknown(found[1][1], Why.TOO_LONG)
    assert found[2] == (b"", Exited(0, b"", b""))
