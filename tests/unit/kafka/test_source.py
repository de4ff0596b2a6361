"""What the source does when the group fails it; the client is a script, since these are races on a real broker."""

from itertools import count
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, TopicPartition

from pipeline.kafka import questions
from pipeline.kafka import source as module
from pipeline.kafka.contract import TopicPartition as Place
from pipeline.kafka.errors import Fatal
from pipeline.kafka.source import FEW, MAX_TORN_IN_A_ROW, KafkaSource
from pipeline.settings import KafkaSettings
from tests.support.scripted_group import TOPICS, WHOLE, Group, ScriptedConsumer, fences, hands_out, loses, record

TORN = [*WHOLE, TopicPartition(TOPICS.sources[0], 1)]
AWAY = KafkaError._TRANSPORT
UNKNOWN = KafkaError._UNKNOWN_PARTITION


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the source has slept each time, without doing so."""
    slept: list[float] = []
    for asleep in (module, questions):
        monkeypatch.setattr(asleep, "time", SimpleNamespace(monotonic=lambda: 0, sleep=slept.append))
    return slept


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch, slept: list[float]) -> Group:
    group = Group()
    monkeypatch.setattr(module, "Consumer", group.client)
    return group


@pytest.fixture
def source(group: Group) -> KafkaSource:
    return KafkaSource(KafkaSettings(session_timeout_ms=6_000), TOPICS, group.listener, partitions=2)


@pytest.mark.parametrize(
    ("there", "count", "come"), [(1, 100, 12), (FEW - 2, 100, FEW + 9), (FEW - 1, 100, FEW), (1, 2, 2), (5, 8, 8)]
)
def test_few_records_wait_for_those_that_come_soon(
    group: Group, source: KafkaSource, there: int, count: int, come: int
) -> None:
    group.play(source, hands_out(WHOLE))
    group.steps.append(lambda _client: record(0))
    group.there = [record(1 + n) for n in range(there)]
    group.soon = [record(1 + there + n) for n in range(10)]
    (delivery,) = source.poll(count, 0).deliveries
    assert delivery.offsets == list(range(come))


def test_a_member_that_is_fenced_at_work_ends(group: Group, source: KafkaSource) -> None:
    with pytest.raises(Fatal, match="another process runs with this name: give each its own --replica"):
        group.play(source, hands_out(WHOLE), fences)
    assert len(group.clients) == 1


def test_a_member_that_is_fenced_when_it_comes_back_joins_anew(group: Group, source: KafkaSource) -> None:
    group.play(source, hands_out(WHOLE), loses, fences, hands_out(WHOLE))
    assert group.calls == ["subscribe", "close", "subscribe"]
    where = sorted(Place(topic, 0) for topic in TOPICS.sources)
    assert group.listener.told == [where, "lost", where]
    assert group.clients[-1].assigned


def test_it_joins_anew_once_for_each_loss(group: Group, source: KafkaSource) -> None:
    with pytest.raises(Fatal):
        group.play(source, hands_out(WHOLE), loses, fences, fences)
    assert len(group.clients) == 2


def test_a_loss_is_over_when_records_come(group: Group, source: KafkaSource) -> None:
    group.play(source, hands_out(WHOLE), loses, hands_out(WHOLE))
    group.steps.append(lambda _client: record(0))
    assert source.poll(10, 0).deliveries
    with pytest.raises(Fatal):
        group.play(source, fences)
    assert len(group.clients) == 1


def test_a_member_whose_questions_were_not_answered_joins_anew(group: Group, source: KafkaSource) -> None:
    group.failures = [AWAY]
    group.play(source, hands_out(WHOLE), fences, hands_out(WHOLE))
    assert group.calls == ["subscribe", "close", "subscribe"]


def test_what_is_asked_again_and_again_is_told_once(
    group: Group, source: KafkaSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(questions, "_log", SimpleNamespace(info=lambda _event, problem: told.append(problem)))
    group.failures = [AWAY, AWAY, UNKNOWN, UNKNOWN, AWAY]
    group.play(source, hands_out(WHOLE))
    assert [problem.split()[-1] for problem in told] == ["up`.", "create`.", "up`."]
    assert len(group.listener.told) == 1


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, slept: list[float]) -> None:
    """Every look at the clock finds it a minute later, so that questions soon have had their time."""
    ticks = count(0, 60)
    monkeypatch.setattr(questions, "time", SimpleNamespace(monotonic=lambda: next(ticks), sleep=slept.append))


@pytest.mark.usefixtures("impatient")
def test_an_outage_that_outlasts_the_questions_is_waited_out(group: Group, source: KafkaSource) -> None:
    group.failures = [AWAY] * 3
    group.play(source, hands_out(WHOLE))
    assert group.listener.told == []
    group.play(source, lambda _client: None, lambda _client: None)
    assert len(group.listener.told) == 1


@pytest.mark.usefixtures("impatient")
def test_brokers_that_know_nothing_yet_belong_to_the_outage_before(group: Group, source: KafkaSource) -> None:
    group.failures = [AWAY, UNKNOWN]
    group.play(source, hands_out(WHOLE), lambda _client: None)
    assert len(group.listener.told) == 1


@pytest.mark.usefixtures("impatient")
def test_a_partition_that_stays_unknown_ends_the_process(group: Group, source: KafkaSource) -> None:
    group.failures = [UNKNOWN] * 3
    with pytest.raises(Fatal, match="run `trimodal topics create`"):
        group.play(source, hands_out(WHOLE))


@pytest.mark.usefixtures("impatient")
def test_so_is_one_that_outlasts_a_rewind(group: Group, source: KafkaSource) -> None:
    group.play(source, hands_out(WHOLE))
    group.failures = [AWAY] * 3
    source.rewind()
    assert len(group.listener.told) == 1
    source.rewind()
    group.play(source, lambda _client: None)
    assert len(group.listener.told) == 2


@pytest.mark.usefixtures("impatient")
def test_a_new_member_does_not_take_what_was_handed_to_the_old(group: Group, source: KafkaSource) -> None:
    group.failures = [AWAY] * 2
    group.play(source, hands_out(WHOLE), fences, lambda _client: None)
    assert len(group.clients) == 2
    assert group.listener.told == []


def test_lanes_that_are_revoked_at_once_are_not_taken(group: Group, source: KafkaSource) -> None:
    def in_one_poll(client: ScriptedConsumer) -> None:
        hands_out(WHOLE)(client)
        client.callbacks["on_revoke"](client, WHOLE)

    group.play(source, in_one_poll)
    assert group.listener.told == ["revoked"]


def test_torn_lanes_are_not_taken_but_asked_for_again(group: Group, source: KafkaSource, slept: list[float]) -> None:
    group.play(source, hands_out(TORN))
    assert (group.listener.told, group.clients[0].assigned) == ([], [])
    assert (group.calls, slept) == (["subscribe", "subscribe"], [2.0])
    group.play(source, hands_out(WHOLE), lambda _client: None)
    assert len(group.listener.told) == 1
    assert group.calls == ["subscribe", "subscribe"]


def test_lanes_that_stay_torn_are_the_listeners_to_refuse(group: Group, source: KafkaSource) -> None:
    group.play(source, *[hands_out(TORN)] * MAX_TORN_IN_A_ROW)
    assert group.listener.told == []
    group.play(source, hands_out(TORN))
    assert group.listener.told == [sorted(Place(where.topic, where.partition) for where in TORN)]


def test_whole_lanes_start_the_count_anew(group: Group, source: KafkaSource) -> None:
    group.play(source, *[hands_out(TORN)] * MAX_TORN_IN_A_ROW, hands_out(WHOLE), hands_out(TORN))
    assert len(group.listener.told) == 1
