"""A name on simulated nodes, from the fault to what a client is told: the observer sees it, the choice follows, a hosts file is written.

Every `sleep` here is on the virtual clock.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
from attrs import evolve

from fixtures.sim.seeds import NAMES
from fixtures.sim.stack.stage import Scene
from orchestrator.config import Config
from orchestrator.supervise_config import NamesSection
from orchestrator.supervisor.names import Names
from tests.names.lines import Lines
from tests.sim.test_observer import Watched, watching

NAME = "nas.example.org"
FIRST, SECOND = "10.99.0.11", "10.99.0.12"
SLICE = 0.05


def named(config: Config, file: Path) -> Config:
    """The simulated cluster with a name, published where a test can read it at any moment."""
    return evolve(config, supervise=evolve(config.supervise, names=NamesSection("hosts", NAME, file=str(file))))


class Client:
    """Who asks for the name, again and again."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def told(self) -> set[str]:
        """The addresses of the name at this moment."""
        return {line.split()[0] for line in self._file.read_text().splitlines()} if self._file.exists() else set()

    async def until(self, *addresses: str, within: float = 120.0) -> float:
        """Seconds until just these are told."""
        began = anyio.current_time()
        with anyio.fail_after(within):
            while self.told() != set(addresses):  # noqa: ASYNC110 - a client can only ask again
                await anyio.sleep(SLICE)
        return anyio.current_time() - began


def publishing(file: Path, act: Callable[[Scene, Watched, Client], Awaitable[None]]) -> None:
    """A cluster that serves, is watched, and whose name is kept; then something happens to it."""

    async def live(scene: Scene, watched: Watched) -> None:
        names, client = Names(named(scene.world.config, file), Lines()), Client(file)
        watched.also = names.picture
        names.picture(watched.pictures[-1])
        async with anyio.create_task_group() as group:
            group.start_soon(names.run)
            await client.until(FIRST, SECOND, within=1.0)
            await act(scene, watched, client)
            group.cancel_scope.cancel()

    watching(live)


def seen_at(watched: Watched, machine: str) -> float:
    """When a machine was last seen to move, on the simulator's clock."""
    return next(move.at for move in reversed(watched.moves) if move.machine == machine)


def test_a_dead_smbd_is_no_address_any_more(tmp_path: Path) -> None:
    async def act(scene: Scene, watched: Watched, client: Client) -> None:
        scene.stack.services.end(0, "smbd")
        assert await client.until(SECOND) < 3  # the sweep of a second, the look, the name
        assert scene.world.now() - seen_at(watched, f"samba on {NAMES[0]}") < 1

    publishing(tmp_path / "hosts", act)


def test_a_node_without_power_is_withdrawn_and_comes_back_once_it_serves(tmp_path: Path) -> None:
    async def act(scene: Scene, watched: Watched, client: Client) -> None:
        scene.stack.cut(1)
        await client.until(FIRST)
        assert scene.world.now() - seen_at(watched, NAMES[1]) < 1
        await anyio.sleep(60)
        scene.world.power_on(1)
        await anyio.sleep(30)
        assert client.told() == {FIRST}  # it can be seen, and serves nothing yet
        assert (await scene.up()).code == 0
        await client.until(FIRST, SECOND, within=10)

    publishing(tmp_path / "hosts", act)


def test_where_both_lose_their_smbd_the_last_one_stays(tmp_path: Path) -> None:
    async def act(scene: Scene, watched: Watched, client: Client) -> None:
        scene.stack.services.end(1, "smbd")
        await client.until(FIRST)
        scene.stack.services.end(0, "smbd")
        await anyio.sleep(30)
        assert client.told() == {FIRST}

    publishing(tmp_path / "hosts", act)
