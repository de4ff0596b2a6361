"""Shows how long the model takes: as a metric, and with `monitoring.enable_request_logging` in a line a batch."""

import time
from collections.abc import Sequence

from pipeline.model.errors import InferenceFailed
from pipeline.model.inference import Pending, Predictor, Probabilities
from pipeline.model.samples import Sample
from pipeline.telemetry.logs import logger
from pipeline.telemetry.metrics import MODEL_SECONDS

_log = logger(__name__)


class WatchedPredictor:
    """Passes batches on, and says of each how large it was and how long it took.

    Args:
        predictor: what answers.
        log: whether to write a line a batch.
    """

    def __init__(self, predictor: Predictor, *, log: bool) -> None:
        self._predictor = predictor
        self._log = log

    def predict(self, samples: Sequence[Sample]) -> Probabilities:
        """Returns what the predictor answers; raises what it raises."""
        return self.submit(samples).result()

    def submit(self, samples: Sequence[Sample]) -> Pending:
        """Starts a batch; how long it took is from here to its result."""
        return _Watched(samples, self._predictor.submit(samples), log=self._log)


class _Watched:
    def __init__(self, samples: Sequence[Sample], pending: Pending, *, log: bool) -> None:
        self._samples, self._pending, self._log = samples, pending, log
        self._began_s = time.monotonic()

    def result(self) -> Probabilities:
        try:
            answer = self._pending.result()
        except InferenceFailed as error:
            if self._log:
                _log.warning("batch failed", **_figures(self._samples, self._began_s), problem=str(error))
            raise
        MODEL_SECONDS.observe(time.monotonic() - self._began_s)
        if self._log:
            _log.info("batch answered", **_figures(self._samples, self._began_s))
        return answer


def _figures(samples: Sequence[Sample], began_s: float) -> dict[str, float]:
    return {
        "samples": len(samples),
        "complete": sum(all(sample.present) for sample in samples),
        "ms": round((time.monotonic() - began_s) * 1_000, 2),
    }
