"""`tests.bench.pipeline_loop` with metrics as in production, or with none at all.

`BENCH_METRICS=off` takes all of them out: what is then left is the pipeline without a single call for a metric.
"""

import os
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from consumers import fusion
from consumers.outputs import Moment
from consumers.vitals import Vitals
from pipeline.events.records import Reason
from pipeline.kafka.committer import Committer
from pipeline.kafka.contract import Transaction
from pipeline.settings import load
from pipeline.telemetry import metrics
from pipeline.telemetry.health import Health
from pipeline.telemetry.serving import serve
from tests.bench import pipeline_loop

METRICS = "BENCH_METRICS"


class Mute(Vitals):
    """Shows nothing, but for the first record, which starts the clock."""

    _has_begun = False

    def received(self, topic: str, records: int) -> None:
        """Says so the first time."""
        if not self._has_begun:
            self._has_begun = True
            metrics.RECORDS.labels(topic).inc(records)

    def left_for_model(self, samples: int, waited_ms: int) -> None:
        """Does nothing."""

    def published(self, moments: Sequence[Moment], newest_ms: npt.NDArray[np.int64]) -> Callable[[], None]:
        """Does nothing, now and later."""
        return lambda: None

    def set_aside(self, topic: str, reason: Reason) -> None:
        """Does nothing."""

    def watch(self, now_ms: int) -> None:
        """Does nothing."""


def mute() -> None:
    """Takes the metrics out of this process."""

    def commit(committer: Committer, transaction: Transaction) -> None:
        committer._sink.commit(transaction)

    setattr(fusion, "Vitals", Mute)  # noqa: B010  (for this process only)
    setattr(Committer, "_commit", commit)  # noqa: B010


if __name__ == "__main__":
    if os.environ[METRICS] == "off":
        mute()
    else:
        serve(load().settings.monitoring, Health())
    pipeline_loop.main()
