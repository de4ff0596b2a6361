"""Where a trace goes through the fusion program: from the events to their prediction."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.join.outcomes import Record
from pipeline.kafka.contract import Output
from pipeline.telemetry.tracing import Attributes, Kind, TraceContext, Tracer, Work, context_of

if TYPE_CHECKING:
    from consumers.outputs import Moment


def with_contexts(outputs: Sequence[Output], moments: Sequence["Moment"], tracer: Tracer, now_ms: int) -> list[Output]:
    """Returns the predictions, each with the context of the trace that it continues, if an event of its came with one.

    Of several traces the one goes on that the earliest event began, of those that had no answer before; the others
    are linked to. An amendment so stays in the trace of what it amends (docs/adr/0013).

    Args:
        outputs: predictions, one for each moment.
        moments: what they answer.
        tracer: shows the work as spans, or not.
        now_ms: when the predictions were made.
    """
    return [
        output._replace(headers=context.headers()) if (context := _continued(moment, tracer, now_ms)) else output
        for output, moment in zip(outputs, moments, strict=True)
    ]


def _continued(moment: "Moment", tracer: Tracer, now_ms: int) -> TraceContext | None:
    records = sorted(moment.records, key=lambda record: _rank(moment, record))
    contexts = [context for record in records if (context := context_of(record.headers))]
    if not contexts:
        return None
    others = [context for context in contexts[1:] if context.trace_id != contexts[0].trace_id]
    began_ms = min(record.timestamp_ms for record in moment.records)
    attributes: Attributes = {
        "messaging.system": "kafka",
        "messaging.kafka.message.key": moment.key.decode(),
        "trimodal.modalities": [record.modality.name for record in moment.records],
        "trimodal.amends": int(moment.amends),
    }
    work = Work("predict", Kind.CONSUMES, min(began_ms, now_ms), now_ms, others, attributes)
    return tracer.span(work, contexts[0])


def _rank(moment: "Moment", record: Record) -> tuple[bool, int]:
    return moment.amends and record in moment.fresh, record.event_time_ms
