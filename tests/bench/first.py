"""Tells when a fusion consumer in this process has read its first byte."""

import time

from pipeline.settings import Settings
from pipeline.telemetry import metrics
from tests.bench.clock import say_first


def await_first(settings: Settings) -> None:
    """Waits for the first record of any source, and says so."""
    received = [metrics.RECORDS.labels(topic)._value for topic in settings.topics.sources]
    while not any(count.get() for count in received):
        time.sleep(0.001)
    say_first()
