"""Spans, made and sent by OpenTelemetry. Loaded only when `monitoring.tracing_endpoint` is set."""

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags, TraceState

from pipeline.telemetry.logs import forward
from pipeline.telemetry.tracing import Kind, TraceContext, Work

_KINDS = {Kind.PRODUCES: SpanKind.PRODUCER, Kind.CONSUMES: SpanKind.CONSUMER}
_TRACES_PATH = "/v1/traces"
_NS = 1_000_000
_SCOPE = InstrumentationScope("trimodal")


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
        self._resource = Resource.create({"service.name": f"trimodal-{program}", "service.instance.id": replica})
        self._sampler = TraceIdRatioBased(ratio)
        self._ids = RandomIdGenerator()
        self._sender = BatchSpanProcessor(OTLPSpanExporter(endpoint.rstrip("/") + _TRACES_PATH))

    def span(self, work: Work, parent: TraceContext | None) -> TraceContext | None:
        """Shows work that is done, in its parent's trace or in one of its own.

        The work is over, so its span is made as a whole: starting and ending one takes three times as long.
        """
        if parent is not None and not parent.sampled:
            return parent
        above = _theirs(parent) if parent else None
        context = self._within(above) if above else self._of_its_own()
        if context.trace_flags.sampled:
            span = ReadableSpan(
                work.name,
                context,
                above,
                self._resource,
                work.attributes,
                links=[Link(_theirs(link)) for link in work.links],
                kind=_KINDS[work.kind],
                start_time=int(work.begin_ms * _NS),
                end_time=int(work.end_ms * _NS),
                instrumentation_scope=_SCOPE,
            )
            self._sender.on_end(span)
        return _ours(context)

    def close(self) -> None:
        """Sends what is still to be sent, for as long as the exporter's own timeout allows."""
        self._sender.shutdown()  # type: ignore[no-untyped-call]

    def _within(self, above: SpanContext) -> SpanContext:
        return SpanContext(
            above.trace_id,
            self._ids.generate_span_id(),
            is_remote=False,
            trace_flags=above.trace_flags,
            trace_state=above.trace_state,
        )

    def _of_its_own(self) -> SpanContext:
        trace_id = self._ids.generate_trace_id()
        is_kept = self._sampler.should_sample(None, trace_id, "").decision is Decision.RECORD_AND_SAMPLE
        flags = TraceFlags(TraceFlags.SAMPLED if is_kept else TraceFlags.DEFAULT)
        return SpanContext(trace_id, self._ids.generate_span_id(), is_remote=False, trace_flags=flags)


def _theirs(context: TraceContext) -> SpanContext:
    state = TraceState.from_header([context.tracestate.decode("latin-1")]) if context.tracestate else None
    flags = TraceFlags(TraceFlags.SAMPLED if context.sampled else TraceFlags.DEFAULT)
    return SpanContext(int(context.trace_id, 16), int(context.span_id, 16), True, flags, state)  # noqa: FBT003


def _ours(context: SpanContext) -> TraceContext:
    traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    state = context.trace_state.to_header()
    return TraceContext(traceparent.encode(), state.encode("latin-1") if state else None)
