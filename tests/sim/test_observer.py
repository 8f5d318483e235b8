"""The observer on simulated nodes: what it sees by itself, how soon, and that what cannot be seen is never shown as it was."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from fixtures.sim.seeds import NAMES
from fixtures.sim.stack.stage import Scene, play
from fixtures.sim.transport import SimTransport
from orchestrator.remote import Remote
from orchestrator.supervisor.observer import Observer
from states.goal import Direction
from states.picture import Move, Picture
from states.vocabulary import Layer, Node, Resource

ONE, OTHER = NAMES


class Watched:
    """An observer beside a scene, and everything it has told."""

    def __init__(self, scene: Scene, holder: str = "supervisor") -> None:
        world = scene.world
        remote = Remote(world.config, SimTransport(world, holder), world.now)
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


def watching(act: Callable[[Scene, Watched], Awaitable[None]], seed: int = 1) -> Watched:
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

    scene = play(seed, live)
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
        scene.world.power_on(1)
        await anyio.sleep(30)
        assert watched.story(OTHER)[3:] == ["Reachable"]
        assert watched.state(f"samba on {OTHER}") is Layer.DOWN
        assert not watched.observer.counts["surprises"]

    watching(act)
