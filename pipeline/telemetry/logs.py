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


def logger(name: str) -> Any:
    """Returns a logger whose lines name the module they come from."""
    return structlog.get_logger(module=name)
