"""The lab's scenarios of the same name on the simulator: a human as the fence, a dead BMC, and what a node that was away may not do."""

from __future__ import annotations

from functools import partial

import anyio
from attrs import evolve

from fixtures.sim.clock import sleep
from fixtures.sim.drbd.kernel import Written
from fixtures.sim.seeds import NAMES
from fixtures.sim.stack.stage import WHERE, Scene, play, stack_config
from orchestrator.config import Config
from orchestrator.stack.files import FENCE_PATH
from orchestrator.stack_config import FenceSection
from states.goal import Direction, Kind

ONE, OTHER = NAMES


async def fence(scene: Scene, index: int, *words: str) -> int:
    """What `orchestrate fence` (--node) and `fence-ack` (--ack) run on a node; its exit code."""
    return await scene.stack.shooting.run(index, " ".join((FENCE_PATH, *words)), "", {})


def by_hand() -> Config:
    """A human is the fence of both."""
    config = stack_config()
    return evolve(config, node={name: evolve(node, fence=FenceSection("manual")) for name, node in config.node.items()})


async def goes_on(scene: Scene, index: int) -> float:
    """Seconds until a write on that node is acknowledged."""
    began = scene.world.now()
    with anyio.fail_after(60):
        while scene.stack.volumes.write(index, WHERE, 1) is Written.WAITS:
            await sleep(0.1)
    return scene.world.now() - began


async def back(scene: Scene) -> None:
    """The network works, everything has power, and `up` takes it from there."""
    scene.wires(True)
    for index in (0, 1):
        scene.world.power_on(index)
    await scene.brought_up()
    assert not scene.lost(0)
    assert not scene.lost(1)


def test_a_human_is_the_fence() -> None:
    async def act(scene: Scene) -> None:
        await scene.brought_up()
        scene.wires(False)
        await anyio.sleep(60)  # of the virtual clock: nothing goes on by itself, however long
        for index, machine in enumerate(scene.world.machines):
            assert scene.stack.volumes.write(index, WHERE, index) is Written.WAITS
            first, *who = machine.files.read(f"/run/orchestrate/asked.{NAMES[1 - index]}").split()
            assert int(first) > 0
            assert set(who) == {"DRBD", "r0", "dlm"}
        scene.world.power_off(1)
        assert await fence(scene, 0, "--ack", OTHER) == 0
        assert await goes_on(scene, 0) < 5
        assert not scene.world.machines[0].files.exists(f"/run/orchestrate/asked.{OTHER}")
        await back(scene)

    scene = play(11, act, by_hand())
    assert not scene.stack.shooting.shots
    assert not scene.oracles.harms


def test_a_node_dies_with_its_management_controller() -> None:
    async def act(scene: Scene) -> None:
        await scene.brought_up()
        scene.stack.shooting.addresses.clear()  # no BMC answers
        scene.world.power_off(1)
        await anyio.sleep(60)  # of the virtual clock: nothing goes on by itself, however long
        assert scene.stack.volumes.write(0, WHERE, 0) is Written.WAITS
        assert "fence_ipmilan off failed" in scene.world.machines[0].files.read(f"/run/orchestrate/failed.{OTHER}")
        assert await fence(scene, 0, "--ack", OTHER) == 0
        assert await goes_on(scene, 0) < 5, "of locks and DRBD, one goes on only when the agent has given up"
        await back(scene)

    assert not play(12, act).oracles.harms


def test_a_node_that_was_away_does_not_serve_what_it_has_left() -> None:
    async def act(scene: Scene) -> None:
        await scene.brought_up()
        assert await fence(scene, 0, "--node", OTHER) == 0
        alone = partial(scene.operator.run, degraded=True)
        said = await alone()
        assert said.code == 0, said.text
        await goes_on(scene, 0)
        assert (await alone()).code == 0  # who has not looked since it went on alone cannot know of its new identifiers
        scene.world.power_off(0)
        scene.world.power_on(1)
        for run in (scene.up, alone):
            said = await run()
            assert said.refused is not None
            assert said.refused.kind is Kind.UNREACHABLE, said.text
        assert await fence(scene, 1, "--ack", ONE) == 0
        said = await alone()
        assert said.refused is not None
        assert (said.refused.rule, said.code) == ("no-start-alone-on-stale", 3), said.text
        assert "promote" not in " ".join(said.sent)
        await back(scene)

    assert not play(13, act).oracles.harms


def test_one_node_after_the_other_and_its_peer_serves() -> None:
    async def act(scene: Scene) -> None:
        await scene.brought_up()
        for index, name in enumerate(NAMES):
            peer = 1 - index
            async with anyio.create_task_group() as group:
                group.start_soon(scene.writer, peer, 2 + peer, 0.3)
                before = scene.stack.volumes.acked.count[peer]
                said = await scene.operator.run(Direction.DOWN, only=name)
                assert said.code == 0, said.text
                said = await scene.up()
                assert said.code == 0, said.text
                assert scene.stack.volumes.acked.count[peer] > before + 5
                group.cancel_scope.cancel()
        await back(scene)

    scene = play(14, act)
    assert not scene.stack.shooting.shots
    assert not scene.oracles.harms
