"""How many records the fusion consumer asks for."""

import threading

import pytest

from consumers.polling import ENOUGH_BATCHES, FEWEST_RECORDS, FIRST_RECORDS, MOST_RECORDS, TARGET_BYTES, PollSize
from pipeline.events.records import Modality
from pipeline.join.offset_map import offsets_that_fit
from tests.support.events import StubPredictor
from tests.support.fusion import SETTINGS, Replica, publish, replica, run_to_balance
from tests.support.memory import MemoryBroker


def asked_for(one: Replica, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Returns the list of how many records each poll from now on asks for."""
    asked: list[int] = []
    poll = one.source.poll

    def noting(count: int, timeout_s: float) -> object:
        asked.append(count)
        return poll(count, timeout_s)

    monkeypatch.setattr(one.source, "poll", noting)
    return asked


@pytest.mark.parametrize(
    ("size_bytes", "expected"),
    [(10, MOST_RECORDS), (TARGET_BYTES // 500, 500), (TARGET_BYTES, FEWEST_RECORDS)],
)
def test_as_many_as_make_a_few_megabytes(size_bytes: int, expected: int) -> None:
    size = PollSize(64)
    assert size.records(0, has_room=True) == FIRST_RECORDS
    for _ in range(200):
        size.note(64, 64 * size_bytes)
    assert size.records(0, has_room=True) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    ("batches", "has_room", "expected"),
    [
        (ENOUGH_BATCHES, False, FIRST_RECORDS),
        (ENOUGH_BATCHES + 1, False, FEWEST_RECORDS),
        (ENOUGH_BATCHES + 1, True, FIRST_RECORDS),
    ],
)
def test_few_while_a_full_model_has_enough_waiting(batches: int, has_room: bool, expected: int) -> None:
    assert PollSize(64).records(batches * 64, has_room=has_room) == expected


@pytest.mark.parametrize("most", [0, 40, 300])
def test_never_more_than_the_offset_maps_take(most: int) -> None:
    size = PollSize(64, most)
    assert size.records(0, has_room=True) == max(1, min(most, FIRST_RECORDS))
    size.note(10_000, 10_000)
    assert size.records(0, has_room=True) == max(1, most)
    assert size.records(10_000, has_room=False) == max(1, min(most, FEWEST_RECORDS))


def test_a_consumer_asks_for_no_more_than_its_maps_take(broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = SETTINGS.kafka.model_copy(update={"offset_metadata_bytes": 256})
    one = replica(broker, settings=SETTINGS.model_copy(update={"kafka": kafka}))
    asked = asked_for(one, monkeypatch)
    one.step()
    assert asked == [offsets_that_fit(255) // 8]
    assert asked[0] < FIRST_RECORDS
    one.crash()


def test_a_consumer_reads_slower_than_a_full_model_would_let_it(
    broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumers.fusion.FULL_WAIT_S", 0.0)
    answer = threading.Event()
    one = replica(broker, StubPredictor(lambda samples: not answer.wait(30)))
    asked = asked_for(one, monkeypatch)
    enough = (ENOUGH_BATCHES + 4) * SETTINGS.serving.batch_size
    for number in range(enough):
        publish(broker, b"k%d" % number, *Modality)
    while FEWEST_RECORDS not in asked:
        one.step()
    answer.set()
    run_to_balance(broker, one)
    assert asked[-1] > FEWEST_RECORDS
    one.crash()
