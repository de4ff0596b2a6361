"""Traces: W3C trace contexts, carried in the headers of records.

Without `monitoring.tracing_endpoint` there are no spans, nothing of OpenTelemetry is imported, and a context is passed
on as it came. Source: W3C Trace Context, https://www.w3.org/TR/trace-context/.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

from pipeline.settings import MonitoringSettings

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"
Headers = Iterable[tuple[str, bytes]]
Attributes = Mapping[str, str | int | float]
"""No sequences: OpenTelemetry takes longer to check one than for all the rest of a span."""
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_LONGEST_TRACEPARENT = 512
_FLAGS_THAT_SAMPLE = frozenset(b"13579bdf")  # the lowest bit of the last hexadecimal digit


class TracingUnavailable(Exception):
    """Spans are asked for, and what makes them is not installed."""


class TraceContext(NamedTuple):
    """Where in which trace something happened: the headers that say so, as they travel."""

    traceparent: bytes
    tracestate: bytes | None = None

    @property
    def trace_id(self) -> str:
        """The trace, 32 hexadecimal digits."""
        return self.traceparent[3:35].decode()

    @property
    def span_id(self) -> str:
        """The span, 16 hexadecimal digits."""
        return self.traceparent[36:52].decode()

    @property
    def sampled(self) -> bool:
        """Whether spans of this trace are kept."""
        return self.traceparent[54] in _FLAGS_THAT_SAMPLE

    def headers(self) -> tuple[tuple[str, bytes], ...]:
        """Returns the headers of a record that belongs here."""
        state = ((TRACESTATE, self.tracestate),) if self.tracestate else ()
        return ((TRACEPARENT, self.traceparent), *state)


def context_of(headers: Headers) -> TraceContext | None:
    """Returns the context in a record's headers; None if there is none, or none that can be read."""
    traceparent = tracestate = None
    for name, value in headers:
        if name == TRACEPARENT:
            traceparent = value
        elif name == TRACESTATE:
            tracestate = value
    if traceparent is None or len(traceparent) > _LONGEST_TRACEPARENT:
        return None
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None or (traceparent.startswith(b"00") and found[4] is not None):
        return None
    return TraceContext(traceparent, tracestate)


class Kind(Enum):
    """What a span does with a record."""

    PRODUCES = "producer"
    CONSUMES = "consumer"


@dataclass(frozen=True, slots=True)
class Work:
    """Something that was done, to be shown as a span.

    Attributes:
        name: what it is.
        kind: what it does with a record.
        begin_ms: in milliseconds since the epoch.
        end_ms: in milliseconds since the epoch.
        links: other traces that it is part of.
        attributes: figures and names, never payloads.
    """

    name: str
    kind: Kind
    begin_ms: float
    end_ms: float
    links: Sequence[TraceContext] = ()
    attributes: Attributes | None = None


class Tracer(Protocol):
    """Turns work into spans, or not."""

    @property
    def starts(self) -> bool:
        """Whether work that belongs to no trace starts one."""

    def span(self, work: Work, parent: TraceContext | None) -> TraceContext | None:
        """Shows work that is done; returns the context of what follows from it."""

    def close(self) -> None:
        """Sends what is still to be sent."""


class PassedOn:
    """Shows nothing, and passes contexts on as they came."""

    starts = False

    def span(self, _work: Work, parent: TraceContext | None) -> TraceContext | None:
        """Returns the context that came."""
        return parent

    def close(self) -> None:
        """There is nothing to send."""


def tracer(settings: MonitoringSettings, program: str, replica: str) -> Tracer:
    """Returns what the settings ask for.

    Raises:
        TracingUnavailable: spans are asked for, and OpenTelemetry is not installed.
    """
    if settings.tracing_endpoint is None:
        return PassedOn()
    try:
        from pipeline.telemetry.spans import Spans  # noqa: PLC0415  (what is not asked for is not loaded)
    except ModuleNotFoundError as error:
        raise TracingUnavailable(
            f"monitoring.tracing_endpoint is set, and {error.name} is not installed: "
            "`pip install 'trimodal[tracing]'`, or take the setting out."
        ) from error
    return Spans(settings.tracing_endpoint, settings.tracing_ratio, program, replica)
