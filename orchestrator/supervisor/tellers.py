"""Who is told of one cluster, as its cluster.toml says: log, metrics, alerts; and who watches its resyncs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.config import Config
from orchestrator.supervisor.alerts import Alerts
from orchestrator.supervisor.channels import channels
from orchestrator.supervisor.listener import Listener
from orchestrator.supervisor.log import Log
from orchestrator.supervisor.metrics import Board, Metrics
from orchestrator.supervisor.resyncs import Resyncs


def tellers(config: Config, board: Board, clock: Callable[[], float], log: Any, memory: Path | None = None) -> tuple[Listener, ...]:
    """The listeners of one cluster. `board`: the process's; `log`: a structlog logger (`orchestrator.logs.Told`); `memory`: the
    file in which its standing alarms outlive a restart; `clock`: seconds since the epoch."""
    name = config.cluster.name
    ways = channels(config, clock, log.bind(cluster=name))
    told: tuple[Listener, ...] = (Log(name, log), Metrics(board, config), Resyncs())
    if ways:
        told += (Alerts(ways, clock, log.bind(cluster=name), config.supervise.alerts.repeat, memory),)
    return told
