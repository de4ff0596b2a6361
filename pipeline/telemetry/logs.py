"""Logs: structlog, one line a notable event, never payloads. Readable on a terminal, JSON elsewhere."""

import logging
import sys
from typing import Any

import structlog

from pipeline.settings import MonitoringSettings


def configure(settings: MonitoringSettings, **bound: str) -> None:
    """Sets logging up for this process; `bound` stands in every line, such as the program and its replica."""
    console = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    renderer = structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[settings.log_level]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**bound)


class _Forwarded(logging.Handler):
    """Writes what a library logs as one line of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        problem = record.exc_info[1] if record.exc_info else None
        said = " ".join(record.getMessage().split())
        structlog.get_logger(module=record.name).log(
            record.levelno, said, **({"problem": repr(problem)} if problem else {})
        )


def forward(*libraries: str, level: int = logging.WARNING) -> None:
    """Makes lines of ours of what these libraries log with the standard library, from a level on."""
    for library in libraries:
        theirs = logging.getLogger(library)
        theirs.handlers = [_Forwarded()]
        theirs.setLevel(level)
        theirs.propagate = False


def logger(name: str) -> Any:
    """Returns a logger whose lines name the module they come from."""
    return structlog.get_logger(module=name)
