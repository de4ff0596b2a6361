"""Fixtures that all tests share; the real servers come from `tests.support.stack`."""

import os
import random
import signal
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["tests.support.stack"]

# A shell that starts the tests in the background has SIGINT ignored, and so would every process that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("quick", max_examples=200, deadline=None, print_blob=True)
settings.register_profile("nightly", max_examples=10_000, deadline=None, print_blob=True)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "quick")
SEED = int(os.environ.get("HYPOTHESIS_SEED") or random.randrange(2**32))
os.environ["HYPOTHESIS_SEED"] = str(SEED)  # for the workers of pytest-xdist
settings.load_profile(PROFILE)

FAULTS = Path(__file__).parent / "faults"


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
