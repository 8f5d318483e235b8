"""The supervisor on simulated nodes: for each fault what it sees, what it decides, and what comes of it; and nothing is ever lost.

Every `sleep` here is on the virtual clock.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest
from attrs import evolve

from fixtures.sim.clock import sleep
from fixtures.sim.drbd import kernel
from fixtures.sim.seeds import NAMES
from fixtures.sim.stack.stage import Scene, play, stack_config
from fixtures.sim.supervising import Watchman
from orchestrator.config import Config
from orchestrator.journal import read
from orchestrator.supervise_config import SuperviseSection
from states.alarm import Severity
from states.picture import Picture
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


async def until_whole_again(watchman: Watchman, limit: float) -> None:
    """As `until_whole`, once something was seen to be wrong. TimeoutError after so many seconds."""
    with anyio.fail_after(limit):
        while whole(watchman):
            await sleep(0.1)
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


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_alarm_stays_until_its_cause_was_seen_to_be_gone(tmp_path: Path, seed: int) -> None:
    """While the node comes back r0 is Unknown at times, then copied, and the repair is our own: it is not whole before two serve it."""
    async def act(scene: Scene, watchman: Watchman) -> None:
        scene.stack.cut(1)
        await anyio.sleep(60)
        assert "degraded:r0" in watchman.told.alarms
        scene.world.power_on(1)
        with anyio.fail_after(180):
            while watchman.told.pictures[-1].state("r0") is not Resource.DUAL_PRIMARY:
                assert any(key.endswith(":r0") for key in watchman.told.alarms), watchman.told.lines[-5:]
                await sleep(0.05)
        await until_whole(watchman, 60)

    supervised(tmp_path, act, seed=seed)


# -- each fault: seen, decided, and what came of it ------------------------------------------------------------------------

def test_a_replication_cut_costs_one_node_which_is_brought_back(tmp_path: Path) -> None:
    """Both lose each other: one is switched off by the other, and comes back once the wire works."""
    async def act(scene: Scene, watchman: Watchman) -> None:
        scene.wires(False)
        await anyio.sleep(60)
        assert scene.power() == (True, False)
        assert watchman.told.alarms == ["degraded:r0", f"node-off:{OTHER}"]
        scene.wires(True)
        scene.world.power_on(1)
        await until_whole(watchman, 180)

    _, watchman = supervised(tmp_path, act)
    is_golden("replication-cut", watchman)


def test_a_management_cut_is_alarmed_and_nothing_is_done(tmp_path: Path) -> None:
    async def act(scene: Scene, watchman: Watchman) -> None:
        scene.world.management(1, False)
        await anyio.sleep(60)
        picture = watchman.told.pictures[-1]
        assert watchman.told.alarms == [f"node-unreachable:{OTHER}"]
        assert next(alarm.severity for alarm in picture.alarms) is Severity.WARNING, "its DRBD is connected: it lives"
        assert watchman.sent() == []
        scene.world.management(1, True)
        await until_whole(watchman, 90)
        assert watchman.sent() == []

    _, watchman = supervised(tmp_path, act)
    is_golden("management-cut", watchman)


def test_what_fails_where_it_cannot_be_seen_waits_until_it_can(tmp_path: Path) -> None:
    """smbd dies on a node that cannot be reached; beside it nothing shared is touched, either."""
    async def act(scene: Scene, watchman: Watchman) -> None:
        scene.world.management(1, False)
        await anyio.sleep(30)
        scene.stack.services.end(1, "smbd")
        scene.stack.services.end(0, "smbd")
        await anyio.sleep(60)
        assert watchman.sent() == []
        scene.world.management(1, True)
        await until_whole(watchman, 120)
        assert sorted(watchman.sent()) == [f"start-layer:samba:{name}" for name in NAMES]

    supervised(tmp_path, act)


def test_both_networks_cut(tmp_path: Path) -> None:
    """One node is shot by the other, and nobody sees the other one for a while."""
    async def act(scene: Scene, watchman: Watchman) -> None:
        for index in (0, 1):
            scene.world.management(index, False)
        scene.wires(False)
        await anyio.sleep(60)
        assert watchman.told.alarms == [f"node-unreachable:{ONE}", f"node-unreachable:{OTHER}"]
        assert watchman.sent() == []
        scene.world.management(0, True)
        await anyio.sleep(60)
        assert f"node-off:{OTHER}" in watchman.told.alarms
        scene.world.management(1, True)
        scene.wires(True)
        scene.world.power_on(1)
        await until_whole(watchman, 180)

    _, watchman = supervised(tmp_path, act)
    is_golden("both-networks-cut", watchman)


def test_the_lock_manager_killed(tmp_path: Path) -> None:
    """dlm ends and leaves its lockspaces: the node hangs, is shot by the other, and brought back when it has booted."""
    async def act(scene: Scene, watchman: Watchman) -> None:
        scene.stack.kill_corosync(1)
        with anyio.fail_after(60):
            while scene.power()[1]:
                await sleep(0.5)
        scene.world.power_on(1)
        await until_whole(watchman, 240)

    _, watchman = supervised(tmp_path, act)
    is_golden("dlm-killed", watchman)


def test_a_lost_disk_is_attached_again(tmp_path: Path) -> None:
    async def act(scene: Scene, watchman: Watchman) -> None:
        scene.world.each("world:disk-failed", lambda pair: kernel.fail_disk(pair, 1))
        await until_whole_again(watchman, 120)

    _, watchman = supervised(tmp_path, act)
    is_golden("disk-error", watchman)


# -- what is no supervisor's business ------------------------------------------------------------------------------------

def test_what_does_not_stay_up_is_given_up(tmp_path: Path) -> None:
    async def act(scene: Scene, watchman: Watchman) -> None:
        for count in range(1, 5):
            scene.stack.services.end(0, "smbd")
            await anyio.sleep(60)
            assert len(watchman.sent()) == min(count, 3)
        assert f"flapping:samba on {ONE}" in watchman.told.alarms
        said = await scene.up()
        assert said.code == 0
        await until_whole(watchman, 60)
        scene.stack.services.end(0, "smbd")
        await until_whole_again(watchman, 60)
        assert len(watchman.sent()) == 4, "a human's command starts the count anew"

    supervised(tmp_path, act)


def test_a_cluster_that_was_taken_down_stays_down(tmp_path: Path) -> None:
    async def act(scene: Scene, watchman: Watchman) -> None:
        said = await scene.down()
        assert said.code == 0
        await anyio.sleep(400)
        assert watchman.sent() == []
        assert watchman.told.alarms == []
        assert watchman.told.pictures[-1].maintenance == frozenset(NAMES)
        scene.world.power_off(0)
        scene.world.power_on(0)
        await anyio.sleep(100)
        assert watchman.sent() == [], "a reboot does not make it forget"
        assert (await scene.up()).code == 0
        await until_whole(watchman, 60)
        assert watchman.told.pictures[-1].maintenance == frozenset()

    supervised(tmp_path, act)


@pytest.mark.parametrize("policy", ["observe", "off"])
def test_a_layer_that_is_only_watched(tmp_path: Path, policy: str) -> None:
    async def act(scene: Scene, watchman: Watchman) -> None:
        scene.stack.services.end(0, "smbd")
        await anyio.sleep(60)
        assert watchman.sent() == []
        assert watchman.told.alarms == ([f"layer-down:samba on {ONE}"] if policy == "observe" else [])

    config = evolve(stack_config(), supervise=SuperviseSection(layers={"samba": policy}))
    supervised(tmp_path, act, config)


# -- those who are told --------------------------------------------------------------------------------------------------

class Broken:
    """A Listener with a bug in each of its parts."""

    def picture(self, picture: Picture) -> None:
        """See Listener."""
        raise KeyError(picture.cluster)

    async def run(self) -> None:
        """See Listener."""
        await anyio.sleep(5)
        raise IndexError("of no use")


def test_a_listeners_bug_is_kept_whole_and_supervision_goes_on(tmp_path: Path) -> None:
    async def act(scene: Scene, watchman: Watchman) -> None:
        watchman.kill()
        await anyio.sleep(1)
        following = Watchman(scene, tmp_path, "watch:2:0", more=(Broken(),))
        async with anyio.create_task_group() as group:
            group.start_soon(following.run)
            await anyio.sleep(20)
            group.cancel_scope.cancel()
        assert whole(following)
        for bug, part in ((KeyError, "picture"), (IndexError, "run")):
            error = next(error for _, error in following.said if isinstance(error, bug))
            assert traceback.extract_tb(error.__traceback__)[-1].name == part

    supervised(tmp_path, act)


# -- commands go first ---------------------------------------------------------------------------------------------------

def test_a_command_gets_the_lease_at_once_from_a_supervisor_at_rest(tmp_path: Path) -> None:
    async def act(scene: Scene, watchman: Watchman) -> None:
        asked = anyio.current_time()
        assert (await scene.up()).code == 0
        assert anyio.current_time() - asked < 2

    supervised(tmp_path, act)


@pytest.mark.parametrize("after", [2.0, 5.0, 8.0, 12.0])
def test_a_command_gets_the_lease_in_the_middle_of_a_repair(tmp_path: Path, after: float) -> None:
    """Within 2 s of asking, or of the end of the step in flight; and what the supervisor had begun the command brings to its end."""
    async def act(scene: Scene, watchman: Watchman) -> None:
        scene.stack.cut(1)
        await anyio.sleep(40)
        scene.world.power_on(1)
        await anyio.sleep(after)
        asked = anyio.current_time()
        said = await scene.up()
        records = [record for record in read(scene.operator.folder / f"{scene.operator.machine}.jsonl") if record["at"] >= asked - 0.01]
        looked = next(record["at"] for record in records if record["kind"] == "looked")
        in_flight = [record["at"] for record in watchman.records("outcome") if asked < record["at"] < looked]
        assert looked - max([asked, *in_flight]) < 2
        assert said.code == 0, said.text
        ends = [record["end"] for record in watchman.records("repaired")]
        assert ends[:1] in ([], ["yielded"], ["done"])
        await until_whole(watchman, 120)

    supervised(tmp_path, act, seed=int(after))


def test_a_second_supervisor_is_refused(tmp_path: Path) -> None:
    async def act(scene: Scene, watchman: Watchman) -> None:
        second = Watchman(scene, tmp_path / "second", "other:2:0")
        with anyio.fail_after(30):
            await second.run()
        assert second.ended is not None
        assert second.ended.code == 75

    supervised(tmp_path, act)


def test_killed_in_the_middle_of_a_repair_the_next_one_goes_on(tmp_path: Path) -> None:
    async def act(scene: Scene, watchman: Watchman) -> None:
        scene.stack.services.end(0, "smbd")
        with anyio.fail_after(20):
            while not watchman.sent():
                await sleep(0.05)
        watchman.kill()
        await anyio.sleep(1)
        following = Watchman(scene, tmp_path, "watch:2:0")
        async with anyio.create_task_group() as group:
            group.start_soon(following.run)
            await anyio.sleep(5)
            await until_whole(following, 60)
            assert following.supervisor is not None
            assert [one.key for one in following.supervisor.history.tried][:1] == [f"start-layer:samba:{ONE}"]
            group.cancel_scope.cancel()

    supervised(tmp_path, act)
