"""Where a trace goes through the fusion program: from the events to their prediction."""

from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING

from pipeline.events.records import Headers
from pipeline.join.outcomes import Record
from pipeline.telemetry.tracing import Attributes, Kind, PassedOn, TraceContext, Tracer, Work, context_of

if TYPE_CHECKING:
    from consumers.outputs import Moment

_EVENT_TIME, _HEADERS = attrgetter("event_time_ms"), attrgetter("headers")


def continued(moments: Sequence["Moment"], tracer: Tracer, now_ms: int) -> list[Headers]:
    """Returns the headers of the moments' predictions: the trace that each continues, if an event of its came with one.

    Of several traces the one goes on that the earliest event began, of those that had no answer before; the others
    are linked to. An amendment so stays in the trace of what it amends (docs/adr/0013).

    Args:
        moments: what the predictions answer.
        tracer: shows the work as spans, or not.
        now_ms: when the predictions were made.
    """
    return [context.headers() if (context := _continued(moment, tracer, now_ms)) else () for moment in moments]


def _continued(moment: "Moment", tracer: Tracer, now_ms: int) -> TraceContext | None:
    contexts = filter(None, map(context_of, map(_HEADERS, _ranked(moment))))
    first = next(contexts, None)
    if first is None or not first.sampled or isinstance(tracer, PassedOn):
        return first  # no span is made
    others = [context for context in contexts if context.trace_id != first.trace_id]
    began_ms = min(record.timestamp_ms for record in moment.records)
    attributes: Attributes = {
        "messaging.system": "kafka",
        "messaging.kafka.message.key": moment.key.decode(),
        "trimodal.modalities": ",".join([record.modality.name for record in moment.records]),
        "trimodal.amends": int(moment.amends),
    }
    work = Work("predict", Kind.CONSUMES, min(began_ms, now_ms), now_ms, others, attributes)
    return tracer.span(work, first)


def _ranked(moment: "Moment") -> list[Record]:
    records = sorted(moment.records, key=_EVENT_TIME)
    return sorted(records, key=moment.fresh.__contains__) if moment.amends else records
