"""Fixtures that all tests share; the real servers come from `tests.support.stack`."""

import os
import signal

from hypothesis import settings

pytest_plugins = ["tests.support.stack"]

# A shell that starts the tests in the background has SIGINT ignored, and so would every process that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("quick", max_examples=200, deadline=None, print_blob=True)
settings.register_profile("nightly", max_examples=10_000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
