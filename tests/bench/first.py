"""Tells when a fusion consumer in this process has read its first byte."""

import threading
import time

from pipeline.settings import Settings
from pipeline.telemetry import metrics
from tests.bench.clock import say_first


def await_first(settings: Settings, worker: threading.Thread) -> None:
    """Waits for the first record of any source, and says so; returns when the consumer's thread ends before."""
    labels = [{"topic": topic} for topic in settings.topics.sources]
    while not any(metrics.REGISTRY.get_sample_value("trimodal_records_total", label) for label in labels):
        if not worker.is_alive():
            return
        time.sleep(0.001)
    say_first()
