"""Who is told of one cluster, as its cluster.toml says: log, metrics, alerts; and who watches its resyncs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.config import Config
from orchestrator.supervisor.listener import Listener
from orchestrator.supervisor.log import Log
from orchestrator.supervisor.resyncs import Resyncs

if TYPE_CHECKING:
    from orchestrator.supervisor.metrics import Board


def tellers(config: Config, board: Board | None, clock: Callable[[], float], log: Any, memory: Path | None = None) -> tuple[Listener, ...]:
    """The listeners of one cluster. `board`: the process's, None where nobody may ask for metrics; `log`: a structlog logger
    (`orchestrator.logs.Told`); `memory`: the file in which standing alarms outlive a restart; `clock`: seconds since the epoch.
    """
    name, section = config.cluster.name, config.supervise.alerts
    told: list[Listener] = [Log(name, log), Resyncs()]
    if board is not None:  # what is not asked for costs no memory
        from orchestrator.supervisor.metrics import Metrics

        told.append(Metrics(board, config))
    if section.command or section.webhook or section.mail_to:
        from orchestrator.supervisor.alerts import Alerts
        from orchestrator.supervisor.channels import channels

        bound = log.bind(cluster=name)
        told.append(Alerts(channels(config, clock, bound), clock, bound, section.repeat, memory))
    return tuple(told)
