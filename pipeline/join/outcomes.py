"""What can become of a source record: each gets exactly one of these."""

from dataclasses import dataclass
from typing import Any

from pipeline.events.records import Modality


@dataclass(frozen=True, slots=True)
class Record:
    """A decoded source record. `payload` is the caller's, of `size_bytes`; the join never looks into it."""

    modality: Modality
    offset: int
    key: bytes
    event_time_ms: int
    payload: Any = None
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Joined:
    """All three inputs of a key are there, in the order of the modalities."""

    key: bytes
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Partial:
    """The deadline passed with enough inputs for an answer, in the order of the modalities."""

    key: bytes
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Amended:
    """A missing input came soon enough after a partial answer: `added`, the last of `records` to come, is new."""

    key: bytes
    records: tuple[Record, ...]
    added: Record


@dataclass(frozen=True, slots=True)
class Incomplete:
    """The deadline passed with too few inputs for an answer."""

    key: bytes
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Late:
    """The record's window had closed before it came."""

    record: Record
    watermark_ms: int


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The key already had this input."""

    record: Record


Outcome = Joined | Partial | Amended | Incomplete | Late | Duplicate


@dataclass(frozen=True, slots=True)
class JoinRules:
    """When events of one key belong together. Milliseconds: `idle_ms` of clock time, the others of event time."""

    window_ms: int
    out_of_order_ms: int
    idle_ms: int
    min_modalities: int = 2
    amend_ms: int = 0

    @property
    def memory_ms(self) -> int:
        """How long after its first record a window is remembered: one window more, or until it can't be amended."""
        return self.window_ms + max(self.window_ms, self.amend_ms)
