"""What a worker process of the model may be started with, by name, since it is pickled."""

import os
import signal
import time
from collections.abc import Sequence

import numpy as np

from pipeline.events.records import Modality
from pipeline.model.contract import Probabilities
from pipeline.model.errors import BrokenBundle, InferenceFailed
from pipeline.model.processes import InProcesses, Worker
from pipeline.model.samples import Sample
from pipeline.model.specs import InputSpecs
from pipeline.model.verdicts import SampleDecoder, media_decoder
from tests.support.events import CODEC, Later, StubPredictor

CLASSES = 10


class TellsItsProcess(StubPredictor):
    """Answers with the number of its process in every column; cannot answer without a picture."""

    def predict(self, samples: Sequence[Sample]) -> Probabilities:
        """Returns rows of the process's number."""
        if any(sample.image is None for sample in samples):
            raise InferenceFailed("It wants a picture.")
        return np.full((len(samples), CLASSES), os.getpid(), np.float32)


class NeverAnswers(StubPredictor):
    """Hangs."""

    def submit(self, samples: Sequence[Sample]) -> Later:
        """Returns what does not come back."""
        return Later(lambda: self.predict(samples))

    def predict(self, samples: Sequence[Sample]) -> Probabilities:
        """Waits for ever."""
        while samples:
            time.sleep(60)
        raise AssertionError("a batch of nothing")


def telling() -> Worker:
    """Returns a worker that tells which process it is in."""
    return _worker(TellsItsProcess())


def hanging() -> Worker:
    """Returns a worker whose watchdog has work to do."""
    return _worker(NeverAnswers(), timeout_s=0.2)


def broken() -> Worker:
    """Fails to start."""
    raise BrokenBundle("The bundle is broken.")


def killed() -> Worker:
    """Does not live to see its start."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("killed")


def broken_once(marker: str) -> Worker:
    """Fails to start in one process only: the one that makes the file."""
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return telling()
    return broken()


def main() -> None:
    """Starts two workers, prints their numbers and waits, as a consumer would."""
    model = InProcesses(telling, 2)
    print(*model.pids, flush=True)  # noqa: T201  (for the test that reads it)
    time.sleep(600)


def _worker(predictor: StubPredictor, timeout_s: float = 30.0) -> Worker:
    return Worker(predictor, SampleDecoder(media_decoder(CODEC, InputSpecs()), len(Modality) - 1), timeout_s)


if __name__ == "__main__":
    main()
