"""Which documents show up as spans."""

from pipeline.search.bulk import Backoff, Indexed, Rejected
from pipeline.search.documents import document
from pipeline.search.traced import TracedBulk
from pipeline.telemetry.tracing import TraceContext, Work
from tests.support.predictions import a_prediction


class Recording:
    """Keeps what it is shown."""

    starts = True

    def __init__(self) -> None:
        self.shown: list[tuple[Work, TraceContext | None]] = []

    def span(self, work: Work, parent: TraceContext | None) -> TraceContext | None:
        self.shown.append((work, parent))
        return parent

    def close(self) -> None:
        pass


def test_a_span_ends_when_its_document_is_there() -> None:
    traces = [TraceContext(f"00-{digit * 32}-{digit * 16}-01".encode()) for digit in "abc"]
    documents = [document(a_prediction(n), "p", trace) for n, trace in enumerate([*traces, None])]
    outcomes = (Indexed(new=True), Backoff("busy"), Rejected("no"), Indexed(new=True))
    tracer = Recording()
    assert TracedBulk(lambda _: outcomes, tracer).write(documents) == outcomes
    ((work, parent),) = tracer.shown
    assert parent == traces[0]
    assert (work.name, work.attributes) == (
        "index",
        {"db.system.name": "elasticsearch", "db.collection.name": documents[0].index},
    )
    assert work.begin_ms <= work.end_ms
