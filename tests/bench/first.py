"""Tells when a fusion consumer in this process has read its first byte."""

import threading
import time

from pipeline.telemetry import metrics
from tests.bench.clock import say_first


def await_first(worker: threading.Thread) -> None:
    """Waits for the first record of any source, and says so; returns when the consumer's thread ends before."""
    while not any(sample.value for family in metrics.RECORDS.collect() for sample in family.samples):
        if not worker.is_alive():
            return
        time.sleep(0.001)
    say_first()
