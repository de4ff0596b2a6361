"""What is made of the brokers' answers; the client is a script."""

from collections.abc import Sequence
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import TopicPartition as ClientTopicPartition

from pipeline.kafka import questions
from pipeline.kafka.contract import Committed, Fresh, TopicPartition
from pipeline.kafka.errors import Fatal, Retriable
from pipeline.kafka.questions import Questions
from pipeline.settings import KafkaSettings

SPEECH = TopicPartition("speech", 0)

Bounds = tuple[int, int] | None | int


class Answering:
    """A client that answers with what it is told: bounds, None, or the code of an error."""

    def __init__(self) -> None:
        self.bounds: list[Bounds] = [(3, 9)]
        self.stored: ClientTopicPartition | SimpleNamespace = ClientTopicPartition("speech", 0, -1001)
        self.listed = SimpleNamespace(error=None, partitions={0: None, 1: None})
        self.looked_up: list[str] = []

    def get_watermark_offsets(self, _partition: ClientTopicPartition, _timeout_s: float) -> tuple[int, int] | None:
        answer = self.bounds.pop(0) if len(self.bounds) > 1 else self.bounds[0]
        if isinstance(answer, int):
            raise KafkaException(KafkaError(answer))
        return answer

    def committed(
        self, partitions: Sequence[ClientTopicPartition], _timeout_s: float
    ) -> Sequence[ClientTopicPartition | SimpleNamespace]:
        assert partitions, "the client refuses to ask for nothing"
        return [self.stored]

    def list_topics(self, topic: str, _timeout_s: float) -> SimpleNamespace:
        self.looked_up.append(topic)
        return SimpleNamespace(topics={topic: self.listed})


@pytest.fixture
def client() -> Answering:
    return Answering()


@pytest.fixture
def unanswered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked again, without waiting for it."""
    monkeypatch.setattr(questions, "time", SimpleNamespace(monotonic=lambda: 0, sleep=lambda _s: None))
    return []


@pytest.fixture
def ask(client: Answering, unanswered: list[str]) -> Questions:
    return Questions(client, KafkaSettings(), lambda: unanswered.append("again"))  # type: ignore[arg-type]


def test_as_many_partitions_as_expected_are_well(ask: Questions) -> None:
    ask.check_partitions(["speech", "image"], 2)


def test_other_counts_are_refused(ask: Questions) -> None:
    with pytest.raises(Fatal, match=r"image has 2 partitions, and this replica began with 3.*trimodal topics list"):
        ask.check_partitions(["image"], 3)


def test_a_topic_that_cannot_be_listed_is_an_error(ask: Questions, client: Answering) -> None:
    client.listed.error = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    with pytest.raises(Fatal, match="give this principal the right to the topic"):
        ask.check_partitions(["speech"], 2)


@pytest.mark.parametrize(("start", "offset"), [("earliest", 3), ("latest", 9)])
def test_a_new_group_begins_where_the_settings_say(client: Answering, start: str, offset: int) -> None:
    settings = KafkaSettings.model_validate({"start": start})
    ask = Questions(client, settings, lambda: None)  # type: ignore[arg-type]
    assert ask.starts([ClientTopicPartition("speech", 0)]) == {SPEECH: Fresh(offset)}


@pytest.mark.parametrize("metadata", ["tm1:", None])
def test_another_goes_on_from_what_is_committed(ask: Questions, client: Answering, metadata: str | None) -> None:
    client.stored = SimpleNamespace(topic="speech", partition=0, offset=5, metadata=metadata, error=None)
    assert ask.starts([ClientTopicPartition("speech", 0)]) == {SPEECH: Committed(5, metadata or "")}


def test_a_partition_of_which_the_commit_cannot_be_read_is_an_error(ask: Questions, client: Answering) -> None:
    refused = KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED)
    client.stored = SimpleNamespace(topic="speech", partition=0, offset=5, metadata="", error=refused)
    with pytest.raises(Fatal, match=r"what is committed for speech.*right to kafka\.group"):
        ask.starts([ClientTopicPartition("speech", 0)])


def test_of_no_partitions_nothing_is_asked(ask: Questions) -> None:
    assert ask.starts([]) == {}


def test_an_offset_that_is_there_is_kept(ask: Questions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "_log", None)
    assert ask.still_there(SPEECH, 3) == 3
    assert ask.still_there(SPEECH, 9) == 9


def test_what_retention_has_deleted_is_told_and_passed_over(ask: Questions, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr(questions, "_log", SimpleNamespace(error=lambda event, **_: told.append(event)))
    assert ask.still_there(SPEECH, 1) == 3
    assert told == ["records deleted before they were read"]


def test_an_offset_beyond_the_end_is_refused(ask: Questions) -> None:
    with pytest.raises(Fatal, match=r"speech\[0\] ends at 9, and reading should begin at 10.*trimodal offsets reset"):
        ask.still_there(SPEECH, 10)


@pytest.mark.parametrize(("answer", "end"), [((3, 9), 9), (None, None), (KafkaError._TRANSPORT, None)])
def test_the_end_is_asked_once(ask: Questions, client: Answering, answer: Bounds, end: int | None) -> None:
    client.bounds = [answer]
    assert ask.end(SPEECH) == end


def test_no_answer_is_asked_again(ask: Questions, client: Answering, unanswered: list[str]) -> None:
    client.bounds = [None, KafkaError._TRANSPORT, (3, 9)]
    assert ask.still_there(SPEECH, 4) == 4
    assert unanswered == ["again", "again"]
    assert client.looked_up == []


def test_a_client_that_knows_no_such_partition_is_made_to_look_it_up(ask: Questions, client: Answering) -> None:
    client.bounds = [KafkaError._UNKNOWN_PARTITION, (3, 9)]
    assert ask.still_there(SPEECH, 4) == 4
    assert client.looked_up == ["speech"]


def test_an_answer_that_does_not_come_in_time_may_come_later(
    ask: Questions, client: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(0, 10_000, 60))
    monkeypatch.setattr(questions, "time", SimpleNamespace(monotonic=lambda: next(ticks), sleep=lambda _s: None))
    client.bounds = [None]
    with pytest.raises(Retriable, match="asking for the ends of speech"):
        ask.still_there(SPEECH, 4)
