"""A file system that grows on the simulator: also where `up` is killed on the way, and where a node is switched off meanwhile."""

from __future__ import annotations

import random

import pytest
from attrs import evolve

from fixtures.sim.runs import Life
from fixtures.sim.stack.contents import FileSystem, content_of, token_of
from fixtures.sim.stack.stage import Scene, play, stack_config
from fixtures.sim.stack.volumes import HEAD
from orchestrator.config import Config
from states import stack_rules

MIB = 2**20
CELL = 64 * 1024
"""KiB of a cell: nine of them are more than half a GiB."""


def wanting(size: str) -> Config:
    """The plainest cluster, with a volume of this size."""
    config = stack_config()
    return evolve(config, filesystem={name: evolve(one, size=size) for name, one in config.filesystem.items()})


def asks(scene: Scene, size: str) -> None:
    """Somebody writes another size into cluster.toml."""
    scene.world.config = wanting(size)


def sizes(scene: Scene) -> tuple[list[int], int]:
    """MiB of the volume in each kernel that has it, and of the file system."""
    head = content_of(scene.world.drbd.volumes[0].half(0).cells[HEAD])
    assert isinstance(head, FileSystem)
    kernels = [active.size // MIB for each in scene.stack.volumes.active for active in each.values()]
    return kernels, head.size // MIB


@pytest.mark.parametrize("seed", range(6))
def test_it_grows_while_both_write_and_nobody_withdraws(seed: int) -> None:
    async def act(scene: Scene) -> None:
        await scene.brought_up()
        assert sizes(scene) == ([100, 100], 100)
        for index in (0, 1):
            scene.stack.spawn(scene.writer, index, index, 0.5)
        asks(scene, "200M")
        said = await scene.up()
        assert (said.code, said.text) == (0, "")
        assert sizes(scene) == ([200, 200], 200)
        assert [one.words for one in scene.stack.log].count("gfs2_grow /opt") == 1
        assert (await scene.up()).sent == ()
        assert not any(mount.withdrawn for each in scene.stack.volumes.mounts for mount in each.values())
        asks(scene, "100M")
        said = await scene.up()
        assert said.code == 3
        assert "grow-only" in said.text
        asks(scene, "2000M")
        said = await scene.up()
        assert said.code == 4
        assert "has room for" in said.text
        assert sizes(scene) == ([200, 200], 200)

    scene = play(seed, act, wanting("100M"), cell_kib=CELL)
    assert not scene.unknown()
    assert not scene.lost(0)
    assert not scene.lost(1)


@pytest.mark.parametrize("seed", range(12))
def test_an_up_that_is_killed_anywhere_is_finished_by_the_next(seed: int) -> None:
    async def act(scene: Scene) -> None:
        await scene.brought_up()
        for index in (0, 1):
            scene.stack.spawn(scene.writer, index, index, 0.5)
        asks(scene, "200M")
        await scene.up(Life(random.Random(seed).randrange(1, 30)))
        said = await scene.up()
        assert (said.code, said.text) == (0, "")
        assert sizes(scene) == ([200, 200], 200)
        assert not any(mount.withdrawn for each in scene.stack.volumes.mounts for mount in each.values())

    assert not play(seed, act, wanting("100M"), cell_kib=CELL).unknown()


@pytest.mark.parametrize("seed", range(6))
def test_a_file_system_made_for_one_node_gets_a_journal_for_the_other(seed: int) -> None:
    async def act(scene: Scene) -> None:
        await scene.brought_up()
        assert (await scene.down()).code == 0
        volume, world = scene.world.drbd.volumes[0], scene.world
        head = content_of(volume.half(0).cells[HEAD])
        assert isinstance(head, FileSystem)
        token, pair = token_of(evolve(head, journals=1)), volume.pair
        for index in (0, 1):  # as if somebody had made it so before they used us
            cells = pair.halves[index].cells
            pair = pair.change(index, cells=(*cells[:HEAD], token, *cells[HEAD + 1:]))
        world.drbd.become(volume, pair, "under:somebody")
        said = await scene.up()
        assert (said.code, said.text) == (0, "")
        assert [one.words for one in scene.stack.log].count("gfs2_jadd -j 1 -J 32 /opt") == 1
        assert (await scene.up()).sent == ()

    assert not play(seed, act).unknown()


def test_without_the_guards_a_node_writes_past_the_end_and_withdraws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both of them taken away: the wait in the decision, and the rule that is asked again before the step is sent."""
    monkeypatch.setattr("states.stack._Way._ready_everywhere", lambda *_: True)
    monkeypatch.setattr(stack_rules, "LAYER_RULES", tuple(rule for rule in stack_rules.LAYER_RULES if rule.name != "all-see-the-size"))
    withdrawn: list[bool] = []

    async def act(scene: Scene) -> None:
        await scene.brought_up()
        for index in (0, 1):
            scene.stack.spawn(scene.writer, index, index, 0.1)
        asks(scene, "200M")
        await scene.up()
        withdrawn.append(any(mount.withdrawn for each in scene.stack.volumes.mounts for mount in each.values()))

    for seed in range(8):
        play(seed, act, wanting("100M"), cell_kib=CELL)
    assert any(withdrawn)
