"""Trace contexts, and spans as a collector gets them."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from pipeline.settings import MonitoringSettings
from pipeline.telemetry.tracing import (
    Kind,
    PassedOn,
    TraceContext,
    TracingUnavailable,
    Work,
    context_of,
    tracer,
)
from tests.support.collector import Collector

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{SPAN}-01".encode()
UNREADABLE = [
    ("no header", ()),
    ("another header", (("label", b"7"),)),
    ("empty", (("traceparent", b""),)),
    ("no trace", (("traceparent", f"00-{'0' * 32}-{SPAN}-01".encode()),)),
    ("no span", (("traceparent", f"00-{TRACE}-{'0' * 16}-01".encode()),)),
    ("capitals", (("traceparent", SAMPLED.upper()),)),
    ("a forbidden version", (("traceparent", b"ff" + SAMPLED[2:]),)),
    ("version 00 with more than it has", (("traceparent", SAMPLED + b"-00"),)),
    ("endless", (("traceparent", b"01" + SAMPLED[2:] + b"-" + b"a" * 1_000),)),
    ("not text", (("traceparent", b"\xff\x00"),)),
]


@pytest.mark.parametrize("headers", [case[1] for case in UNREADABLE], ids=[case[0] for case in UNREADABLE])
def test_what_is_no_context(headers: tuple[tuple[str, bytes], ...]) -> None:
    assert context_of(headers) is None


def test_a_context_is_read_and_written_as_it_came() -> None:
    headers = (("label", b"7"), ("tracestate", b"vendor=1"), ("traceparent", SAMPLED))
    context = context_of(headers)
    assert context is not None
    assert (context.trace_id, context.span_id, context.sampled) == (TRACE, SPAN, True)
    assert context.headers() == (("traceparent", SAMPLED), ("tracestate", b"vendor=1"))


def test_a_later_version_may_say_more() -> None:
    context = context_of((("traceparent", b"cc" + SAMPLED[2:] + b"-more"),))
    assert context is not None
    assert context.trace_id == TRACE


def test_without_an_endpoint_contexts_are_passed_on() -> None:
    passing = tracer(MonitoringSettings(), "fusion", "a")
    assert isinstance(passing, PassedOn)
    context = TraceContext(SAMPLED)
    assert passing.span(Work("predict", Kind.CONSUMES, 0, 1), context) is context
    assert passing.span(Work("predict", Kind.CONSUMES, 0, 1), None) is None


def test_without_an_endpoint_nothing_that_makes_spans_is_loaded() -> None:
    """Elasticsearch's client looks for OpenTelemetry's small API on its own."""
    script = (
        "import sys; import consumers.assembly, consumers.indexer, producers.publisher; "
        "from pipeline.settings import load; from pipeline.telemetry.tracing import tracer; "
        "tracer(load().settings.monitoring, 'fusion', 'a'); "
        "sys.exit(any(name.startswith('opentelemetry.sdk') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pipeline.telemetry.spans", raising=False)
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(TracingUnavailable, match=r"opentelemetry.*: `pip install 'trimodal\[tracing\]'`"):
        tracer(MonitoringSettings(tracing_endpoint="http://127.0.0.1:4318"), "fusion", "a")


@pytest.fixture
def collector() -> Iterator[Collector]:
    one = Collector()
    yield one
    one.close()


def test_a_span_belongs_to_its_parent_and_links_to_others(collector: Collector) -> None:
    spans = tracer(collector.settings, "fusion", "a")
    other = TraceContext(f"00-{'a' * 32}-{'b' * 16}-01".encode())
    work = Work("predict", Kind.CONSUMES, 1_000, 1_250.5, (other,), {"trimodal.modalities": "SPEECH,IMAGE"})
    following = spans.span(work, TraceContext(SAMPLED, b"vendor=1"))
    spans.close()
    (span,) = collector.spans()
    assert (span.name, span.kind) == ("predict", Span.SPAN_KIND_CONSUMER)
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN)
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (1_000_000_000, 1_250_500_000)
    assert [link.trace_id.hex() for link in span.links] == ["a" * 32]
    assert following is not None
    assert following.traceparent == f"00-{TRACE}-{span.span_id.hex()}-01".encode()
    assert following.tracestate == b"vendor=1"
    (resource,) = collector.requests[0].resource_spans
    described = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
    assert described["service.name"] == "trimodal-fusion"
    assert described["service.instance.id"] == "a"


def test_what_its_starter_did_not_sample_is_left_alone(collector: Collector) -> None:
    spans = tracer(collector.settings, "fusion", "a")
    unsampled = TraceContext(SAMPLED[:-1] + b"0")
    assert spans.span(Work("predict", Kind.CONSUMES, 0, 1), unsampled) is unsampled
    spans.close()
    assert collector.spans() == []


@pytest.mark.parametrize(("ratio", "kept"), [(1.0, 1), (0.0, 0)])
def test_a_trace_of_our_own_is_kept_as_often_as_is_set(collector: Collector, ratio: float, kept: int) -> None:
    settings = collector.settings.model_copy(update={"tracing_ratio": ratio})
    spans = tracer(settings, "publisher", "a")
    started = spans.span(Work("publish", Kind.PRODUCES, 0, 1), None)
    assert started is not None
    assert started.sampled == bool(kept)
    assert context_of(started.headers()) == started
    spans.close()
    assert len(collector.spans()) == kept
