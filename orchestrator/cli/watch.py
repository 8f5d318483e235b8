"""`orchestrate watch`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import anyio
import click
from rich.console import Console
from rich.live import Live

from orchestrator.board import board, move_line
from orchestrator.cli.common import reaching, read_config, wall_clock
from orchestrator.config import Config
from orchestrator.render import console
from orchestrator.supervisor.observer import Observer
from orchestrator.supervisor.supervisor import marked
from states.evolve import evolve
from states.goal import Direction, Ledger
from states.picture import Move, Picture
from states.watchful import alarms_of

REDRAW = 0.1
"""Seconds between two screens at least: nobody reads faster, and a storm of events must not be drawn one by one."""
TICK = 1.0
"""Seconds after which a screen is drawn anew though nothing has come: times go on."""


@click.command()
@click.option("--once", is_flag=True, help="Draw it once, whole, and end.")
@click.pass_obj
def watch(obj: dict[str, Path | None], once: bool) -> int:
    """The whole cluster on one screen, as it moves. Changes nothing, and needs no leave from anybody. End it with Ctrl-C.

    Where it is not on a terminal: the picture once, then a line for every move. Exit 6 with --once if a node could not be seen.
    """
    config = read_config(obj)
    shown = Shown(console(sys.stdout))
    with suppress(KeyboardInterrupt):  # the way it is ended
        anyio.run(_watch, config, shown, once)
    seen = shown.picture is not None and all(node.reachable for node in shown.picture.facts.nodes)
    return 6 if once and not seen else 0


async def _watch(config: Config, shown: Shown, once: bool) -> None:
    async with reaching(config, compare=False) as remote, anyio.create_task_group() as group:
        observer = Observer(remote, config.goal(Direction.UP), wall_clock)
        group.start_soon(observer.run, lambda picture: shown.take(alarmed(picture, observer.ledger)))
        if once:
            await shown.first()
        elif shown.out.is_terminal:
            await shown.live()
        else:
            await shown.lines()
        group.cancel_scope.cancel()


def alarmed(picture: Picture, ledger: Ledger) -> Picture:
    """With the alarms a supervisor would raise: who watches needs none to be running."""
    facts = marked(picture)
    kept = frozenset(node.name for node in facts.nodes if node.maintenance)
    return evolve(picture, facts=facts, maintenance=kept, alarms=alarms_of(picture.goal, facts, ledger, kept, frozenset()))


class Shown:
    """What is on the screen, or on its way there."""

    def __init__(self, out: Console, now: Callable[[], float] = wall_clock) -> None:
        self.out = out
        self._now = now
        self.picture: Picture | None = None
        self._last: Move | None = None
        self._news = anyio.Event()

    def take(self, picture: Picture) -> None:
        """The observer's newest picture."""
        self.picture = picture
        self._news.set()

    async def _next(self) -> Picture:
        await self._news.wait()
        self._news = anyio.Event()
        if self.picture is None:
            raise AssertionError("news without a picture")
        return self.picture

    async def first(self) -> None:
        """Draw the first picture there is."""
        picture = await self._next()
        self.out.print(board(picture, self._now(), self.out))
        self._last = picture.moves[-1] if picture.moves else None

    async def lines(self) -> None:
        """The first picture, then every move as a line."""
        await self.first()
        while True:
            picture = await self._next()
            for move in picture.moves_since(self._last):
                self.out.print(move_line(move))
                self._last = move

    async def live(self) -> None:
        """A screen that is always the newest picture."""
        with Live(console=self.out, screen=True, auto_refresh=False) as screen:
            screen.update("looking at every node ...", refresh=True)
            picture = await self._next()
            while True:
                screen.update(board(picture, self._now(), self.out, self.out.size.height), refresh=True)
                await anyio.sleep(REDRAW)
                with anyio.move_on_after(TICK - REDRAW):
                    picture = await self._next()
