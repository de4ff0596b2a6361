"""The fusion program: a source event's way from Kafka to its prediction or dead letter, top to bottom.

One thread takes the steps and owns the lanes and the ledger. The model and the commits work beside it, each in a
thread of its own, and hand their results back.
"""

import threading
from collections.abc import Callable, Mapping, Sequence, Sized
from contextlib import closing
from itertools import chain, compress

import numpy as np

from consumers.lanes import Lanes
from consumers.ledger import Ledger
from consumers.memory import collect_garbage_rarely
from consumers.outputs import Moment, OutputBuilder, message_of, moment_of, one_too_many, too_few, too_late
from consumers.polling import PollSize
from consumers.vitals import Vitals
from pipeline.events.records import Modality, Reason
from pipeline.join.inspection import Inspector
from pipeline.join.lane import Lane
from pipeline.join.outcomes import Amended, Duplicate, Incomplete, Joined, Late, Outcome, Partial, Record
from pipeline.kafka.committer import Committer
from pipeline.kafka.contract import Committed, Delivery, Fresh, Message, PartitionListener, Source, TopicPartition
from pipeline.kafka.errors import AbortNeeded
from pipeline.model.batcher import Batcher
from pipeline.model.contract import Answers, Classified, Classifier, Failed, Probabilities, TooFewInputs
from pipeline.settings import Settings
from pipeline.telemetry.clock import AttendedClock, monotonic_ms
from pipeline.telemetry.health import Health
from pipeline.telemetry.logs import logger

QUIET_POLL_S, BUSY_POLL_S, FULL_WAIT_S, FINISH_MS = 0.05, 0.002, 0.010, 15_000
_log = logger(__name__)


class FusionConsumer(PartitionListener):
    """One replica of the fusion group; `connect` makes its source and committer, given whom to tell of rebalances."""

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
        self._clock = AttendedClock(monotonic_ms)
        self._poll_size = PollSize(settings.serving.batch_size, self._lanes.maps.most_at_once)
        self._batcher: Batcher[Moment] = Batcher(settings.serving.batch_size, settings.serving.max_wait_ms)
        self._source, committer = connect(self)
        self._ledger = Ledger(self._lanes, committer, settings.join.commit_min_ms)
        queues: dict[str, Sized] = {"batch": self._batcher, "model": inference, "commit": self._ledger}
        self._vitals = Vitals(self._lanes, self._source, committer, queues, health or Health())

    def run(self, stop: threading.Event) -> None:
        """Works until `stop` is set, then finishes what is in flight and commits it."""
        collect_garbage_rarely()
        with closing(self._inference), closing(self._ledger), closing(self._source):  # the last one first
            while not stop.is_set():
                self._attempt(self.step)
            _log.info("finishing what is in flight")
            self._attempt(self._finish)

    def step(self) -> None:
        """Takes everything one step further. Raises AbortNeeded or Fatal."""
        busy = self._is_draining() or not self._ledger.is_settled
        count = self._poll_size.records(len(self._batcher), has_room=self._inference.has_room)
        arrivals = self._source.poll(count, BUSY_POLL_S if busy else QUIET_POLL_S)
        if arrived := self._lanes.ours(arrivals.deliveries):
            self._receive(arrived)
        attended_ms = self._clock.look()
        self._lanes.at_ends(arrivals.ends, attended_ms)
        for lane, outcomes in self._lanes.advance(attended_ms):
            self._settle(lane, outcomes)
        self._classify()
        self._conclude(self._inference.results(wait_s=0.0 if self._inference.has_room else FULL_WAIT_S))
        behind = arrivals.records >= count or self._batcher.has_whole_batch
        self._ledger.commit_if_due(self._source.group_metadata, monotonic_ms(), behind=behind)
        self._lanes.hold_back(self._source, attended_ms, draining=self._is_draining() or not self._ledger.is_settled)
        self._vitals.watch(monotonic_ms())

    # 1. Records come in. Those that were finished before a restart are only remembered.

    def _receive(self, arrived: Sequence[tuple[Modality, Delivery]]) -> None:
        self._vitals.received(arrived)
        for (modality, delivery), inspected in zip(arrived, self._inspector.inspect(arrived), strict=True):
            lane = self._lanes.held[delivery.where.partition]
            finished = lane.admit(modality, delivery.offsets)
            sizes = [len(value or b"") for value in delivery.values]
            self._poll_size.note(len(sizes), sum(sizes))
            waiting = list(compress(sizes, [at not in finished for at in delivery.offsets])) if finished else sizes
            payload_bytes = sum(waiting)
            self._lanes.take_in(payload_bytes)
            for place, error in inspected.refused:
                if delivery.offsets[place] not in finished:
                    self._write_off(lane, delivery.message(place), error.reason, str(error))
            if outcomes := lane.add(modality, inspected.records, finished):
                self._settle(lane, outcomes)
            lane.note_payload(modality, len(waiting), payload_bytes)

    # 2. The join has settled something: it goes to the model, or to the dead letters.

    def _settle(self, lane: Lane, outcomes: Sequence[Outcome]) -> None:
        now_ms = monotonic_ms()
        joined = [outcome for outcome in outcomes if isinstance(outcome, Joined)]
        self._batcher.add([moment_of((lane, key, records, records, False, None)) for key, records in joined], now_ms)
        for outcome in outcomes if len(joined) < len(outcomes) else ():
            match outcome:
                case Partial(key, records, window):
                    self._batcher.add([Moment(lane, key, records, fresh=records, amends=False, window=window)], now_ms)
                case Amended(key, records, added, window):
                    self._batcher.add([Moment(lane, key, records, fresh=(added,), amends=True, window=window)], now_ms)
                case Incomplete(_, records):
                    self._set_aside(lane, records, Reason.INCOMPLETE, too_few(records))
                case Late(record, watermark_ms):
                    self._set_aside(lane, [record], Reason.LATE, too_late(record, watermark_ms))
                case Duplicate(record):
                    self._set_aside(lane, [record], Reason.DUPLICATE, one_too_many(record))

    # 3. A batch leaves for the model when it is full or has waited long enough, and there is room.

    def _classify(self) -> None:
        while self._inference.has_room and (batch := self._batcher.take(monotonic_ms())):
            self._vitals.left_for_model(len(batch), self._batcher.waited_ms)
            self._inference.submit(batch)

    # 4. The model has answered: the inputs it used become one prediction, each refused one a dead letter.

    def _conclude(self, batches: Sequence[Answers]) -> None:
        for answer in chain.from_iterable(batch.others for batch in batches):
            self._conclude_one(answer)
        if not (moments := list(chain.from_iterable(batch.whole for batch in batches))):
            return
        probabilities = np.concatenate([batch.probabilities for batch in batches if batch.whole])
        first = [not moment.amends for moment in moments]
        if any(first):
            self._publish(list(compress(moments, first)), probabilities[first])
        for place in np.flatnonzero(np.invert(first)).tolist():
            self._conclude_one(Classified(moments[place], probabilities[place], refused={}))

    def _conclude_one(self, answer: Classified | Failed | TooFewInputs) -> None:
        moment: Moment = answer.request
        lane, refused = moment.lane, answer.refused
        used = tuple(record for record in moment.records if record.modality not in refused)
        fresh = tuple(record for record in moment.fresh if record.modality not in refused)
        match answer:
            case _ if moment.amends and moment.window and moment.window.is_withdrawn:
                self._set_aside(lane, fresh, Reason.LATE, "The answer that it would amend was not given.")
            case Classified(_, probabilities) if fresh:
                self._publish([moment._replace(records=used, fresh=fresh)], probabilities[np.newaxis])
            case Failed(_, problem):
                self._set_aside(lane, fresh, Reason.INFERENCE_FAILED, problem)
            case TooFewInputs():
                self._set_aside(lane, fresh, Reason.INCOMPLETE, too_few(fresh))
        if moment.window and (refused or not isinstance(answer, Classified)):
            lane.withdraw(moment.window)
        for record in [record for record in moment.fresh if record.modality in refused]:
            self._set_aside(lane, [record], refused[record.modality].reason, str(refused[record.modality]))

    # 5. What comes out is booked, and committed together with the positions of the records it accounts for.

    def _publish(self, moments: Sequence[Moment], probabilities: Probabilities) -> None:
        outputs, newest_ms = self._outputs.predictions(moments, probabilities)
        self._ledger.book_all(moments, outputs, committed=self._vitals.published(moments, newest_ms))

    def _set_aside(self, lane: Lane, records: Sequence[Record], reason: Reason, detail: str) -> None:
        for record in records:
            self._write_off(lane, message_of(record), reason, detail)

    def _write_off(self, lane: Lane, message: Message, reason: Reason, detail: str) -> None:
        self._vitals.set_aside(message.topic, reason)
        modality, letter = self._lanes.modality(message.topic), self._outputs.dead_letter(message, reason, detail)
        self._ledger.book(lane, modality, message, letter)

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
        until_ms = monotonic_ms() + FINISH_MS  # the rest stays unfinished in the offset maps
        while self._is_draining() and monotonic_ms() < until_ms:
            self._classify()
            self._conclude(self._inference.results(wait_s=BUSY_POLL_S))
        self._ledger.commit_all(self._source.group_metadata, monotonic_ms())

    def _is_draining(self) -> bool:
        return len(self._batcher) > 0 or len(self._inference) > 0
