"""What tests of the original stack on the simulator begin with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import evolve

from fixtures.sim.clock import sleep
from fixtures.sim.rhcs.stack import RhcsStack
from fixtures.sim.stack.stage import Scene, play, stack_config
from orchestrator.config import Config
from orchestrator.stack_config import FenceSection

Act = Callable[[Scene], Awaitable[None]]


def old_config(*, token: int = 1000, fencing: bool = True) -> Config:
    base = stack_config(token=token, fencing=fencing)
    return evolve(base, cluster=evolve(base.cluster, name="NASCluster", profile="rhcs"))


def played(seed: int, act: Act, config: Config | None = None) -> Scene:
    return play(seed, act, config or old_config(), make=RhcsStack)


async def typed(scene: Scene, index: int, command: str) -> str:
    """A human at a node."""
    return (await scene.world.machines[index].run(("sh", "-c", command), pace=sleep)).stdout


def by_hand() -> Config:
    """method = "manual" for both: nobody is ever shot."""
    config = old_config()
    fence = FenceSection(method="manual")
    return evolve(config, node={name: evolve(node, fence=fence) for name, node in config.node.items()})
