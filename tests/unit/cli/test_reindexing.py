from collections.abc import Sequence

import pytest

from pipeline.cli.index import told
from pipeline.cli.reindexing import WAITS_S, Rebuild
from pipeline.events.codec import Codec
from pipeline.events.records import Prediction
from pipeline.kafka.contract import Message, TopicPartition
from pipeline.search.bulk import Backoff, Indexed, Outcome, Rejected
from pipeline.search.documents import Document
from pipeline.search.errors import Retriable
from tests.support.predictions import NOON_MS, a_prediction

CODEC = Codec()
DAY_MS = 86_400_000
INDEX = "predictions-2026.01.01"


class World:
    """A rebuild whose Elasticsearch answers as it is told to, and whose waits take no time."""

    def __init__(self, *answers: Sequence[Outcome]) -> None:
        self.answers = list(answers)
        self.written: list[list[str]] = []
        self.waited: list[float] = []
        self.rebuild = Rebuild(INDEX, "predictions", CODEC, self.write, self.waited.append)

    def write(self, documents: Sequence[Document]) -> Sequence[Outcome]:
        self.written.append([document.document_id for document in documents])
        return self.answers.pop(0) if self.answers else [Indexed(new=True)] * len(documents)

    def take(self, *records: Prediction | bytes) -> None:
        values = [CODEC.encode_prediction(r) if isinstance(r, Prediction) else r for r in records]
        self.rebuild.take([Message("predictions", 0, offset, 0, b"k", value) for offset, value in enumerate(values)])


def test_only_predictions_of_the_day_are_written() -> None:
    world = World()
    midnight_ms = NOON_MS - DAY_MS // 2
    times = [midnight_ms - 1, midnight_ms, midnight_ms + DAY_MS - 1, midnight_ms + DAY_MS]
    world.take(*(a_prediction(number, event_time_ms=time_ms) for number, time_ms in enumerate(times)))
    tally = world.rebuild.tally
    assert world.written == [["id-1", "id-2"]]
    assert (tally.read, tally.of_the_day, tally.written) == (4, 2, 2)


def test_every_record_of_the_day_is_counted_once() -> None:
    world = World([Indexed(new=True), Indexed(new=False), Rejected("no such field")])
    world.take(a_prediction(0), a_prediction(1), a_prediction(2), b"garbage")
    tally = world.rebuild.tally
    assert (tally.written, tally.known, tally.rejected, tally.unreadable) == (1, 1, 1, 1)
    assert tally.read == 4
    sentences = list(told(tally))
    assert "1 rejected by Elasticsearch, 1 unreadable" in sentences[2]
    assert sentences[3].startswith("predictions[0]@3: ")
    assert sentences[4] == "no such field"


def test_what_elasticsearch_does_not_take_now_is_sent_again_alone() -> None:
    busy = Backoff("too much to do.")
    world = World([busy, Indexed(new=True)], [busy])
    world.take(a_prediction(0), a_prediction(1))
    assert world.written == [["id-0", "id-1"], ["id-0"], ["id-0"]]
    assert world.rebuild.tally.written == 2


def test_a_minute_of_refusals_ends_it_and_says_what_to_do() -> None:
    world = World(*([[Backoff("too much to do.")]] * (len(WAITS_S) + 1)))
    with pytest.raises(Retriable, match=r"^too much to do\. Run this again .* nothing is doubled\.$"):
        world.take(a_prediction(0))
    assert world.waited == [0.0, *WAITS_S]


def test_a_day_that_retention_has_cut_is_said_to_be() -> None:
    world = World()
    world.rebuild.tally.cut = (TopicPartition("predictions", 3),)
    assert any("predictions[3] may no longer hold all of the day" in sentence for sentence in told(world.rebuild.tally))
