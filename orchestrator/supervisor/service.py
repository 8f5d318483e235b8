"""`orchestrate supervise` as a process: one supervisor for each cluster, signals, and what systemd is told.

SIGTERM and SIGINT end it within a second. SIGHUP reads every cluster.toml again: one that is bad is said, and the old one stays.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskGroup
from attrs import define, field

from orchestrator.config import Config, load
from orchestrator.errors import ConfigError, OrchestrateError
from orchestrator.journal import Journal, newest, open_intents
from orchestrator.remote import Remote
from orchestrator.supervisor import systemd
from orchestrator.supervisor.compared import Compared
from orchestrator.supervisor.listener import Listener
from orchestrator.supervisor.metrics import Board
from orchestrator.supervisor.observer import Observer
from orchestrator.supervisor.supervisor import Supervisor, remembered
from orchestrator.transport import Transport
from orchestrator.verified import Verifications
from states.goal import Direction, Ledger

CLOSE = 0.2
"""Seconds that closing the connections may take."""
HANG_UP = 0.75
"""Seconds after which the connections are closed under whoever, told to end, still waits for a node: one that is dead says nothing."""


@define(eq=False)
class Service:
    """`paths`: cluster.toml files. `transport`, `journal`: how a cluster's nodes are reached, and where its journal is. `holder`: this
    process, as leases name it. `clock`: seconds since the epoch. `log`: a structlog logger."""

    paths: tuple[Path, ...]
    transport: Callable[[Config], Transport]
    journal: Callable[[Config], Path]
    holder: str
    clock: Callable[[], float]
    log: Any
    _configs: dict[Path, Config] = field(factory=dict)
    _scopes: dict[Path, anyio.CancelScope] = field(factory=dict)
    _board: Board = field(factory=Board)
    _ended: list[OrchestrateError] = field(factory=list)

    async def run(self) -> None:
        """Until it is told to end. Raises ConfigError, LeaseHeldError where another supervisor watches, JournalError."""
        self._configs = read_all(self.paths)
        async with anyio.create_task_group() as group:
            await group.start(self._signals, group)
            group.start_soon(systemd.watchdog)
            self._serve_pages(group)
            for path in self._configs:
                group.start_soon(self._cluster, path, group)
            systemd.ready(self._status())
        systemd.notify("STOPPING=1")
        if self._ended:
            raise self._ended[0]

    def _status(self) -> str:
        return f"supervising {', '.join(config.cluster.name for config in self._configs.values())}"

    # -- signals -----------------------------------------------------------------------------------------------------------

    async def _signals(self, group: TaskGroup, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            task_status.started()
            async for number in signals:
                if number == signal.SIGHUP:
                    self._read_again(group)
                else:
                    self.log.info("ending", signal=signal.Signals(number).name)
                    systemd.notify("STOPPING=1")
                    group.cancel_scope.cancel()

    def _read_again(self, group: TaskGroup) -> None:
        """Every cluster whose file has changed is begun anew; a bad file changes nothing."""
        systemd.reloading()
        for path, old in list(self._configs.items()):
            try:
                new = load(path)
            except ConfigError as error:
                self.log.warning("config_refused", file=str(path), seen=str(error), remedy="the old one goes on; mend it, and SIGHUP")
                continue
            self.log.info("config_read", file=str(path), changed=new != old)
            self._configs[path] = new
            self._scopes[path].cancel()  # it is begun again with the new one
        systemd.ready(self._status())

    # -- clusters ----------------------------------------------------------------------------------------------------------

    async def _cluster(self, path: Path, group: TaskGroup) -> None:
        """One cluster, for ever, under whatever configuration it has."""
        while True:
            with anyio.CancelScope() as self._scopes[path]:
                try:
                    await self._supervise(self._configs[path])
                except OrchestrateError as error:
                    self.log.warning("ended", cluster=self._configs[path].cluster.name, seen=str(error))
                    self._ended.append(error)
                    group.cancel_scope.cancel()
            await anyio.lowlevel.checkpoint()

    async def _supervise(self, config: Config) -> None:
        transport, name = self.transport(config), config.cluster.name
        try:
            with Journal(self.journal(config), self.clock) as journal:
                for intent in open_intents(journal.past):
                    self.log.info("left_open", cluster=name, step=intent.key, node=intent.node, why="an earlier run ended before it knew")
                section = config.supervise
                history = remembered(journal.past, self.clock(), section.flaps, section.flap_window)
                ledger = Ledger(newest=newest(journal.past))
                journal.forget()
                remote = Remote(config, transport, anyio.current_time)
                observer = Observer(remote, config.goal(Direction.UP), self.clock, self.holder, ledger=ledger,
                                    write=lambda **record: journal.write({"run": "supervise", **record}, note=True))
                told = listeners(config, self._board, self.clock, self.log, self.journal(config).parent)
                told += (Compared(Verifications(self.journal(config)), tuple(config.resource)),)
                supervisor = Supervisor(config, remote, journal, observer, told, self.holder, self.clock, bugs(self.log, name), history)
                await until_hung_up(supervisor.run, transport)
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE):
                await transport.aclose()

    def _serve_pages(self, group: TaskGroup) -> None:
        """/metrics, /healthz and /readyz of all clusters, where the first of them that wants any says."""
        from orchestrator.supervisor.http import Pages

        address = next((config.supervise.listen for config in self._configs.values() if config.supervise.listen), "")
        if address:
            group.start_soon(Pages(address, self._board, self.clock, self.log).run)


async def until_hung_up(work: Callable[[], Awaitable[None]], transport: Transport) -> None:
    """`work`, which holds nobody up for longer than HANG_UP when it is cancelled. What it raises."""
    over = anyio.Event()
    failed: list[OrchestrateError] = []

    async def hang_up() -> None:
        try:
            await over.wait()
        finally:
            with anyio.CancelScope(shield=True):
                with anyio.move_on_after(HANG_UP):
                    await over.wait()
                if not over.is_set():
                    await transport.aclose()

    async with anyio.create_task_group() as group:
        group.start_soon(hang_up)
        try:
            await work()
        except OrchestrateError as error:  # carried out of the group whole
            failed.append(error)
        finally:
            over.set()
    if failed:
        raise failed[0]


def bugs(log: Any, cluster: str) -> Callable[[str, Exception], None]:
    """Writes a listener's bug into the log with its traceback: whoever mends it was not there."""
    return lambda text, error: log.warning("listener", cluster=cluster, seen=text, exc_info=error)


def listeners(config: Config, board: Board, clock: Callable[[], float], log: Any, folder: Path) -> tuple[Listener, ...]:
    """Those who are told of a cluster, as its configuration asks for them. `folder`: what they keep is beside the journal."""
    from orchestrator.supervisor.tellers import tellers

    found = tellers(config, board, clock, log, folder / "alarms.json")
    if config.supervise.names.backend:
        from orchestrator.supervisor.names import Names

        found += (Names(config, log.bind(cluster=config.cluster.name)),)
    return found


def read_all(paths: tuple[Path, ...]) -> dict[Path, Config]:
    """Every configuration, checked; a folder stands for the *.toml in it. Raises ConfigError, also for two of one name."""
    files: list[Path] = []
    for path in paths:
        inside = sorted(path.glob("*.toml")) if path.is_dir() else [path]
        if not inside:
            raise ConfigError(f"{path}: there is no *.toml in it")
        files += [one for one in inside if one not in files]
    found = {path: load(path) for path in files}
    names: dict[str, Path] = {}
    for path, config in found.items():
        other = names.setdefault(config.cluster.name, path)
        if other != path:
            raise ConfigError(f"{path}: cluster.name: {config.cluster.name!r} is what {other} has already")
    return found
