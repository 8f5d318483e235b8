"""Our own read-only view of a backing disk is nobody who could have changed it; anything else of that kind is."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest

from fixtures.sim.stack.stage import Scene, play, stack_config
from fixtures.sim.transport import SimTransport
from orchestrator.remote import Remote
from states.facts import Side


def line(text: str) -> Callable[[], str]:
    return lambda: f"{text}\n"


@pytest.mark.parametrize(
    ("name", "ro", "counts"),
    [("orchestrate-save-r0", "1", False), ("orchestrate-save-r0", "0", True), ("orchestrate-save-r1", "1", True), ("vg-opt", "1", True)],
)
def test_who_has_a_backing_disk(name: str, ro: str, counts: bool) -> None:
    seen: list[Side] = []

    async def act(scene: Scene) -> None:
        await scene.brought_up()
        await scene.down()
        machine, home = scene.world.machines[0], scene.world.drbd.volumes[0]
        for path, text in {"dm/name": name, "ro": ro, "dev": "254:7"}.items():
            machine.files.live[f"/sys/class/block/dm-7/{path}"] = line(text)
        scene.world.drbd.become(home, home.pair.change(0, holder="dm-7"), "a view")
        remote = Remote(stack_config(), SimTransport(scene.world, "one"), anyio.current_time)
        for _ in range(2):  # what a look with the lease saw is kept on the node for the next
            seen.append((await remote.lease("linux-nas01", "one")).facts.side("r0"))
        scene.world.drbd.become(home, home.pair.change(0, holder=""), "it goes")
        seen.append((await remote.look("linux-nas01")).facts.side("r0"))

    play(0, act)
    assert [("dm-7" in side.holders) for side in seen] == [counts, counts, False]
    assert seen[-1].touched == counts
