"""A fusion replica with a stand-in model, as a process that a test can kill: `python -m tests.support.replica`.

The environment can make it misbehave, each variable in one way:

* `HANG_BEFORE_COMMIT=N`: it hangs in its N-th transaction with outputs, between sending the offsets and committing.
* `STOP_BEFORE_COMMIT=N`: there it stops itself as SIGSTOP does; SIGCONT lets it go on.
* `HANG_IN_COMMIT=N`: the call that commits the N-th never returns, so that the watchdog has to end the process.
* `SLOW_BATCH_S=S`: the model takes so long for every batch.
* `FAILS_ON_SILENCE=raise`: the model raises for speech that is all zeros.
* `FAILS_ON_SILENCE=memory`: the shipped model answers, and its engine runs out of memory for such speech.

Where it hangs or stops, and when a slow batch begins, it says so on standard output.
"""

import ctypes
import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence

from consumers.assembly import fusion_consumer
from pipeline.kafka.contract import Transaction
from pipeline.kafka.sink import KafkaSink
from pipeline.model.contract import Predictor, Probabilities
from pipeline.model.engines import CpuEngine, Logits
from pipeline.model.samples import Sample
from pipeline.settings import Settings, load
from pipeline.telemetry import logs
from pipeline.telemetry.health import Health
from pipeline.telemetry.serving import serve
from tests.support.events import StubPredictor

HANGS = "HANG_BEFORE_COMMIT"
STOPS = "STOP_BEFORE_COMMIT"
HANGS_INSIDE = "HANG_IN_COMMIT"
SLOW = "SLOW_BATCH_S"
FAILS = "FAILS_ON_SILENCE"
PR_SET_PDEATHSIG = 1  # linux/prctl.h
OPEN = "a transaction is open"
BUSY = "a batch is in the model"
IDLE = "a batch has left the model"
_log = logs.logger(__name__)


def say(what: str) -> None:
    """Tells the test."""
    sys.stdout.write(what + "\n")
    sys.stdout.flush()


def hang() -> None:
    """Never returns."""
    threading.Event().wait()


def misbehave_in_commit(number: int, before: Callable[[], object], inside: Callable[[], object] | None) -> None:
    """Makes the sink do something before the call that commits its `number`-th transaction, or `inside` instead.

    Transactions without outputs are not counted.
    """
    seen = 0
    real_commit, real_call = KafkaSink.commit, KafkaSink._call

    def commit(sink: KafkaSink, transaction: Transaction) -> None:
        nonlocal seen
        seen += bool(transaction.outputs)
        real_commit(sink, transaction)

    def call(sink: KafkaSink, doing: str, action: Callable[[], object]) -> None:
        nonlocal seen
        if doing == "committing" and seen == number:
            seen += 1
            say(OPEN)
            before()
            action = inside or action
        real_call(sink, doing, action)

    setattr(KafkaSink, "commit", commit)  # noqa: B010  (for this process only)
    setattr(KafkaSink, "_call", call)  # noqa: B010


class SlowPredictor(StubPredictor):
    """Takes its time."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def predict(self, samples: Sequence[Sample]) -> Probabilities:
        """Says that it has begun, also in the log, and waits."""
        _log.info(BUSY)
        say(BUSY)
        time.sleep(self._seconds)
        _log.info(IDLE)
        return super().predict(samples)


def is_silent(sample: Sample) -> bool:
    """Whether the sample's speech is all zeros, and its picture is not: the model warms up with blank samples."""
    speech, image = sample.speech, sample.image
    return speech is not None and image is not None and not speech.any() and bool(image.any())


def short_of_memory(settings: Settings) -> Predictor:
    """Returns the shipped model in this process, with an engine that fails at silence as an allocator would."""
    import torch  # noqa: PLC0415  (takes seconds, and only this needs it)

    from consumers.runtime import warm_runtime  # noqa: PLC0415

    real_logits = CpuEngine.logits

    def logits(engine: CpuEngine, samples: Sequence[Sample]) -> Logits:
        if any(map(is_silent, samples)):
            raise torch.OutOfMemoryError("told to run out of memory")
        return real_logits(engine, samples)

    setattr(CpuEngine, "logits", logits)  # noqa: B010  (for this process only)
    return warm_runtime(settings)


def predictor(settings: Settings) -> Predictor:
    """Returns the stand-in that the environment asks for."""
    if seconds := os.environ.get(SLOW):
        return SlowPredictor(float(seconds))
    match os.environ.get(FAILS):
        case "memory":
            return short_of_memory(settings)
        case "raise":
            return StubPredictor(lambda samples: any(map(is_silent, samples)))
    return StubPredictor()


def end_with_parent() -> None:
    """Asks the kernel for SIGKILL when the test's process ends, however it ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """Runs until SIGTERM."""
    end_with_parent()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    settings = load().settings
    logs.configure(settings.monitoring, program="replica", replica=settings.kafka.replica)
    if number := os.environ.get(HANGS):
        misbehave_in_commit(int(number), hang, None)
    if number := os.environ.get(STOPS):
        misbehave_in_commit(int(number), lambda: os.kill(os.getpid(), signal.SIGSTOP), None)
    if number := os.environ.get(HANGS_INSIDE):
        misbehave_in_commit(int(number), lambda: None, hang)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    health = Health()
    logs.logger(__name__).info("starting", metrics_port=serve(settings.monitoring, health))
    fusion_consumer(settings, predictor(settings), health).run(stop)


if __name__ == "__main__":
    main()
