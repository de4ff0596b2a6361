"""What works beside the fusion consumer, without a will of its own: a test decides when it gets on."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.kafka.committer import Committer
from pipeline.kafka.contract import Output, Sink, Transaction
from pipeline.kafka.errors import KafkaFailure
from pipeline.model.inference import Inference
from tests.support.fusion import Replica
from tests.support.memory import MemorySink


class SteppedCommitter(Committer):
    """Takes a transaction through its two steps, each when it is told to, or when somebody waits for it."""

    def __init__(self, sink: Sink) -> None:
        assert isinstance(sink, MemorySink)
        super().__init__(sink)
        self.sink = sink
        self._steps = 0
        self._transaction: Transaction | None = None
        self._failure: KafkaFailure | None = None

    @property
    def busy(self) -> bool:
        """Whether a transaction is on its way, or its end has not been told yet."""
        return self._transaction is not None

    @property
    def outputs(self) -> Sequence[Output]:
        """Of the transaction on its way."""
        return self._transaction.outputs if self._transaction else ()

    def submit(self, transaction: Transaction) -> None:
        """Takes a transaction."""
        assert not self.busy
        self._transaction, self._steps, self._failure = transaction, 0, None

    def advance(self) -> None:
        """Sends what was submitted, or ends what was sent."""
        if self._transaction is None or self._has_ended:
            return
        try:
            if self._steps == 0:
                self.sink.send(self._transaction)
            else:
                self.sink.end()
        except KafkaFailure as failure:
            self._failure = failure
        self._steps += 1

    def settle(self, *, wait: bool) -> bool:
        """Tells the end once, if there is one; with `wait` there is."""
        while wait and self.busy and not self._has_ended:
            self.advance()
        if not self.busy or not self._has_ended:
            return False
        self._transaction = None
        if self._failure is not None:
            raise self._failure
        return True

    @property
    def _has_ended(self) -> bool:
        return self._steps == 2 or self._failure is not None


class SteppedInference(Inference):
    """Answers everything there is, or nothing while it is held; never what merely happens to be ready."""

    is_held = False

    def results(self, wait_s: float = 0.0) -> list:  # type: ignore[type-arg]
        """Returns all answers. Who waits for them gets them though they are held."""
        answers: list = []  # type: ignore[type-arg]
        while len(self) and (wait_s or not self.is_held):
            answers += super().results(30.0)
        return answers


@dataclass
class Process:
    """A living replica. While it stands still, its session may end; then it goes on as a zombie."""

    name: str
    replica: Replica
    stands_still: bool = False

    @property
    def committer(self) -> SteppedCommitter:
        """Gets on when it is told to."""
        assert isinstance(self.replica.committer, SteppedCommitter)
        return self.replica.committer

    @property
    def inference(self) -> SteppedInference:
        """Can be held."""
        assert isinstance(self.replica.inference, SteppedInference)
        return self.replica.inference
