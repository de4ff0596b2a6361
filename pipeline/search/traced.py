"""Where a trace ends: a prediction's document is written."""

from collections.abc import Callable, Sequence

from pipeline.search.bulk import Indexed, Outcome
from pipeline.search.documents import Document
from pipeline.telemetry.clock import wall_ms
from pipeline.telemetry.tracing import Kind, Tracer, Work


class TracedBulk:
    """Shows the writing of each document as a span of the trace that its prediction came in.

    Args:
        write: as `pipeline.search.bulk.Bulk.write`.
        tracer: shows the work as spans, or not.
    """

    def __init__(self, write: Callable[[Sequence[Document]], Sequence[Outcome]], tracer: Tracer) -> None:
        self._write = write
        self._tracer = tracer

    def write(self, documents: Sequence[Document]) -> Sequence[Outcome]:
        """Passes the documents on, and their outcomes back."""
        began_ms = wall_ms()
        outcomes = self._write(documents)
        ended_ms = wall_ms()
        for document, outcome in zip(documents, outcomes, strict=True):
            if document.trace is not None and isinstance(outcome, Indexed):
                attributes = {"db.system.name": "elasticsearch", "db.collection.name": document.index}
                self._tracer.span(Work("index", Kind.CONSUMES, began_ms, ended_ms, (), attributes), document.trace)
        return outcomes
