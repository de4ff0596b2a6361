"""Logs: structlog, one line a notable event, never payloads. Readable on a terminal, JSON elsewhere."""

import logging
import sys
import threading
from types import TracebackType
from typing import Any

import structlog

from pipeline.settings import MonitoringSettings

_DIED = "ended by an error that nobody expected"


def configure(settings: MonitoringSettings, **bound: str) -> None:
    """Sets logging up for this process; `bound` stands in every line, such as the program and its replica.

    Warnings of libraries, and errors that nobody expected in any thread, become lines of ours.
    """
    console = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    structlog.configure(
        processors=[
            lambda _logger, _method, event: {**bound, **event},  # in every thread; context variables are one thread's
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,  # without local variables: they may hold payloads
            _console() if console else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[settings.log_level]),
        logger_factory=lambda *_: structlog.WriteLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.captureWarnings(capture=True)
    forward("")
    sys.excepthook = _died
    threading.excepthook = _thread_died


def forward(*libraries: str, level: int = logging.WARNING) -> None:
    """Makes lines of ours of what these libraries log with the standard library, from a level on.

    Args:
        libraries: names of their loggers; the empty one stands for all that say nothing else.
        level: least severity.
    """
    for library in libraries:
        theirs = logging.getLogger(library)
        theirs.handlers = [_Forwarded()]
        theirs.setLevel(level)
        theirs.propagate = False


def logger(name: str) -> Any:
    """Returns a logger whose lines name the module they come from."""
    return structlog.get_logger(module=name)


def writes_json() -> bool:
    """Returns whether this process logs JSON, for machines to read."""
    return isinstance(structlog.get_config()["processors"][-1], structlog.processors.JSONRenderer)


class _Forwarded(logging.Handler):
    """Writes what a library logs as one line of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        problem = record.exc_info[1] if record.exc_info else None
        said = " ".join(record.getMessage().split())
        more = {"problem": repr(problem)} if problem else {}
        structlog.get_logger(module=record.name).log(record.levelno, said, **more)


def _console() -> structlog.dev.ConsoleRenderer:
    return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)


def _died(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        logger(__name__).critical(_DIED, exc_info=(kind, error, trace))


def _thread_died(died: threading.ExceptHookArgs) -> None:
    if died.exc_value is not None and not issubclass(died.exc_type, SystemExit):
        thread = died.thread.name if died.thread else "?"
        exc_info = (died.exc_type, died.exc_value, died.exc_traceback)
        logger(__name__).critical(_DIED, thread=thread, exc_info=exc_info)
