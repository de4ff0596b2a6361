"""A log line for every batch that the model is asked for (`monitoring.enable_request_logging`)."""

from collections.abc import Sequence

from pipeline.model.errors import InferenceFailed
from pipeline.model.inference import Predictor, Probabilities
from pipeline.model.samples import Sample
from pipeline.telemetry.clock import monotonic_ms
from pipeline.telemetry.logs import logger

_log = logger(__name__)


class LoggedPredictor:
    """Passes batches on, and says of each how large it was and how long it took."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def predict(self, samples: Sequence[Sample]) -> Probabilities:
        """Returns what the predictor answers; raises what it raises."""
        started_ms = monotonic_ms()
        try:
            answer = self._predictor.predict(samples)
        except InferenceFailed as error:
            _log.warning("batch failed", samples=len(samples), ms=monotonic_ms() - started_ms, problem=str(error))
            raise
        _log.info("batch answered", samples=len(samples), ms=monotonic_ms() - started_ms)
        return answer
