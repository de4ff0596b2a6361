"""Which trace a prediction continues."""

from collections.abc import Iterator

import pytest

from pipeline.events.records import Modality
from pipeline.kafka.contract import Headers
from pipeline.telemetry.tracing import TraceContext, Work
from tests.support.events import encoded
from tests.support.fusion import SETTINGS, Replica, accounted, expected, replica, run_until
from tests.support.memory import MemoryBroker

SPEECH, IMAGE, SENSOR = Modality
NOW_MS = 1_000_000


def headers(name: str) -> Headers:
    return (("label", b"7"), ("traceparent", f"00-{name * 32}-{name * 16}-01".encode()), ("tracestate", b"v=1"))


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker(partitions=2)


@pytest.fixture
def fusion(broker: MemoryBroker) -> Iterator[Replica]:
    one = replica(broker)
    yield one
    one.crash()


def publish(broker: MemoryBroker, modality: Modality, trace: str = "", at_ms: int = NOW_MS) -> None:
    value = encoded(modality, at_ms)
    broker.publish(SETTINGS.topics.source(modality), b"k", value, headers=headers(trace) if trace else (("x", b"y"),))


def predicted(broker: MemoryBroker, fusion: Replica) -> list[Headers]:
    run_until(lambda: accounted(broker) == expected(broker), fusion)
    return [message.headers for message in broker.records(SETTINGS.topics.predictions)]


def test_events_without_a_trace_give_a_prediction_without(broker: MemoryBroker, fusion: Replica) -> None:
    for modality in Modality:
        publish(broker, modality)
    assert predicted(broker, fusion) == [()]


def test_the_trace_of_the_earliest_event_goes_on_as_it_came(broker: MemoryBroker, fusion: Replica) -> None:
    publish(broker, SPEECH, "a", NOW_MS + 2)
    publish(broker, IMAGE, "b", NOW_MS + 1)
    publish(broker, SENSOR, at_ms=NOW_MS)
    assert predicted(broker, fusion) == [headers("b")[1:]]


def test_of_one_time_the_first_modality_goes_on(broker: MemoryBroker, fusion: Replica) -> None:
    for modality, trace in zip((SENSOR, IMAGE, SPEECH), "abc", strict=True):
        publish(broker, modality, trace)
    assert predicted(broker, fusion) == [headers("c")[1:]]


def test_an_amendment_stays_in_the_trace_of_what_it_amends(broker: MemoryBroker, fusion: Replica) -> None:
    publish(broker, SPEECH, "a", NOW_MS)
    publish(broker, SENSOR, "b", NOW_MS + 1)
    predicted(broker, fusion)
    publish(broker, IMAGE, "c", NOW_MS - 5)
    assert predicted(broker, fusion) == [headers("a")[1:]] * 2


def test_spans_continue_one_trace_and_link_to_the_others(broker: MemoryBroker, fusion: Replica) -> None:
    tracer = Recording()
    fusion.consumer._outputs._tracer = tracer
    publish(broker, SPEECH, "a", NOW_MS)
    publish(broker, IMAGE, "a", NOW_MS + 1)
    publish(broker, SENSOR, "b", NOW_MS + 2)
    assert predicted(broker, fusion) == [(("traceparent", b"after a"),)]
    ((work, parent),) = tracer.shown
    assert parent.trace_id == "a" * 32
    assert [link.trace_id for link in work.links] == ["b" * 32]
    assert work.attributes is not None
    assert work.attributes["trimodal.modalities"] == ["SPEECH", "IMAGE", "SENSOR"]
    assert work.begin_ms <= work.end_ms


class Recording:
    """Keeps what it is shown."""

    starts = True

    def __init__(self) -> None:
        self.shown: list[tuple[Work, TraceContext]] = []

    def span(self, work: Work, parent: TraceContext | None) -> TraceContext | None:
        assert parent is not None
        self.shown.append((work, parent))
        return TraceContext(b"after a")

    def close(self) -> None:
        pass
