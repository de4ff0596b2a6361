"""A trace's way from the events through their prediction into its document, with the programs as they are shipped."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from pipeline.events.records import Modality
from pipeline.kafka.subscriber import KafkaSubscriber
from pipeline.stack import StackAddresses
from pipeline.telemetry.tracing import TraceContext, context_of
from producers.publisher import Publisher
from tests.support.collector import Collector
from tests.support.events import event
from tests.support.indexing import PATIENCE_S, Workplace, await_documents, polled

pytestmark = pytest.mark.stack
ROOT = Path(__file__).resolve().parents[2]
THEIRS = TraceContext(f"00-{'4bf92f35' * 4}-{'00f067aa' * 2}-01".encode(), b"vendor=1")
UNSAMPLED = TraceContext(f"00-{'0af76519' * 4}-{'b7ad6b71' * 2}-00".encode())


@pytest.fixture
def collector() -> Iterator[Collector]:
    one = Collector()
    yield one
    one.close()


@contextmanager
def programs(place: Workplace, logs: Path, **monitoring: str) -> Iterator[None]:
    """Runs the fusion program and the indexer; both end well when they are told to."""
    environment = {**os.environ, **place.environment(), "TRIMODAL_SERVING__WORKERS": "1"}
    environment |= {f"TRIMODAL_MONITORING__{name.upper()}": value for name, value in monitoring.items()}
    running = {}
    try:
        for name in ("fusion", "indexer"):
            with (logs / f"{name}.log").open("w") as log:
                command = [sys.executable, "-m", "pipeline.cli", "run", name]
                running[name] = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=log)
        yield
        for name, process in running.items():
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0, (logs / f"{name}.log").read_text()
    finally:
        for process in running.values():
            process.kill()
            process.wait()


def publish(place: Workplace, collector: Collector) -> None:
    """Publishes a triple in their trace, one in a trace that is not kept, and one without, which starts its own."""
    settings = place.settings.model_copy(update={"monitoring": collector.settings})
    now_ms = time.time_ns() // 1_000_000
    with Publisher(settings) as publisher:
        for key, context in {"theirs": THEIRS, "unsampled": UNSAMPLED, "ours": None}.items():
            for number, modality in enumerate(Modality):
                publisher.publish(key, event(modality, now_ms + number), context.headers() if context else ())


def predicted(place: Workplace, count: int) -> dict[str, TraceContext | None]:
    """Returns the context of each key's prediction."""
    kafka, topics = place.settings.kafka, place.settings.topics
    reader = KafkaSubscriber(kafka, f"{kafka.group}-test", topics.predictions)
    try:
        return {(message.key or b"").decode(): context_of(message.headers) for message in polled(reader, count)}
    finally:
        reader.close()


def indexed(place: Workplace) -> dict[str, str]:
    """Returns the trace that each key's document names."""
    found = place.client.search(index=place.settings.elasticsearch.alias)["hits"]["hits"]
    return {hit["_source"]["key"]: hit["_source"]["trace_id"] for hit in found}


def of_trace(spans: list[Span], trace_id: str) -> Mapping[str, Span]:
    return {span.name: span for span in spans if span.trace_id.hex() == trace_id}


def test_one_trace_goes_from_the_event_to_the_document(
    stack: StackAddresses, collector: Collector, tmp_path: Path
) -> None:
    place = Workplace.made(stack)
    publish(place, collector)
    with programs(place, tmp_path, tracing_endpoint=collector.settings.tracing_endpoint or ""):
        await_documents(place, 3)
    contexts, spans = predicted(place, 3), collector.spans()
    assert indexed(place) == {key: context.trace_id for key, context in contexts.items() if context is not None}

    theirs = of_trace(spans, THEIRS.trace_id)
    assert theirs.keys() == {"predict", "index"}
    assert theirs["predict"].parent_span_id.hex() == THEIRS.span_id
    assert theirs["index"].parent_span_id == theirs["predict"].span_id
    assert contexts["theirs"] == TraceContext(
        f"00-{THEIRS.trace_id}-{theirs['predict'].span_id.hex()}-01".encode(), THEIRS.tracestate
    )

    assert contexts["unsampled"] == UNSAMPLED
    assert of_trace(spans, UNSAMPLED.trace_id) == {}

    assert contexts["ours"] is not None
    ours = of_trace(spans, contexts["ours"].trace_id)
    assert ours.keys() == {"publish", "predict", "index"}
    assert ours["predict"].parent_span_id == ours["publish"].span_id
    begun = {span.trace_id for span in spans if span.name == "publish"}
    assert {link.trace_id for link in ours["predict"].links} == begun - {ours["publish"].trace_id}
    assert len(begun) == 3


@pytest.mark.parametrize(("ratio", "headers"), [(1.0, 1), (0.0, 0)])
def test_only_a_trace_that_is_kept_is_named_in_the_record(
    stack: StackAddresses, collector: Collector, ratio: float, headers: int
) -> None:
    place = Workplace.made(stack)
    monitoring = collector.settings.model_copy(update={"tracing_ratio": ratio})
    with Publisher(place.settings.model_copy(update={"monitoring": monitoring})) as publisher:
        record = publisher.publish("k", event(Modality.IMAGE, time.time_ns() // 1_000_000))
    assert len(record.headers) == headers
    assert len(collector.spans()) == headers
