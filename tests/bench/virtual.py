"""How near `up` of the whole stack comes to its critical path where nothing else is going on: on the simulator's virtual clock.

Two real kernels on a busy machine take from each other what they need, and the ratio says as much of that as of the engine. Here
a process costs a node 80 ms, as in the lab, and all else its time; what is left over is the engine's own waiting.
"""

from __future__ import annotations

from attrs import evolve, frozen

from fixtures.bench import NODES, durations, longest
from fixtures.sim.clock import sleep
from fixtures.sim.runs import Life, MortalTransport
from fixtures.sim.stack.stage import QUICK, Scene, play
from orchestrator.cli.common import look_at_all
from orchestrator.cli.plan import as_document
from orchestrator.journal import read
from orchestrator.remote import Remote
from states.goal import Direction
from states.plan import plan

FORK = 0.08
"""Seconds a process costs a node: what was measured in the lab's kernels."""


@frozen
class VirtualRun:
    """One `up` from blank disks, virtual seconds, and what it said where it failed."""

    engine: float
    critical: float
    failed: str = ""


def virtual_up(seed: int) -> VirtualRun:
    """Blank disks to serving on both nodes, on simulated nodes of this seed."""
    found: list[VirtualRun] = []

    async def act(scene: Scene) -> None:
        world = scene.world
        remote = Remote(world.config, MortalTransport(world, "plan", {}, life=Life()), world.now)
        items = as_document(plan(world.config.goal(Direction.UP), await look_at_all(remote, zeros=True)))["items"]
        said = await scene.up()
        if said.code:
            found.append(VirtualRun(0.0, 0.0, said.text))
            return
        records = list(read(scene.operator.folder / "one.jsonl"))
        logs = {node: (await world.machines[index].run(("dmesg",), pace=sleep)).stdout for index, node in enumerate(NODES)}
        looks = max(record["ended"] - record["began"] for record in records if record["kind"] == "looked")
        critical = looks + longest(items, durations(records, items, logs, looks=True))  # type: ignore[arg-type]  # one log for each node, as the bench has them
        found.append(VirtualRun(records[-1]["at"] - records[0]["at"], critical))

    play(seed, act, tempo=evolve(QUICK, fork=FORK))
    return found[0]
