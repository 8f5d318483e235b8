"""The observer on simulated nodes: what it sees by itself, how soon, and that what cannot be seen is never shown as it was.

Every `sleep` here is on the virtual clock.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import pytest
from attrs import evolve

from fixtures.sim.seeds import NAMES
from fixtures.sim.stack.stage import QUICK, Scene, play
from fixtures.sim.transport import Fault, SimTransport
from fixtures.sim.world import Tempo
from orchestrator.errors import LeaseHeldError
from orchestrator.remote import Remote
from orchestrator.supervisor.follower import NOBODY
from orchestrator.supervisor.observer import Observer
from states.goal import Direction
from states.picture import Move, Picture
from states.vocabulary import Layer, Node, Resource

ONE, OTHER = NAMES


class Watched:
    """An observer beside a scene, and everything it has told."""

    def __init__(self, scene: Scene, holder: str = "supervisor") -> None:
        world = scene.world
        self.transport = SimTransport(world, holder)
        remote = Remote(world.config, self.transport, world.now)
        self.observer = Observer(remote, world.config.goal(Direction.UP), world.now, holder, is_dead=lambda _: False)
        self.pictures: list[Picture] = []
        self.moves: list[Move] = []
        self.also: Callable[[Picture], None] = lambda _: None

    def tell(self, picture: Picture) -> None:
        """Takes a picture, and of its moves those that are new."""
        self.moves += [move for move in picture.moves if move.before is not None and move not in self.moves]
        self.pictures.append(picture)
        self.also(picture)

    async def run(self) -> None:
        """See Observer."""
        await self.observer.run(self.tell)

    def state(self, machine: str) -> object:
        """As the last picture has it."""
        return self.pictures[-1].state(machine)

    def story(self, machine: str) -> list[str]:
        """The states a machine went through."""
        return [move.after.value for move in self.moves if move.machine == machine]


def watching(act: Callable[[Scene, Watched], Awaitable[None]], seed: int = 1, tempo: Tempo = QUICK) -> Watched:
    """Bring a cluster up, watch it for a while, and do something to it."""
    found: list[Watched] = []

    async def live(scene: Scene) -> None:
        await scene.brought_up()
        watched = Watched(scene)
        found.append(watched)
        async with anyio.create_task_group() as group:
            group.start_soon(watched.run)
            await anyio.sleep(20)
            await act(scene, watched)
            group.cancel_scope.cancel()

    scene = play(seed, live, tempo=tempo)
    assert not scene.unknown()
    return found[0]


def test_at_rest_nothing_moves_and_nobody_is_asked() -> None:
    async def act(scene: Scene, watched: Watched) -> None:
        assert watched.state("r0") is Resource.DUAL_PRIMARY
        assert {watched.state(f"samba on {name}") for name in NAMES} == {Layer.UP}
        assert {watched.state(name) for name in NAMES} == {Node.REACHABLE}
        looks = watched.observer.counts["looks"]
        await anyio.sleep(250)
        assert watched.observer.counts["looks"] == looks
        assert not watched.moves
        assert watched.pictures[-1].followed == frozenset(NAMES)

    watching(act)


def test_a_daemon_that_dies_is_seen_within_the_sweep() -> None:
    async def act(scene: Scene, watched: Watched) -> None:
        killed = anyio.current_time()
        scene.stack.services.end(0, "smbd")
        await anyio.sleep(5)
        (move,) = watched.moves
        assert (move.machine, move.after, move.event) == (f"samba on {ONE}", Layer.DOWN, "went_down")
        assert move.at - killed < 2

    watching(act)


def test_a_node_that_loses_its_power_and_comes_back() -> None:
    async def act(scene: Scene, watched: Watched) -> None:
        scene.stack.cut(1)
        await anyio.sleep(60)
        assert watched.story(OTHER) == ["Unreachable", "Fencing", "Fenced"]
        assert watched.story("r0") == ["Frozen", "Degraded"]
        assert watched.state(f"samba on {OTHER}") is Layer.UNKNOWN
        assert watched.state(f"samba on {ONE}") is Layer.UP
        looks = watched.observer.counts["looks"]
        await anyio.sleep(200)
        assert watched.observer.counts["looks"] <= looks + 1, "a node that is away is no reason to ask the other one again and again"
        scene.world.power_on(1)
        await anyio.sleep(30)
        assert watched.story(OTHER)[3:] == ["Reachable"]
        assert watched.state(f"samba on {OTHER}") is Layer.DOWN
        assert not watched.observer.counts["surprises"]

    watching(act)


def test_a_cut_of_replication_is_told_by_both_sides_and_by_the_kernel() -> None:
    async def act(scene: Scene, watched: Watched) -> None:
        scene.wires(False)
        await anyio.sleep(60)
        assert watched.story("r0")[0] == "Frozen"  # resource-and-stonith: IO stops until the peer is known to be off
        assert watched.state("r0") is Resource.DEGRADED
        gone = [name for name in NAMES if watched.state(name) is Node.FENCED]
        assert len(gone) == 1
        assert not watched.observer.counts["surprises"]

    watching(act)


def test_a_cut_of_the_management_network_hides_a_node_and_says_nothing_else_of_it() -> None:
    async def act(scene: Scene, watched: Watched) -> None:
        scene.world.management(1, False)
        await anyio.sleep(60)
        assert watched.story(OTHER) == ["Unreachable"]
        assert watched.state("r0") is Resource.DEGRADED  # one side serves; of the other nothing is known
        assert watched.state(f"mount opt on {OTHER}") is Layer.UNKNOWN
        assert watched.pictures[-1].followed == {ONE}
        scene.world.management(1, True)
        await anyio.sleep(30)
        assert watched.story(OTHER) == ["Unreachable", "Reachable"]
        assert watched.state("r0") is Resource.DUAL_PRIMARY
        assert watched.state(f"mount opt on {OTHER}") is Layer.UP
        assert watched.pictures[-1].followed == frozenset(NAMES)

    watching(act)


def test_a_command_is_seen_to_begin_and_to_end() -> None:
    async def act(scene: Scene, watched: Watched) -> None:
        scene.stack.services.end(0, "smbd")
        await anyio.sleep(5)
        began = anyio.current_time()
        await scene.up()
        await anyio.sleep(3)
        acting = [picture for picture in watched.pictures if any(who for _, who in picture.leases)]
        assert acting[0].at - began < 2
        assert {who for picture in acting for _, who in picture.leases if who} == {"one:2:0"}
        assert dict(watched.pictures[-1].leases) == dict.fromkeys(NAMES, "")
        assert watched.state(f"samba on {ONE}") is Layer.UP

    watching(act)


def test_who_acted_on_a_node_that_is_gone_is_not_known() -> None:
    async def act(scene: Scene, watched: Watched) -> None:
        machine = scene.world.machines[1]
        machine.files.write("/var/lib/orchestrate/lease", f"9 somebody:1:1 {machine.boot_id} {int(machine.uptime()) + 600}\n")
        await anyio.sleep(5)
        assert dict(watched.pictures[-1].leases)[OTHER] == "somebody:1:1"
        scene.stack.cut(1)
        await anyio.sleep(30)
        assert OTHER not in dict(watched.pictures[-1].leases)

    watching(act)


def test_a_second_supervisor_is_refused_and_one_who_only_looks_is_not() -> None:
    async def act(scene: Scene, watched: Watched) -> None:
        with pytest.raises(LeaseHeldError, match="supervisor"):
            await Watched(scene, "second").run()
        reader = Watched(scene, NOBODY)
        with anyio.move_on_after(10):
            await reader.run()
        assert reader.state("r0") is Resource.DUAL_PRIMARY
        assert watched.pictures[-1].followed == frozenset(NAMES)

    watching(act)


def test_a_resync_is_followed_to_its_end() -> None:
    async def act(scene: Scene, watched: Watched) -> None:
        scene.stack.cut(1)
        await anyio.sleep(30)
        for cell in range(6):
            scene.stack.volumes.write(0, "/opt", cell)
        scene.world.power_on(1)
        await anyio.sleep(10)
        assert (await scene.up()).code == 0
        await anyio.sleep(10)
        assert watched.state("r0") is Resource.DUAL_PRIMARY
        assert "Syncing" in watched.story("r0")
        shown = [progress.left for picture in watched.pictures for _, progress in picture.progress]
        assert len(set(shown)) > 2, "it is seen to get on"
        assert min(shown) < max(shown)
        assert not watched.pictures[-1].progress

    watching(act, tempo=evolve(QUICK, cell=(3.0, 5.0)))


def test_a_storm_of_events_is_taken_in_whole() -> None:
    """10,000 lines of one node at one moment, many times what may wait: read no faster than they are taken in."""
    async def act(scene: Scene, watched: Watched) -> None:
        volume, listening = scene.world.drbd.volumes[0], scene.world.drbd._followers[0]
        event = f"{scene.world.drbd.stamp(0)} change resource name:{volume.name} role:"
        for number in range(5000):
            for follower in listening:
                follower.put(f"{event}Secondary", f"{event}Primary")
            if number == 4000:
                scene.stack.services.end(1, "smbd")
        killed = anyio.current_time()
        await anyio.sleep(5)
        assert watched.observer.counts["overflows"] == 0
        assert watched.observer.counts["gaps"] == 0
        assert watched.observer.counts["events"] > 10_000
        assert watched.state("r0") is Resource.DUAL_PRIMARY
        other = next(move for move in watched.moves if move.machine == f"samba on {OTHER}")
        assert other.at - killed < 2, "the other node's news do not wait"

    watching(act)


@pytest.mark.parametrize("seed", range(4))
def test_streams_that_break_again_and_again_lose_nothing(seed: int) -> None:
    """Most commands and streams meet a fault. What is shown meanwhile is right or Unknown; and when they are over, it is right."""
    async def live(scene: Scene) -> None:
        await scene.brought_up()
        watched = Watched(scene)
        watched.transport.odds = {Fault.LOST_AFTER: 0.5, Fault.REFUSED: 0.2, Fault.NO_SESSION: 0.2}
        async with anyio.create_task_group() as group:
            group.start_soon(watched.run)
            await anyio.sleep(90)
            scene.stack.services.end(0, "smbd")
            await anyio.sleep(90)
            assert watched.state(f"samba on {ONE}") in (Layer.DOWN, Layer.UNKNOWN)
            watched.transport.odds = {}
            await anyio.sleep(60)
            assert watched.state(f"samba on {ONE}") is Layer.DOWN
            assert watched.state("r0") is Resource.DUAL_PRIMARY
            assert watched.pictures[-1].followed == frozenset(NAMES)
            assert watched.observer.counts["gaps"] > 1
            group.cancel_scope.cancel()

    assert not play(seed, live).unknown()
