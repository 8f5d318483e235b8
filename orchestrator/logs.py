"""structlog, set up once: JSON lines into a file where one is asked for, nothing on the screen (that is `watch`'s).

What runs for ever tells its story to a stream instead, as JSON lines or for people's eyes (`Told`).
Secrets are never bound: configuration values reach the log only by name.
"""

from __future__ import annotations

import os
import queue
import tempfile
import threading
import traceback
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from orchestrator.errors import ConfigError

_file: TextIO | None = None
_MOST = 10_000  # lines that wait for a reader that is slow; later ones are counted, and dropped
_LAST = 1.0     # seconds for what still waits when all is over


class Form(Enum):
    """How a stream is written."""

    JSON = "json"        # one object a line
    CONSOLE = "console"  # for people, coloured on a terminal


def open_log(path: Path | None) -> Any:
    """A bound logger writing JSON lines to `path`, or one that drops everything. Raises ConfigError if it cannot be written."""
    import structlog

    global _file  # noqa: PLW0603 - one process, one log
    if path is None:
        structlog.configure(processors=[_drop], logger_factory=structlog.ReturnLoggerFactory(), cache_logger_on_first_use=False)
        return structlog.get_logger()
    try:
        _file = path.open("a", encoding="utf-8", buffering=1)
    except OSError as error:
        raise ConfigError(f"--log {path}: cannot be written: {error.strerror}; name another file") from error
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


class Told:
    """A log on a stream that nobody waits for: a thread of its own writes, so a full pipe or a slow disk holds up nothing else.

    Use as a context manager; `log` is the structlog logger. On the way out it waits a second at most for what is left.
    """

    def __init__(self, stream: TextIO, form: Form, *, priorities: bool | None = None) -> None:
        """`priorities`: start each line with syslog's `<N>`, as the system journal reads it. None: where it reads this stream."""
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(_MOST)
        self._writer = threading.Thread(target=self._write, name="log", daemon=True)
        self._lost = 0
        with_priority = _is_the_journal(stream) if priorities is None else priorities
        self.log = _logger(self, form, colours=form is Form.CONSOLE and stream.isatty(), priorities=with_priority)

    def write(self, text: str) -> None:
        """One line, from structlog. Never waits."""
        try:
            self._lines.put_nowait(text)
        except queue.Full:
            self._lost += 1

    def flush(self) -> None:
        """For structlog: the thread flushes."""

    def __enter__(self) -> Self:
        self._writer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._lines.put(None, timeout=_LAST)
        except queue.Full:
            return  # the reader is stuck, and so is the thread: it ends with the process
        self._writer.join(_LAST)

    def _write(self) -> None:
        said = 0
        try:
            while (line := self._lines.get()) is not None:
                if self._lost > said:
                    lost, said = self._lost - said, self._lost
                    self.log.warning("lines_lost", lines=lost, because="whoever reads this log did not keep up")
                self._stream.write(line)
                if self._lines.empty():
                    self._stream.flush()
            self._stream.flush()
        except (OSError, ValueError):  # nobody reads any more, or it is closed: there is no better place to say so
            return


_PRIORITY = {"debug": "<7>", "info": "<6>", "warning": "<4>", "error": "<3>", "critical": "<2>"}


def _logger(told: Told, form: Form, *, colours: bool, priorities: bool) -> Any:
    import structlog

    def with_priority(_logger: object, method: str, line: str) -> str:
        return "\n".join(_PRIORITY.get(method, "<6>") + one for one in line.split("\n"))

    clock = structlog.processors.TimeStamper(fmt="iso" if form is Form.JSON else "%Y-%m-%d %H:%M:%S", utc=form is Form.JSON, key="logged")
    said: list[Any] = [structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, clock,
                       structlog.processors.format_exc_info]
    if form is Form.JSON:
        said.append(structlog.processors.JSONRenderer(sort_keys=True))
    else:
        said.append(structlog.dev.ConsoleRenderer(colors=colours, timestamp_key="logged", pad_event_to=0,
                                                exception_formatter=structlog.dev.plain_traceback))
    if priorities:
        said.append(with_priority)
    return structlog.wrap_logger(structlog.WriteLogger(told), processors=said, cache_logger_on_first_use=False)  # type: ignore[arg-type]


def _is_the_journal(stream: TextIO) -> bool:
    """systemd names the device and inode of the journal's stream in $JOURNAL_STREAM (systemd.exec(5))."""
    said = os.environ.get("JOURNAL_STREAM", "")
    if not said:
        return False
    try:
        about = os.fstat(stream.fileno())
    except OSError:
        return False
    return said == f"{about.st_dev}:{about.st_ino}"
