"""The ledger: outputs wait here together with the records they account for, until one transaction takes them."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, groupby
from operator import attrgetter

from consumers.lanes import Lanes
from consumers.outputs import Moment
from pipeline.events.records import Modality
from pipeline.join.lane import Lane
from pipeline.kafka.committer import Committer
from pipeline.kafka.contract import GroupMetadata, Message, Output, Transaction
from pipeline.kafka.errors import AbortNeeded, Fatal
from pipeline.telemetry import metrics

REFRESH_MS = 1_000
BEHIND_MS = 100
_LANE, _FRESH, _VALUE = attrgetter("lane"), attrgetter("fresh"), attrgetter("value")
MAX_ABORTS_IN_A_ROW = 20
Receipt = Callable[[], None]


class Ledger:
    """Books each record once, and commits what is booked.

    Exactly once rests on one order: a record is finished in its lane at the moment its output is booked, and each
    transaction takes all booked outputs and all changed positions, so neither is ever committed without the other.
    Payload counts as waiting until its transaction is through, so that a slow one holds the source back.

    A commit starts as soon as something is booked and the last commit is through, at least `commit_min_ms` apart:
    low latency when it is quiet, large transactions under load. Where the consumer is behind they are at least
    `BEHIND_MS` apart: the records have waited longer than that in any case, and small transactions would take the
    processor from catching up. Positions that changed without an output, such as newly opened windows, are committed
    once a second.
    """

    def __init__(self, lanes: Lanes, committer: Committer, commit_min_ms: int) -> None:
        self._lanes = lanes
        self._committer = committer
        self._commit_min_ms = commit_min_ms
        self._booked: list[Output] = []
        self._receipts: list[Receipt] = []
        self._on_their_way: list[Receipt] = []
        self._last_commit_ms = 0
        self._waiting_since_ms: int | None = None
        self._aborts_in_a_row = 0
        self._is_behind = False

    def __len__(self) -> int:
        """The number of outputs that wait for a transaction."""
        return len(self._booked)

    @property
    def is_settled(self) -> bool:
        """Whether nothing is booked and nothing on its way."""
        return not self._booked and not self._committer.busy

    def book(self, lane: Lane, modality: Modality, message: Message, output: Output) -> None:
        """Books one output for the one source record it accounts for; it may be as large as that."""
        self._booked.append(output)
        lane.finish(modality, [message.offset])
        self._lanes.take_in(len(output.value))
        self._receipts.append(partial(self._lanes.let_go, len(message.value or b"") + len(output.value)))

    def book_all(self, moments: Sequence[Moment], outputs: Sequence[Output], committed: Receipt) -> None:
        """Books an output for each of these moments; it accounts for the moment's fresh records.

        Args:
            moments: what was answered.
            outputs: the answers.
            committed: is called when they are.
        """
        self._booked += outputs
        self._receipts.append(committed)
        for lane, run in groupby(moments, key=_LANE):
            records = list(chain.from_iterable(map(_FRESH, run)))
            for modality in Modality:
                lane.finish(modality, [record.offset for record in records if record.modality is modality])
            self._receipts.append(partial(self._lanes.let_go, sum(map(len, map(_VALUE, records)))))

    def commit_if_due(self, group: Callable[[], GroupMetadata], now_ms: int, *, behind: bool = False) -> None:
        """Takes note of a commit that is through and starts the next one if it is due.

        Args:
            group: returns the generation to commit under.
            now_ms: the time.
            behind: whether more records wait than a step takes, which counts until the next commit.

        Raises:
            AbortNeeded: the last commit did not go through: forget everything and go back to what is committed.
            Fatal: this process cannot go on.
        """
        self._settle(wait=False)
        self._is_behind |= behind
        if self._booked and self._waiting_since_ms is None:
            self._waiting_since_ms = now_ms
        at_least_ms = BEHIND_MS if self._is_behind else 0
        wait_ms = max(self._commit_min_ms, at_least_ms) if self._booked else REFRESH_MS
        if not self._committer.busy and now_ms - self._last_commit_ms >= wait_ms:
            self._commit(group, now_ms)

    def commit_all(self, group: Callable[[], GroupMetadata], now_ms: int) -> None:
        """Commits what is booked and waits for it. Raises as `commit_if_due` does."""
        self._settle(wait=True)
        self._commit(group, now_ms)
        self._settle(wait=True)

    def forget(self) -> None:
        """Drops what is booked and waits for the commit on its way, whatever becomes of it."""
        self._booked, self._receipts, self._waiting_since_ms = [], [], None
        with suppress(AbortNeeded):
            self._settle(wait=True)

    def close(self) -> None:
        """Ends the commit thread and gives the transactional id up."""
        self._committer.close()

    def _commit(self, group: Callable[[], GroupMetadata], now_ms: int) -> None:
        offsets = self._lanes.take_offsets()
        if not offsets:
            return
        outputs, self._booked = self._booked, []
        self._on_their_way, self._receipts = self._receipts, []
        if self._waiting_since_ms is not None:
            metrics.COMMIT_WAIT.observe((now_ms - self._waiting_since_ms) / 1_000)
        self._last_commit_ms, self._waiting_since_ms, self._is_behind = now_ms, None, False
        self._committer.submit(Transaction(outputs, offsets, group()))

    def _settle(self, *, wait: bool) -> None:
        try:
            through = self._committer.settle(wait=wait)
        except AbortNeeded as error:
            metrics.TRANSACTIONS.labels("aborted").inc()
            self._aborts_in_a_row += 1
            if self._aborts_in_a_row > MAX_ABORTS_IN_A_ROW:
                raise Fatal(f"{self._aborts_in_a_row} transactions in a row were aborted. The last: {error}") from error
            raise
        if through:
            metrics.TRANSACTIONS.labels("committed").inc()
            self._aborts_in_a_row = 0
            for receipt in self._on_their_way:
                receipt()
