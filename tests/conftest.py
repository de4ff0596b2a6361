"""Fixtures that all tests share; the real servers come from `tests.support.stack`."""

import os
import random
import signal

from hypothesis import settings

pytest_plugins = ["tests.support.stack"]

# A shell that starts the tests in the background has SIGINT ignored, and so would every process that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("quick", max_examples=200, deadline=None, print_blob=True)
settings.register_profile("nightly", max_examples=10_000, deadline=None, print_blob=True)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "quick")
SEED = int(os.environ.get("HYPOTHESIS_SEED") or random.randrange(2**32))
settings.load_profile(PROFILE)


def pytest_report_header() -> str:
    """Says how the schedules of `tests/property/test_replicas.py` can be had again."""
    return f"schedules: HYPOTHESIS_PROFILE={PROFILE} HYPOTHESIS_SEED={SEED}"
