"""Shows how long the model takes: as a metric, and with `monitoring.enable_request_logging` in a line a batch."""

import time
from collections.abc import Sequence

from pipeline.model.errors import InferenceFailed
from pipeline.model.inference import Predictor, Probabilities
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
        began_s = time.monotonic()
        try:
            answer = self._predictor.predict(samples)
        except InferenceFailed as error:
            if self._log:
                _log.warning("batch failed", **_figures(samples, began_s), problem=str(error))
            raise
        MODEL_SECONDS.observe(time.monotonic() - began_s)
        if self._log:
            _log.info("batch answered", **_figures(samples, began_s))
        return answer


def _figures(samples: Sequence[Sample], began_s: float) -> dict[str, float]:
    return {
        "samples": len(samples),
        "complete": sum(all(sample.present) for sample in samples),
        "ms": round((time.monotonic() - began_s) * 1_000, 2),
    }
