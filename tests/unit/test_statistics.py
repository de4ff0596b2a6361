"""The statistics program without Faust: messages in, steps and views out."""

import pytest

from consumers.statistics import Statistics
from pipeline.events.codec import Codec
from pipeline.events.records import Modality, Prediction
from pipeline.kafka.contract import Message
from pipeline.kafka.errors import Fatal
from pipeline.settings import Settings, TopicSettings
from tests.support.predictions import NOON_MS, a_prediction

CODEC = Codec()
SETTINGS = Settings(topics=TopicSettings(prefix="t-"))


class Run:
    """The program over one partition that ends at an offset, and what it has kept."""

    def __init__(self, end: int = 1_000, state: dict[str, bytes] | None = None) -> None:
        self.state = {} if state is None else state
        self.offset = 0
        self.statistics = Statistics(SETTINGS, CODEC, lambda numbers: dict.fromkeys(numbers, end), lambda: 0)
        self.statistics.restored(self.state, {0})

    def receive(self, *records: Prediction | bytes) -> None:
        for record in records:
            value = CODEC.encode_prediction(record) if isinstance(record, Prediction) else record
            self.statistics.received(Message("t-predictions", 0, self.offset, NOON_MS, b"k", value))
            self.offset += 1

    def step(self) -> list[tuple[str, int]]:
        step = self.statistics.step()
        for entries in step.state:
            self.state |= entries
        for name in step.forgotten:
            del self.state[name]
        assert {output.topic for output in step.outputs} <= {"t-statistics"}
        return [((output.key or b"").decode(), CODEC.decode_statistic(output.value).count) for output in step.outputs]


def test_the_key_names_the_window_and_the_group() -> None:
    run = Run()
    run.receive(a_prediction(1), a_prediction(2))
    assert run.step() == [
        (f'[{NOON_MS}, {NOON_MS + 10_000}, "1.0.0", "7", ["SPEECH", "SENSOR"]]', 2),
        (f'[{NOON_MS}, {NOON_MS + 60_000}, "1.0.0", "7", ["SPEECH", "SENSOR"]]', 2),
    ]


def test_what_cannot_be_counted_is_skipped() -> None:
    run = Run()
    run.receive(b"garbage", a_prediction(1, confidence=float("nan")), a_prediction(2, latency_ms=float("inf")))
    run.receive(a_prediction(3, event_time_ms=NOON_MS + 60_001), a_prediction(4, event_time_ms=-1), a_prediction(5))
    assert [count for _, count in run.step()] == [1, 1]
    assert dict(run.statistics.positions()) == {0: 6}


def test_it_goes_on_with_what_was_kept() -> None:
    run = Run()
    run.receive(a_prediction(1), a_prediction(2))
    run.step()
    again = Run(state=run.state)
    assert again.statistics.positions() == {0: 2}
    again.receive(a_prediction(1), a_prediction(2), a_prediction(3))
    assert [count for _, count in again.step()] == [3, 3]


def test_a_state_beyond_the_end_of_the_topic_is_refused() -> None:
    run = Run()
    run.receive(a_prediction(1), a_prediction(2))
    run.step()
    with pytest.raises(Fatal, match=r"t-predictions\[0\] .* up to offset 2, and it ends at 1.*t-statistics-changelog"):
        Run(end=1, state=run.state)


def test_the_view_can_be_narrowed() -> None:
    run = Run()
    run.receive(a_prediction(1), a_prediction(2, label="3", modalities=tuple(Modality)))
    run.step()
    view = run.statistics.view
    assert [(one["window_ms"], one["label"]) for one in view({})["statistics"]] == [
        (60_000, "3"), (60_000, "7"), (10_000, "3"), (10_000, "7"),
    ]  # fmt: skip
    assert [one["window_ms"] for one in view({"label": "3", "window_ms": "10000"})["statistics"]] == [10_000]


@pytest.mark.parametrize(("query", "said"), [({"windows": "1"}, "no parameter windows"), ({"window_ms": "5"}, "5 ms")])
def test_a_wrong_query_is_told(query: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Run().statistics.view(query)
