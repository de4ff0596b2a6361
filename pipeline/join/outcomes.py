"""What can become of a source record: each gets exactly one of these."""

from dataclasses import dataclass
from typing import NamedTuple

from pipeline.events.records import Headers, Modality
from pipeline.join.moment import Window


class Record(NamedTuple):
    """A source record that can be joined: what the join looks at, then what it only carries.

    Attributes:
        timestamp_ms: the broker's.
        place: its topic and partition.
    """

    modality: Modality
    offset: int
    key: bytes
    event_time_ms: int
    value: bytes = b""
    timestamp_ms: int = 0
    headers: Headers = ()
    place: tuple[str, int] = ("", 0)

    @property
    def size_bytes(self) -> int:
        """Of its value."""
        return len(self.value)


class Joined(NamedTuple):
    """All three inputs of a key are there, in the order of the modalities."""

    key: bytes
    records: tuple[Record, ...]


class Partial(NamedTuple):
    """The deadline passed with enough inputs for an answer, in the order of the modalities."""

    key: bytes
    records: tuple[Record, ...]
    window: Window


class Amended(NamedTuple):
    """A missing input came soon enough after a partial answer: `added`, the last of `records` to come, is new."""

    key: bytes
    records: tuple[Record, ...]
    added: Record
    window: Window


class Incomplete(NamedTuple):
    """The deadline passed with too few inputs for an answer."""

    key: bytes
    records: tuple[Record, ...]


class Late(NamedTuple):
    """The record's window had closed before it came."""

    record: Record
    watermark_ms: int


class Duplicate(NamedTuple):
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
