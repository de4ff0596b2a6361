import threading
from collections.abc import Callable, Mapping, Sequence

import pytest

from consumers.indexer import Clocks, Indexer
from pipeline.events.codec import Codec
from pipeline.events.records import DeadLetter, Reason, SourceOffset
from pipeline.kafka.contract import Message, Output, TopicPartition
from pipeline.kafka.errors import KafkaFailure, Retriable
from pipeline.search.bulk import Backoff, Indexed, Outcome, Rejected
from pipeline.search.documents import Document
from pipeline.settings import ElasticsearchSettings, Settings
from pipeline.telemetry.metrics import REGISTRY
from tests.support.predictions import a_prediction

TOPIC = "predictions"
BATCH = 10
CODEC = Codec()
SETTINGS = Settings(elasticsearch=ElasticsearchSettings(bulk_documents=BATCH))
BUSY = Backoff("too much to do")
NEW = Indexed(new=True)
NEVER = Rejected("no such field")


class Broker:
    """One partition's log, its committed offset, and a clock that only waiting moves; sets `stop` when read up."""

    def __init__(self, values: Sequence[bytes | None], stop: threading.Event) -> None:
        self.log = [
            Message(TOPIC, 0, offset, 0, b"k", value, (("h", b"1"), ("h", b"2"))) for offset, value in enumerate(values)
        ]
        self.stop = stop
        self.position = 0
        self.committed = 0
        self.refused_commits = 0
        self.now_s = 0.0
        self.is_paused = False
        self.polls_while_paused: list[float] = []
        self.when_paused: Callable[[], None] = lambda: None
        self.generation = 0
        self.is_closed = False

    def poll(self, count: int, timeout_s: float) -> Sequence[Message]:
        if self.is_paused:
            self.now_s += timeout_s
            self.polls_while_paused.append(timeout_s)
            self.when_paused()
            return []
        batch = self.log[self.position : self.position + count]
        self.position += len(batch)
        if not batch:
            self.stop.set()
        return batch

    def rebalance_once(self) -> None:
        if self.generation == 0:
            self.generation = 1
            self.position = self.committed

    def commit(self, following: Mapping[TopicPartition, int]) -> None:
        if not following:
            return
        if self.refused_commits:
            self.refused_commits -= 1
            raise Retriable("the coordinator is moving")
        self.committed = following[TopicPartition(TOPIC, 0)]

    def pause(self) -> None:
        self.is_paused = True

    def resume(self) -> None:
        self.is_paused = False

    def close(self) -> None:
        self.is_closed = True


class Elasticsearch:
    """Keeps documents; `answers` are taken for documents by their key, one a request, before they are kept."""

    def __init__(self, answers: Mapping[str, Sequence[Outcome]] | None = None) -> None:
        self.answers = {key: list(outcomes) for key, outcomes in (answers or {}).items()}
        self.documents: set[str] = set()
        self.requests: list[list[str]] = []

    def write(self, documents: Sequence[Document]) -> list[Outcome]:
        self.requests.append([document.body["key"] for document in documents])
        return [self._write(document) for document in documents]

    def _write(self, document: Document) -> Outcome:
        if waiting := self.answers.get(document.body["key"]):
            return waiting.pop(0)
        new = document.document_id not in self.documents
        self.documents.add(document.document_id)
        return Indexed(new=new)


class World:
    """An indexer over these values and answers, and everything that comes of it."""

    def __init__(self, values: Sequence[bytes | None], answers: Mapping[str, Sequence[Outcome]] | None = None) -> None:
        self.stop = threading.Event()
        self.broker = Broker(values, self.stop)
        self.elasticsearch = Elasticsearch(answers)
        self.letters: list[DeadLetter] = []
        self.committed_at_delivery: list[int] = []
        self.fail_delivery = False
        clocks = Clocks(monotonic_s=lambda: self.broker.now_s, wall_ms=lambda: 99, jitter=lambda: 1.0)
        self.indexer = Indexer(SETTINGS, CODEC, self.broker, self.elasticsearch.write, self.deliver, clocks)

    def run(self) -> None:
        self.indexer.run(self.stop)

    def deliver(self, outputs: Sequence[Output]) -> None:
        if self.fail_delivery:
            raise KafkaFailure("not delivered")
        self.committed_at_delivery += [self.broker.committed] * len(outputs)
        self.letters += [CODEC.decode_dead_letter(output.value) for output in outputs]
        assert all(output.topic == "dead-letters" and output.key == b"k" for output in outputs)


def values(count: int) -> list[bytes | None]:
    return [CODEC.encode_prediction(a_prediction(number)) for number in range(count)]


def test_all_are_indexed_and_committed_in_full_batches() -> None:
    world = World(values(25))
    world.run()
    assert world.elasticsearch.documents == {f"id-{number}" for number in range(25)}
    assert [len(request) for request in world.elasticsearch.requests] == [10, 10, 5]
    assert world.broker.committed == 25
    assert world.letters == []
    assert world.broker.is_closed


def test_what_elasticsearch_says_is_counted() -> None:
    def counted() -> list[float]:
        documents = [
            ("trimodal_documents_total", {"result": result}) for result in ("created", "known", "rejected", "later")
        ]
        samples = [
            *documents,
            ("trimodal_bulk_seconds_count", {}),
            ("trimodal_dead_letters_total", {"reason": "REJECTED"}),
        ]
        return [REGISTRY.get_sample_value(*sample) or 0 for sample in samples]

    before = counted()
    World(values(4) * 2, {"digit-1": [NEVER], "digit-2": [BUSY]}).run()
    assert [after - then for then, after in zip(before, counted(), strict=True)] == [4, 3, 1, 1, 2, 1]


def test_what_is_rejected_becomes_a_dead_letter_and_the_rest_is_indexed() -> None:
    world = World(values(3), {"digit-1": [NEVER]})
    world.run()
    assert world.elasticsearch.documents == {"id-0", "id-2"}
    assert world.broker.committed == 3
    assert world.letters == [
        DeadLetter(
            Reason.REJECTED,
            "no such field",
            b"k",
            world.broker.log[1].value,
            (SourceOffset(TOPIC, 0, 1),),
            99,
            {"h": b"2"},
        )
    ]


@pytest.mark.parametrize("value", [b"garbage", b"", None, CODEC.encode_prediction(a_prediction(0))[:-3]])
def test_what_does_not_decode_becomes_a_dead_letter(value: bytes | None) -> None:
    world = World([*values(1), value])
    world.run()
    (letter,) = world.letters
    assert letter.reason is Reason.UNDECODABLE
    assert letter.value == value
    assert letter.sources == (SourceOffset(TOPIC, 0, 1),)
    assert world.elasticsearch.documents == {"id-0"}
    assert world.broker.committed == 2


def test_a_time_outside_the_calendar_is_invalid() -> None:
    world = World([CODEC.encode_prediction(a_prediction(0, event_time_ms=2**62))])
    world.run()
    assert [letter.reason for letter in world.letters] == [Reason.INVALID]
    assert world.broker.committed == 1


def test_dead_letters_are_delivered_before_the_commit() -> None:
    world = World(values(2), {"digit-1": [NEVER]})
    world.run()
    assert world.committed_at_delivery == [0]


def test_nothing_is_committed_when_a_dead_letter_is_not_delivered() -> None:
    world = World(values(2), {"digit-1": [NEVER]})
    world.fail_delivery = True
    with pytest.raises(KafkaFailure, match="not delivered"):
        world.run()
    assert world.broker.committed == 0
    assert world.broker.is_closed


def test_only_what_was_not_taken_is_sent_again() -> None:
    world = World(values(3), {"digit-0": [BUSY, BUSY], "digit-2": [BUSY]})
    world.run()
    assert world.elasticsearch.requests == [["digit-0", "digit-1", "digit-2"], ["digit-0", "digit-2"], ["digit-0"]]
    assert world.elasticsearch.documents == {"id-0", "id-1", "id-2"}
    assert world.broker.committed == 3


def test_waits_double_to_30_seconds_and_the_paused_member_polls_all_the_time() -> None:
    world = World(values(1), {"digit-0": [BUSY] * 9})
    world.run()
    waited_s = [0.25, 0.5, 1, 2, 4, 8, 16, 30, 30]
    assert world.broker.now_s == pytest.approx(sum(waited_s))
    assert max(world.broker.polls_while_paused) == 0.5
    assert not world.broker.is_paused
    assert world.broker.committed == 1


def test_an_outage_of_a_day_is_waited_for() -> None:
    world = World(values(1), {"digit-0": [BUSY] * 2_880})
    world.run()
    assert world.broker.now_s > 23 * 3_600
    assert world.broker.committed == 1


def test_jitter_shortens_a_wait_to_half_at_most() -> None:
    world = World(values(1), {"digit-0": [BUSY]})
    clocks = Clocks(monotonic_s=lambda: world.broker.now_s, wall_ms=lambda: 0, jitter=lambda: 0.0)
    Indexer(SETTINGS, CODEC, world.broker, world.elasticsearch.write, world.deliver, clocks).run(world.stop)
    assert world.broker.now_s == pytest.approx(0.125)


def test_a_stop_while_waiting_gives_the_batch_up_uncommitted() -> None:
    world = World(values(2), {"digit-0": [BUSY] * 9, "digit-1": [NEVER]})
    world.broker.when_paused = world.stop.set
    world.run()
    assert len(world.broker.polls_while_paused) == 1
    assert world.broker.committed == 0
    assert world.letters == []
    assert world.broker.is_closed


def test_a_rebalance_while_waiting_drops_the_batch_and_what_comes_again_is_indexed_once() -> None:
    world = World(values(3), {"digit-0": [BUSY, NEW], "digit-2": [NEVER, NEVER]})
    world.broker.when_paused = world.broker.rebalance_once
    world.run()
    assert world.elasticsearch.requests == [["digit-0", "digit-1", "digit-2"]] * 2
    assert [letter.sources for letter in world.letters] == [(SourceOffset(TOPIC, 0, 2),)]
    assert world.broker.committed == 3


def test_a_commit_that_fails_is_tried_again() -> None:
    world = World(values(1))
    world.broker.refused_commits = 1
    world.run()
    assert world.broker.committed == 1
