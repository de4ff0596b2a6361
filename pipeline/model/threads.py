"""The model in threads of this process, for a GPU: it gets the next batch before it has answered the last."""

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from pipeline.model.ahead import Ahead
from pipeline.model.contract import Pending, Predictor, Request
from pipeline.model.samples import Sample
from pipeline.model.verdicts import Decoded, Judged, SampleDecoder, isolate, judged, samples_of
from pipeline.telemetry.watchdog import Watchdog

_DECODE_CHUNK = 8
AHEAD = 2
"""Batches that the model has at a time: a GPU copies one while it computes another."""


@dataclass(frozen=True, slots=True)
class _Asked:
    decoded: Sequence[Decoded]
    samples: Sequence[Sample]
    pending: Pending
    began_s: float


class InThreads:
    """Decodes media in a pool and asks the predictor in one thread, in order; a `Model`.

    Args:
        predictor: called from one thread only.
        decoder: makes what the predictor looks at of message values.
        decode_threads: threads that decode media.
        request_timeout_s: longest time for one batch before the watchdog ends the process.
    """

    def __init__(
        self, predictor: Predictor, decoder: SampleDecoder, decode_threads: int, request_timeout_s: float
    ) -> None:
        self._predictor, self._decoder = predictor, decoder
        self._decoders = ThreadPoolExecutor(decode_threads, thread_name_prefix="decode")
        self._model = Ahead(self._ask, self._conclude, AHEAD)
        self._watchdog = Watchdog(request_timeout_s)

    def submit(self, requests: Sequence[Request]) -> Sequence[Future[Judged]]:
        """Starts on a batch; returns it as one part."""
        chunks = [
            self._decoders.submit(self._decode, requests[start : start + _DECODE_CHUNK])
            for start in range(0, len(requests), _DECODE_CHUNK)
        ]
        return [self._model.submit(chunks, lambda: all(chunk.done() for chunk in chunks))]

    def close(self) -> None:
        """Waits for what is on its way and ends the threads."""
        self._decoders.shutdown()
        self._model.close()
        self._watchdog.close()

    def _decode(self, requests: Sequence[Request]) -> list[Decoded]:
        return self._decoder.decode([request.records for request in requests])

    def _ask(self, chunks: Sequence[Future[list[Decoded]]]) -> _Asked:
        decoded = [one for chunk in chunks for one in chunk.result()]
        samples, began_s = samples_of(decoded), time.monotonic()
        return _Asked(decoded, samples, self._predictor.submit(samples), began_s)

    def _conclude(self, asked: _Asked) -> Judged:
        with self._watchdog.watching(f"a batch of {len(asked.samples)} in the model"):
            results = isolate(self._predictor.predict, asked.samples, asked.pending.result)
        return judged(asked.decoded, results, asked.began_s)
