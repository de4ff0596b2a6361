"""The fusion program: a source event's way from Kafka to its prediction or dead letter, top to bottom.

One thread takes the steps and owns the lanes and the ledger. The model and the commits work beside it, each in a
thread of its own, and hand their results back.
"""

import gc
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from itertools import chain

import numpy as np

from consumers.lanes import Lanes
from consumers.ledger import Ledger
from consumers.outputs import Moment, OutputBuilder, moment_of
from consumers.vitals import Vitals
from pipeline.events.records import Modality, Reason
from pipeline.join.inspection import Inspector
from pipeline.join.lane import Lane
from pipeline.join.outcomes import Amended, Duplicate, Incomplete, Joined, Late, Outcome, Partial, Record
from pipeline.kafka.committer import Committer
from pipeline.kafka.contract import (
    Committed,
    Delivery,
    EndOfPartition,
    Fresh,
    Message,
    PartitionListener,
    Source,
    TopicPartition,
)
from pipeline.kafka.errors import AbortNeeded
from pipeline.model.batcher import Batcher
from pipeline.model.inference import Answers, Classified, Classifier, Failed, Probabilities, TooFewInputs
from pipeline.settings import Settings
from pipeline.telemetry.clock import monotonic_ms
from pipeline.telemetry.health import Health
from pipeline.telemetry.logs import logger

POLL_RECORDS = 4_000
QUIET_POLL_S = 0.05
BUSY_POLL_S = 0.002
COLLECTION_THRESHOLDS = 100_000, 50, 100
VOID = "The answer that it would amend was not given."
_log = logger(__name__)


class FusionConsumer(PartitionListener):
    """One replica of the fusion group.

    `connect` makes the source and the committer, given the listener that rebalances are told to.
    """

    def __init__(
        self,
        settings: Settings,
        inspector: Inspector,
        inference: Classifier,
        outputs: OutputBuilder,
        connect: Callable[[PartitionListener], tuple[Source, Committer]],
        health: Health | None = None,
    ) -> None:
        self._inspector = inspector
        self._inference = inference
        self._outputs = outputs
        self._lanes = Lanes(settings)
        self._batcher: Batcher[Moment] = Batcher(settings.serving.batch_size, settings.serving.max_wait_ms)
        self._source, committer = connect(self)
        self._ledger = Ledger(self._lanes, committer, settings.join.commit_min_ms)
        queues: dict[str, Sized] = {"batch": self._batcher, "model": inference, "commit": self._ledger}
        self._vitals = Vitals(self._lanes, self._source, committer, queues, health or Health())

    def run(self, stop: threading.Event) -> None:
        """Works until `stop` is set, then finishes what is in flight and commits it."""
        _spare_the_collector()
        try:
            while not stop.is_set():
                self._attempt(self.step)
            _log.info("finishing what is in flight")
            self._attempt(self._finish)
        finally:
            self._source.close()
            self._ledger.close()
            self._inference.close()

    def step(self) -> None:
        """Takes everything one step further. Raises AbortNeeded or Fatal."""
        busy = self._is_draining() or not self._ledger.is_settled
        for arrival in self._source.poll(POLL_RECORDS, BUSY_POLL_S if busy else QUIET_POLL_S):
            match arrival:
                case Delivery():
                    self._receive(arrival)
                case EndOfPartition():
                    self._lanes.at_end(arrival, monotonic_ms())
        for lane, outcomes in self._lanes.advance(monotonic_ms()):
            self._settle(lane, outcomes)
        self._classify()
        self._conclude(self._inference.results())
        self._ledger.commit_if_due(self._source.group_metadata, monotonic_ms())
        self._lanes.hold_back(self._source, monotonic_ms(), draining=self._is_draining())
        self._vitals.watch(monotonic_ms())

    # 1. Records of a partition come in. Those that were finished before a restart are only remembered.

    def _receive(self, delivery: Delivery) -> None:
        messages, modality = delivery.messages, self._lanes.modality(delivery.topic)
        self._vitals.received(delivery.topic, len(messages))
        if (lane := self._lanes.get(delivery.partition)) is None:
            return
        finished = lane.admit(modality, [message.offset for message in messages])
        self._lanes.take_in(sum([len(message.value or b"") for message in messages if message.offset not in finished]))
        records, refused = self._inspector.inspect(modality, delivery.partition, messages)
        for message, error in refused:
            if message.offset not in finished:
                self._dead_letter(lane, modality, message, error.reason, str(error))
        self._settle(lane, lane.add(modality, records, finished))

    # 2. The join has settled something: it goes to the model, or to the dead letters.

    def _settle(self, lane: Lane, outcomes: Iterable[Outcome]) -> None:
        now_ms = monotonic_ms()
        for outcome in outcomes:
            match outcome:
                case Joined(key, records) | Partial(key, records):
                    self._batcher.add(moment_of((lane, key, records, records, False)), now_ms)
                case Amended(key, records, added):
                    self._batcher.add(Moment(lane, key, records, fresh=(added,), amends=True), now_ms)
                case Incomplete(_, records):
                    self._incomplete(lane, records)
                case Late(record, watermark_ms):
                    closed = f"its event time {record.event_time_ms}, the watermark {watermark_ms}"
                    self._too_late(lane, [record], f"Its window had closed: {closed}.")
                case Duplicate(record):
                    detail = f"Its key already had a {record.modality.name.lower()} event within join.window_ms."
                    self._dead_letter(lane, record.modality, record.payload, Reason.DUPLICATE, detail)

    # 3. A batch leaves for the model when it is full or has waited long enough, and there is room.

    def _classify(self) -> None:
        while self._inference.has_room and (batch := self._batcher.take(monotonic_ms())):
            self._vitals.left_for_model(len(batch), self._batcher.waited_ms)
            self._inference.submit(batch)

    # 4. The model has answered: the inputs it used become one prediction, each refused one a dead letter.

    def _conclude(self, batches: Sequence[Answers]) -> None:
        for answer in chain.from_iterable(batch.others for batch in batches):
            self._conclude_in_part(answer)
        if not (answered := [batch for batch in batches if batch.whole]):
            return
        moments: list[Moment] = list(chain.from_iterable(batch.whole for batch in answered))
        probabilities = np.concatenate([batch.probabilities for batch in answered])
        if void := [row for row, moment in enumerate(moments) if moment.amends and self._is_void(moment)]:
            for row in reversed(void):
                moment = moments.pop(row)
                self._too_late(moment.lane, moment.fresh, VOID)
            probabilities = np.delete(probabilities, void, axis=0)
        if moments:
            self._publish(moments, probabilities)

    def _conclude_in_part(self, answer: Classified | Failed | TooFewInputs) -> None:
        moment: Moment = answer.request
        used = tuple(record for record in moment.records if record.modality not in answer.refused)
        fresh = tuple(record for record in moment.fresh if record.modality not in answer.refused)
        match answer:
            case _ if self._is_void(moment):
                self._too_late(moment.lane, fresh, VOID)
            case Classified(_, probabilities) if fresh:
                self._publish([moment._replace(records=used, fresh=fresh)], probabilities[np.newaxis])
            case Failed(_, problem):
                for record in fresh:
                    self._dead_letter(moment.lane, record.modality, record.payload, Reason.INFERENCE_FAILED, problem)
            case TooFewInputs():
                self._incomplete(moment.lane, fresh)
        if not moment.amends:
            moment.lane.withdraw(moment.records)
        for record in moment.fresh:
            if (error := answer.refused.get(record.modality)) is not None:
                self._dead_letter(moment.lane, record.modality, record.payload, error.reason, str(error))

    def _is_void(self, moment: Moment) -> bool:
        """Whether it amends an answer that was not given."""
        return moment.amends and moment.lane.is_withdrawn(moment.records)

    # 5. What comes out is booked, and committed together with the positions of the records it accounts for.

    def _publish(self, moments: Sequence[Moment], probabilities: Probabilities) -> None:
        outputs, latencies_ms = self._outputs.predictions(moments, probabilities)
        self._vitals.published(moments, latencies_ms)
        self._ledger.book_all(moments, outputs)

    def _incomplete(self, lane: Lane, records: Sequence[Record]) -> None:
        detail = f"{len(records)} usable of 3 inputs came for its key in its window."
        for record in records:
            self._dead_letter(lane, record.modality, record.payload, Reason.INCOMPLETE, detail)

    def _too_late(self, lane: Lane, records: Sequence[Record], detail: str) -> None:
        for record in records:
            self._dead_letter(lane, record.modality, record.payload, Reason.LATE, detail)

    def _dead_letter(self, lane: Lane, modality: Modality, message: Message, reason: Reason, detail: str) -> None:
        self._vitals.set_aside(message.topic, reason)
        self._ledger.book(lane, modality, message, self._outputs.dead_letter(message, reason, detail))

    # What can come between: an aborted transaction, a rebalance, the end.

    def _attempt(self, action: Callable[[], None]) -> None:
        try:
            action()
        except AbortNeeded as error:
            _log.warning("going back to what is committed", cause=str(error))
            self._forget()
            self._source.rewind()

    def assigned(self, starts: Mapping[TopicPartition, Committed | Fresh]) -> Mapping[TopicPartition, int]:
        """Takes lanes over from what is committed for them."""
        self._forget()
        _log.info("lanes assigned", lanes=sorted({where.partition for where in starts}))
        return self._lanes.assign(starts)

    def revoked(self) -> None:
        """Commits what is finished, then forgets the lanes: their next owner reads on from there."""
        try:
            self._ledger.commit_all(self._source.group_metadata, monotonic_ms())
        except AbortNeeded as error:
            _log.warning("commit before a rebalance failed", cause=str(error))
        self._forget()

    def lost(self) -> None:
        """Forgets the lanes; a commit on its way is refused by the group's generation."""
        self._forget()

    def _forget(self) -> None:
        self._ledger.forget()
        self._lanes.clear()
        self._batcher.clear()
        self._inference.discard()

    def _finish(self) -> None:
        while self._is_draining():
            self._classify()
            self._conclude(self._inference.results(wait_s=BUSY_POLL_S))
        self._ledger.commit_all(self._source.group_metadata, monotonic_ms())

    def _is_draining(self) -> bool:
        return len(self._batcher) > 0 or len(self._inference) > 0


def _spare_the_collector() -> None:
    """What is loaded by now stays, and records hold no cycles: looking through them all the time finds nothing."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTION_THRESHOLDS)
