"""Which trace a prediction continues."""

from pipeline.events.records import Headers, Modality
from pipeline.telemetry.tracing import TraceContext, Work
from tests.support.fusion import NOW_MS, SETTINGS, Replica, accounted, expected, publish, run_until
from tests.support.memory import MemoryBroker

SPEECH, IMAGE, SENSOR = Modality


def headers(name: str) -> Headers:
    return (("label", b"7"), ("traceparent", f"00-{name * 32}-{name * 16}-01".encode()), ("tracestate", b"v=1"))


def predicted(broker: MemoryBroker, fusion: Replica) -> list[Headers]:
    run_until(lambda: accounted(broker) == expected(broker), fusion)
    return [message.headers for message in broker.records(SETTINGS.topics.predictions)]


def test_events_without_a_trace_give_a_prediction_without(broker: MemoryBroker, fusion: Replica) -> None:
    publish(broker, b"k", *Modality, headers=(("label", b"7"),))
    assert predicted(broker, fusion) == [()]


def test_the_trace_of_the_earliest_event_goes_on_as_it_came(broker: MemoryBroker, fusion: Replica) -> None:
    publish(broker, b"k", SPEECH, headers=headers("a"), at_ms=NOW_MS + 2)
    publish(broker, b"k", IMAGE, headers=headers("b"), at_ms=NOW_MS + 1)
    publish(broker, b"k", SENSOR)
    assert predicted(broker, fusion) == [headers("b")[1:]]


def test_of_one_time_the_first_modality_goes_on(broker: MemoryBroker, fusion: Replica) -> None:
    for modality, trace in zip((SENSOR, IMAGE, SPEECH), "abc", strict=True):
        publish(broker, b"k", modality, headers=headers(trace))
    assert predicted(broker, fusion) == [headers("c")[1:]]


def test_an_amendment_stays_in_the_trace_of_what_it_amends(broker: MemoryBroker, fusion: Replica) -> None:
    publish(broker, b"k", SPEECH, headers=headers("a"))
    publish(broker, b"k", SENSOR, headers=headers("b"), at_ms=NOW_MS + 1)
    predicted(broker, fusion)
    publish(broker, b"k", IMAGE, headers=headers("c"), at_ms=NOW_MS - 5)
    assert predicted(broker, fusion) == [headers("a")[1:]] * 2


def test_spans_continue_one_trace_and_link_to_the_others(broker: MemoryBroker, fusion: Replica) -> None:
    tracer = Recording()
    fusion.consumer._outputs._tracer = tracer
    publish(broker, b"k", SPEECH, headers=headers("a"))
    publish(broker, b"k", IMAGE, headers=headers("a"), at_ms=NOW_MS + 1)
    publish(broker, b"k", SENSOR, headers=headers("b"), at_ms=NOW_MS + 2)
    assert predicted(broker, fusion) == [(("traceparent", b"after a"),)]
    ((work, parent),) = tracer.shown
    assert parent.trace_id == "a" * 32
    assert [link.trace_id for link in work.links] == ["b" * 32]
    assert work.attributes is not None
    assert work.attributes["trimodal.modalities"] == "SPEECH,IMAGE,SENSOR"
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
