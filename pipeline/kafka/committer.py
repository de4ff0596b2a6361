"""Commits in a thread of its own, one transaction at a time, while the consumer goes on reading and joining."""

import time
from concurrent.futures import Future, ThreadPoolExecutor

from pipeline.kafka.contract import Sink, Transaction
from pipeline.telemetry import metrics


class Committer:
    """Hands transactions to a sink. Only this thread touches the sink."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._current: Future[None] | None = None
        self._last_commit_s: float | None = None

    @property
    def busy(self) -> bool:
        """Whether a transaction is on its way."""
        return self._current is not None

    @property
    def last_commit_s(self) -> float | None:
        """When the last commit went through, on the monotonic clock; None before the first."""
        return self._last_commit_s

    def submit(self, transaction: Transaction) -> None:
        """Starts a commit; the last one must have been settled."""
        assert self._current is None
        self._current = self._thread.submit(self._commit, transaction)

    def settle(self, *, wait: bool) -> bool:
        """Returns whether a commit went through since the last call; with `wait`, waits for the one on its way.

        Raises:
            AbortNeeded: it did not go through.
            Fatal: this process cannot go on.
        """
        if self._current is None or not (wait or self._current.done()):
            return False
        current, self._current = self._current, None
        current.result()
        return True

    def close(self) -> None:
        """Waits for the commit on its way and closes the sink."""
        self._thread.shutdown()
        self._sink.close()

    def _commit(self, transaction: Transaction) -> None:
        began_s, result = time.monotonic(), "aborted"
        try:
            self._sink.commit(transaction)
            self._last_commit_s, result = time.monotonic(), "committed"
            metrics.LAST_COMMIT.set_to_current_time()
        finally:
            metrics.COMMIT_SECONDS.labels(result).observe(time.monotonic() - began_s)
