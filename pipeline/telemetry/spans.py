"""Spans, made and sent by OpenTelemetry. Loaded only when `monitoring.tracing_endpoint` is set."""

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from pipeline.telemetry.logs import forward
from pipeline.telemetry.tracing import Kind, TraceContext, Work

_KINDS = {Kind.PRODUCES: SpanKind.PRODUCER, Kind.CONSUMES: SpanKind.CONSUMER}
_TRACES_PATH = "/v1/traces"
_NS = 1_000_000


class Spans:
    """Makes spans and sends them in the background; those that a collector does not take are dropped.

    What its producer has not sampled is not looked at twice: its context is passed on as it came.

    Args:
        endpoint: address of an OTLP collector (HTTP), such as http://127.0.0.1:4318.
        ratio: share of the traces started here that are kept.
        program: which of ours this is.
        replica: its name.
    """

    starts = True

    def __init__(self, endpoint: str, ratio: float, program: str, replica: str) -> None:
        forward("opentelemetry")
        resource = Resource.create({"service.name": f"trimodal-{program}", "service.instance.id": replica})
        sampler = ParentBased(TraceIdRatioBased(ratio))
        self._provider = TracerProvider(sampler, resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint.rstrip("/") + _TRACES_PATH)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("trimodal")

    def span(self, work: Work, parent: TraceContext | None) -> TraceContext | None:
        """Shows work that is done, in its parent's trace or in one of its own."""
        if parent is not None and not parent.sampled:
            return parent
        span = self._tracer.start_span(
            work.name,
            set_span_in_context(NonRecordingSpan(_theirs(parent))) if parent else None,
            _KINDS[work.kind],
            work.attributes,
            [Link(_theirs(link)) for link in work.links],
            int(work.begin_ms * _NS),
        )
        span.end(int(work.end_ms * _NS))
        return _ours(span.get_span_context())

    def close(self) -> None:
        """Sends what is still to be sent, for as long as the exporter's own timeout allows."""
        self._provider.shutdown()


def _theirs(context: TraceContext) -> SpanContext:
    state = TraceState.from_header([context.tracestate.decode("latin-1")]) if context.tracestate else None
    flags = TraceFlags(TraceFlags.SAMPLED if context.sampled else TraceFlags.DEFAULT)
    return SpanContext(int(context.trace_id, 16), int(context.span_id, 16), True, flags, state)  # noqa: FBT003


def _ours(context: SpanContext) -> TraceContext:
    traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    state = context.trace_state.to_header()
    return TraceContext(traceparent.encode(), state.encode("latin-1") if state else None)
