"""The supervisor on simulated nodes: for each fault what it sees, what it decides, and what comes of it; and nothing is ever lost."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from fixtures.sim.clock import sleep
from fixtures.sim.seeds import NAMES
from fixtures.sim.stack.stage import Scene, play
from fixtures.sim.supervising import Watchman
from orchestrator.config import Config
from states.vocabulary import Layer, Resource

ONE, OTHER = NAMES
HERE = Path(__file__).parent / "supervised"
WRITE = bool(os.environ.get("SUPERVISED_WRITE"))
"""Write the goldens anew, and read the difference."""
SERVED = [f"samba on {name}" for name in NAMES]


def supervised(
    folder: Path, act: Callable[[Scene, Watchman], Awaitable[None]], config: Config | None = None, seed: int = 1
) -> tuple[Scene, Watchman]:
    """A cluster that was brought up, a supervisor that has watched it for a while, and what `act` does to both."""
    found: list[Watchman] = []

    async def live(scene: Scene) -> None:
        await scene.brought_up()
        watchman = Watchman(scene, folder)
        found.append(watchman)
        async with anyio.create_task_group() as group:
            group.start_soon(watchman.run)
            await anyio.sleep(20)
            assert not watchman.sent()
            await act(scene, watchman)
            group.cancel_scope.cancel()

    scene = play(seed, live, config)
    assert not scene.unknown()
    assert not scene.oracles.harms
    assert not found[0].destructive()
    return scene, found[0]


def whole(watchman: Watchman) -> bool:
    """The last picture shows a cluster that is as it should be, and nobody is alarmed."""
    picture = watchman.told.pictures[-1]
    layers = all(picture.state(machine) is Layer.UP for machine in SERVED)
    return picture.state("r0") is Resource.DUAL_PRIMARY and layers and not watchman.told.alarms


async def until_whole(watchman: Watchman, limit: float) -> None:
    """TimeoutError after so many seconds."""
    with anyio.fail_after(limit):
        while not whole(watchman):
            await sleep(0.5)


def is_golden(name: str, watchman: Watchman) -> None:
    """The story is the one that was read."""
    text = "\n".join(watchman.told.lines) + "\n"
    path = HERE / f"{name}.txt"
    if WRITE:
        path.write_text(text)
    assert path.read_text() == text


def test_at_rest_nothing_is_sent_and_the_lease_is_free(tmp_path: Path) -> None:
    async def act(scene: Scene, watchman: Watchman) -> None:
        await anyio.sleep(600)
        assert whole(watchman)
        assert watchman.sent() == []
        assert not any(dict(watchman.told.pictures[-1].leases).values())

    supervised(tmp_path, act)


def test_smbd_killed_is_started_again(tmp_path: Path) -> None:
    async def act(scene: Scene, watchman: Watchman) -> None:
        scene.stack.services.end(0, "smbd")
        await anyio.sleep(3)
        assert f"alarm layer-down:samba on {ONE}, warning" in watchman.told.lines
        await until_whole(watchman, 15)
        assert watchman.sent() == [f"start-layer:samba:{ONE}"]

    _, watchman = supervised(tmp_path, act)
    is_golden("smbd-killed", watchman)


def test_a_power_cut_is_seen_and_the_node_is_brought_back(tmp_path: Path) -> None:
    async def act(scene: Scene, watchman: Watchman) -> None:
        scene.stack.cut(1)
        await anyio.sleep(60)
        assert watchman.told.alarms == ["degraded:r0", f"node-off:{OTHER}"]
        assert watchman.sent() == []
        scene.world.power_on(1)
        await until_whole(watchman, 180)
        assert not scene.lost(0) + scene.lost(1)

    _, watchman = supervised(tmp_path, act)
    is_golden("power-cut", watchman)
