"""The fusion program: a source event's way from Kafka to its prediction or dead letter, top to bottom.

One thread takes the steps and owns the lanes and the ledger. The model and the commits work beside it, each in a
thread of its own, and hand their results back.
"""

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sized
from dataclasses import replace

from consumers.lanes import Lanes
from consumers.ledger import Ledger
from consumers.outputs import Arrived, Moment, OutputBuilder
from consumers.vitals import Vitals
from pipeline.events.errors import RecordError
from pipeline.events.records import Reason
from pipeline.join.inspection import Inspector
from pipeline.join.lane import Lane
from pipeline.join.outcomes import Amended, Duplicate, Incomplete, Joined, Late, Outcome, Partial, Record
from pipeline.kafka.committer import Committer
from pipeline.kafka.contract import (
    Committed,
    EndOfPartition,
    Fresh,
    Message,
    PartitionListener,
    Source,
    TopicPartition,
)
from pipeline.kafka.errors import AbortNeeded
from pipeline.model.batcher import Batcher
from pipeline.model.inference import Answer, Classified, Failed, Inference, Request, TooFewInputs
from pipeline.settings import Settings
from pipeline.telemetry.clock import monotonic_ms
from pipeline.telemetry.health import Health
from pipeline.telemetry.logs import logger

POLL_RECORDS = 1_000
QUIET_POLL_S = 0.05
BUSY_POLL_S = 0.002
_log = logger(__name__)


class FusionConsumer(PartitionListener):
    """One replica of the fusion group.

    `connect` makes the source and the committer, given the listener that rebalances are told to.
    """

    def __init__(
        self,
        settings: Settings,
        inspector: Inspector,
        inference: Inference,
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
        arrivals = self._source.poll(POLL_RECORDS, BUSY_POLL_S if busy else QUIET_POLL_S)
        self._vitals.received(Counter(arrival.topic for arrival in arrivals if isinstance(arrival, Message)))
        for arrival in arrivals:
            match arrival:
                case Message():
                    self._receive(arrival)
                case EndOfPartition():
                    self._lanes.at_end(arrival, monotonic_ms())
        for lane, outcomes in self._lanes.advance(monotonic_ms()):
            for outcome in outcomes:
                self._settle(lane, outcome)
        self._classify()
        for answer in self._inference.results():
            self._conclude(answer)
        self._ledger.commit_if_due(self._source.group_metadata, monotonic_ms())
        self._lanes.hold_back(self._source, monotonic_ms(), draining=self._is_draining())
        self._vitals.watch(monotonic_ms())

    # 1. A record comes in. One that was finished before a restart is only remembered.

    def _receive(self, message: Message) -> None:
        if (lane := self._lanes.get(message.partition)) is None:
            return
        modality = self._lanes.modality(message.topic)
        if fresh := lane.admit(modality, message.offset):
            self._lanes.took_in(message)
        try:
            key, event = self._inspector.inspect(modality, message)
        except RecordError as error:
            if fresh:
                self._dead_letter(lane, Arrived(message, modality, None), error.reason, str(error))
            return
        arrived = Arrived(message, modality, event)
        record = Record(modality, message.offset, key, event.event_time_ms, arrived, len(message.value or b""))
        if not fresh:
            lane.remember(record)
        elif (outcome := lane.add(record)) is not None:
            self._settle(lane, outcome)

    # 2. The join has settled something: it goes to the model, or to the dead letters.

    def _settle(self, lane: Lane, outcome: Outcome) -> None:
        match outcome:
            case Joined(key, records) | Partial(key, records):
                self._batcher.add(Moment(lane, key, records, fresh=records), monotonic_ms())
            case Amended(key, records, added):
                self._batcher.add(Moment(lane, key, records, fresh=(added,)), monotonic_ms())
            case Incomplete(_, records):
                self._incomplete(lane, [record.payload for record in records])
            case Late(record, watermark_ms):
                detail = f"Its window had closed: its event time {record.event_time_ms}, the watermark {watermark_ms}."
                self._too_late(lane, [record.payload], detail)
            case Duplicate(record):
                detail = f"Its key already had a {record.modality.name.lower()} event within join.window_ms."
                self._dead_letter(lane, record.payload, Reason.DUPLICATE, detail)

    # 3. A batch leaves for the model when it is full or has waited long enough, and there is room.

    def _classify(self) -> None:
        while self._inference.has_room and (batch := self._batcher.take(monotonic_ms())):
            self._vitals.left_for_model(len(batch), self._batcher.waited_ms)
            self._inference.submit([Request(moment, moment.events()) for moment in batch])

    # 4. The model has answered: the inputs it used become one prediction, each refused one a dead letter.

    def _conclude(self, answer: Answer) -> None:
        moment: Moment = answer.token
        used = [record for record in moment.records if record.modality not in answer.refused]
        fresh = [record.payload for record in moment.fresh if record in used]
        match answer:
            case _ if moment.is_amendment and moment.lane.is_withdrawn(moment.records):
                self._too_late(moment.lane, fresh, "The answer that it would amend was not given.")
            case Classified(_, probabilities) if fresh:
                prediction, output = self._outputs.prediction(moment, used, probabilities)
                answered = replace(moment, records=tuple(used), fresh=tuple(r for r in moment.fresh if r in used))
                self._vitals.published([answered], [prediction.latency_ms])
                self._ledger.book(moment.lane, fresh, output)
            case Failed(_, problem):
                for arrived in fresh:
                    self._dead_letter(moment.lane, arrived, Reason.INFERENCE_FAILED, problem)
            case TooFewInputs():
                self._incomplete(moment.lane, fresh)
        if not moment.is_amendment and (answer.refused or not isinstance(answer, Classified)):
            moment.lane.withdraw(moment.records)
        for record in moment.fresh:
            if (error := answer.refused.get(record.modality)) is not None:
                self._dead_letter(moment.lane, record.payload, error.reason, str(error))

    def _incomplete(self, lane: Lane, inputs: list[Arrived]) -> None:
        detail = f"{len(inputs)} usable of 3 inputs came for its key in its window."
        for arrived in inputs:
            self._dead_letter(lane, arrived, Reason.INCOMPLETE, detail)

    def _too_late(self, lane: Lane, inputs: list[Arrived], detail: str) -> None:
        for arrived in inputs:
            self._dead_letter(lane, arrived, Reason.LATE, detail)

    def _dead_letter(self, lane: Lane, arrived: Arrived, reason: Reason, detail: str) -> None:
        self._vitals.set_aside(arrived.message.topic, reason)
        self._ledger.book(lane, [arrived], self._outputs.dead_letter(arrived.message, reason, detail))

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
            for answer in self._inference.results(wait_s=BUSY_POLL_S):
                self._conclude(answer)
        self._ledger.commit_all(self._source.group_metadata, monotonic_ms())

    def _is_draining(self) -> bool:
        return len(self._batcher) > 0 or len(self._inference) > 0
