"""Fixtures that all tests share; the real servers come from `tests.support.stack`."""

import logging
import os
import random
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

pytest_plugins = ["tests.support.stack", "tests.faults.table"]

# A shell that starts the tests in the background has SIGINT ignored, and so would every process that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("quick", max_examples=200, deadline=None, print_blob=True)
settings.register_profile("nightly", max_examples=10_000, deadline=None, print_blob=True)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "quick")
SEED = int(os.environ.get("HYPOTHESIS_SEED") or random.randrange(2**32))
os.environ["HYPOTHESIS_SEED"] = str(SEED)  # for the workers of pytest-xdist
settings.load_profile(PROFILE)

FAULTS = Path(__file__).parent / "faults"


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """Takes back what a test has set up for the logs of this process: commands do so, and they are called in here."""
    config, root = structlog.get_config(), logging.getLogger()
    hooks = sys.excepthook, threading.excepthook
    before = (root.handlers, root.level, root.propagate)
    yield
    structlog.configure(**config)
    root.handlers, root.level, root.propagate = before
    logging.captureWarnings(capture=False)
    sys.excepthook, threading.excepthook = hooks


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Lets `pytest -n 2 --dist loadgroup` keep those together that share a stack: a worker each."""
    for item in items:
        if item.path.is_relative_to(FAULTS):
            item.add_marker(pytest.mark.xdist_group("faults"))
        elif item.get_closest_marker("stack"):
            item.add_marker(pytest.mark.xdist_group("stack"))


def pytest_report_header() -> str:
    """Says how the schedules of `tests/property/test_replicas.py` can be had again."""
    return f"schedules: HYPOTHESIS_PROFILE={PROFILE} HYPOTHESIS_SEED={SEED}"
