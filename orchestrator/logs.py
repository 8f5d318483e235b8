"""structlog, set up once: JSON lines into a file where one is asked for, nothing on the screen (that is `watch`'s).

Secrets are never bound: configuration values reach the log only by name.
"""

from __future__ import annotations

import tempfile
import traceback
from pathlib import Path
from typing import Any, TextIO

_file: TextIO | None = None


def open_log(path: Path | None) -> Any:
    """A bound logger writing JSON lines to `path`, or one that drops everything."""
    import structlog

    global _file  # noqa: PLW0603 - one process, one log
    if path is None:
        structlog.configure(processors=[_drop], logger_factory=structlog.ReturnLoggerFactory(), cache_logger_on_first_use=False)
        return structlog.get_logger()
    _file = path.open("a", encoding="utf-8", buffering=1)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars, structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True), structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
        logger_factory=structlog.WriteLoggerFactory(_file),
    )
    return structlog.get_logger()


def _drop(_logger: object, _name: str, _event: Any) -> Any:
    import structlog

    raise structlog.DropEvent


def write_crash(error: BaseException) -> Path:
    """Keep a bug's traceback in a file of its own and say which."""
    with tempfile.NamedTemporaryFile("w", prefix="orchestrate-crash-", suffix=".txt", delete=False) as file:
        traceback.print_exception(error, file=file)
    return Path(file.name)
