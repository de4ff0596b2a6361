import signal
from dataclasses import replace

import pytest

from consumers import indexer
from pipeline.events.records import Reason, SourceOffset
from pipeline.kafka.errors import KafkaFailure
from pipeline.search.errors import SearchFailure
from pipeline.stack import StackAddresses
from tests.support.indexing import PATIENCE_S, Workplace, attempts, await_documents, ids, running, started
from tests.support.predictions import a_prediction

pytestmark = pytest.mark.stack
COUNT = 200


@pytest.fixture
def workplace(stack: StackAddresses) -> Workplace:
    return Workplace.made(stack)


def test_killed_between_bulk_and_commit_and_restarted_nothing_is_missing_or_doubled(workplace: Workplace) -> None:
    workplace.publish(a_prediction(number) for number in range(COUNT))
    killed = started(workplace, TEST_KILL="before-commit")
    killed.communicate(timeout=PATIENCE_S)
    assert killed.returncode == -signal.SIGKILL
    before = workplace.indexed()
    assert 0 < len(before) < COUNT
    with running(workplace):
        await_documents(workplace, COUNT)
    assert ids(workplace.indexed()) == sorted(f"id-{number}" for number in range(COUNT))


def test_after_a_graceful_stop_nothing_is_read_again(workplace: Workplace) -> None:
    workplace.publish(a_prediction(number) for number in range(COUNT))
    with running(workplace):
        await_documents(workplace, COUNT)
    workplace.client.indices.delete(index=f"{workplace.settings.elasticsearch.alias}-2026.01.01")
    workplace.publish([a_prediction(COUNT)])
    with running(workplace):
        await_documents(workplace, 1)
    assert ids(workplace.indexed()) == [f"id-{COUNT}"]


def test_the_newest_revision_stays_whatever_the_order(workplace: Workplace) -> None:
    answered = [a_prediction(number) for number in range(3)]
    amended = [replace(one, revision=1, label="7") for one in answered]
    workplace.publish([answered[0], amended[0], amended[1], answered[1], answered[2], amended[2], answered[2]])
    with running(workplace):
        await_documents(workplace, 3)
        for _ in attempts():
            found = workplace.indexed()
            if all(prediction.revision for prediction in found):
                break
    assert ids(found) == ["id-0", "id-1", "id-2"]
    assert {prediction.label for prediction in found} == {"7"}


def test_what_cannot_be_indexed_goes_to_the_dead_letters_and_the_rest_is_indexed(workplace: Workplace) -> None:
    too_long = a_prediction(1, prediction_id="x" * 600)
    immense = a_prediction(2, label="y" * 40_000)
    not_a_number = a_prediction(3, confidence=float("nan"))
    workplace.publish([a_prediction(0), too_long, immense, not_a_number, b"garbage", a_prediction(5)])
    with running(workplace):
        letters = workplace.letters(4)
        await_documents(workplace, 2)
    assert ids(workplace.indexed()) == ["id-0", "id-5"]
    assert {letter.key: letter.reason for letter in letters} == {
        b"k1": Reason.REJECTED,
        b"k2": Reason.REJECTED,
        b"k3": Reason.INVALID,
        b"k4": Reason.UNDECODABLE,
    }
    garbage = next(letter for letter in letters if letter.key == b"k4")
    assert garbage.value == b"garbage"
    (source,) = garbage.sources
    assert isinstance(source, SourceOffset)
    assert source.topic == workplace.settings.topics.predictions


def test_two_replicas_share_the_work(workplace: Workplace) -> None:
    other = Workplace(
        workplace.settings.model_copy(update={"kafka": workplace.settings.kafka.model_copy(update={"replica": "two"})})
    )
    with running(workplace), running(other):
        workplace.publish(a_prediction(number) for number in range(COUNT))
        await_documents(workplace, COUNT)
    assert ids(workplace.indexed()) == sorted(f"id-{number}" for number in range(COUNT))


@pytest.mark.parametrize(
    ("section", "changes", "kind", "told"),
    [
        ("kafka", {"bootstrap_servers": "127.0.0.1:1"}, KafkaFailure, "check kafka.bootstrap_servers"),
        ("topics", {"prefix": "nowhere-"}, KafkaFailure, "no topic nowhere-predictions, nowhere-dead-letters"),
        ("elasticsearch", {"url": "http://127.0.0.1:1"}, SearchFailure, "check elasticsearch.url"),
    ],
)
def test_what_is_missing_at_the_start_is_named(
    workplace: Workplace, section: str, changes: dict[str, str], kind: type[Exception], told: str
) -> None:
    changed = getattr(workplace.settings, section).model_copy(update=changes)
    with pytest.raises(kind, match=told):
        indexer.build(workplace.settings.model_copy(update={section: changed}))
