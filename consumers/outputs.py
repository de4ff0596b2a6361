"""What the fusion consumer publishes: predictions and dead letters, built from source records."""

import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, compress, repeat
from operator import attrgetter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from consumers.traced import continued
from pipeline.events.codec import Codec
from pipeline.events.predictions import UUID_CHARACTERS, PredictionColumns, PredictionEncoder
from pipeline.events.records import DeadLetter, Modality, Reason, SourceOffset
from pipeline.events.rows import row_maker
from pipeline.join.lane import Lane
from pipeline.join.moment import Window
from pipeline.join.outcomes import Record
from pipeline.kafka.contract import Message, Output
from pipeline.model.manifest import Manifest
from pipeline.settings import Settings
from pipeline.telemetry.clock import wall_ms
from pipeline.telemetry.tracing import PassedOn, Tracer

PREDICTION_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:trimodal:prediction")
EVERY = tuple(Modality)
SHA1_BYTES, UUID_BYTES = 20, 16
_KEY, _RECORDS = attrgetter("key"), attrgetter("records")
_AMENDS = attrgetter("amends")
_HEXADECIMAL = np.frombuffer(b"0123456789abcdef", np.uint8)
_DIGITS = [place for place, character in enumerate(str(PREDICTION_NAMESPACE)) if character != "-"]
_HIGH_DIGITS, _LOW_DIGITS = _DIGITS[::2], _DIGITS[1::2]


class Moment(NamedTuple):
    """A key's records that the join has put together, in the order of the modalities, and the lane they are from.

    Those in `fresh` get their outcome by the model's answer. If it `amends` an earlier answer, the others had theirs
    by that. Without some input it has a `window`, that may get the missing one.
    """

    lane: Lane
    key: bytes
    records: tuple[Record, ...]
    fresh: tuple[Record, ...]
    amends: bool
    window: Window | None = None


moment_of = row_maker(Moment)
_output = row_maker(Output)


def message_of(record: Record) -> Message:
    """Returns a source record as it came."""
    topic, partition = record.place
    return Message(topic, partition, record.offset, record.timestamp_ms, record.key, record.value, record.headers)


def prediction_ids(keys: Sequence[bytes], event_times_ms: Sequence[int]) -> list[bytes]:
    """Returns the UUIDv5 of each key and its earliest event time, in ASCII; a replay computes the same.

    Source: RFC 9562, 5.5. `uuid.uuid5` returns the same and takes ten times as long.
    """
    names = map(b"%s%d:%s".__mod__, zip(repeat(PREDICTION_NAMESPACE.bytes), event_times_ms, keys, strict=False))
    hashes = b"".join([hashlib.sha1(name).digest() for name in names])  # noqa: S324  (UUIDv5 is made of it)
    octets = np.frombuffer(hashes, np.uint8).reshape(len(keys), SHA1_BYTES)[:, :UUID_BYTES].copy()
    octets[:, 6] = octets[:, 6] & 0x0F | 0x50
    octets[:, 8] = octets[:, 8] & 0x3F | 0x80
    texts = np.full((len(keys), UUID_CHARACTERS), ord("-"), np.uint8)
    texts[:, _HIGH_DIGITS], texts[:, _LOW_DIGITS] = _HEXADECIMAL[octets >> 4], _HEXADECIMAL[octets & 0x0F]
    raw = texts.tobytes()
    return [raw[start : start + UUID_CHARACTERS] for start in range(0, len(raw), UUID_CHARACTERS)]


def too_few(records: Sequence[Record]) -> str:
    """Returns why these records get no answer."""
    return f"{len(records)} usable of 3 inputs came for its key in its window."


def too_late(record: Record, watermark_ms: int) -> str:
    """Returns why a record was not joined."""
    return f"Its window had closed: its time {record.event_time_ms}, the watermark {watermark_ms}."


def one_too_many(record: Record) -> str:
    """Returns why a record was not joined."""
    return f"Its key already had its {record.modality.name.lower()} event, within join.window_ms."


class OutputBuilder:
    """Builds and encodes what is published."""

    def __init__(
        self,
        codec: Codec,
        settings: Settings,
        manifest: Manifest,
        clock_ms: Callable[[], int] = wall_ms,
        tracer: Tracer | None = None,
    ) -> None:
        self._clock_ms = clock_ms
        self._tracer = tracer or PassedOn()
        self._codec = codec
        self._topics = settings.topics
        self._min_modalities = settings.join.min_modalities
        self._encoder = PredictionEncoder(codec.prediction_header, manifest.labels, manifest.name, manifest.version)

    def predictions(
        self, moments: Sequence[Moment], probabilities: npt.NDArray[np.float32]
    ) -> tuple[list[Output], npt.NDArray[np.int64]]:
        """Returns the predictions for moments of which the model has used all records.

        Beside them, the broker's timestamps, in ms, of the newest record of each.

        Args:
            moments: what was classified.
            probabilities: the answers, float32 [moments, classes].
        """
        now_ms = self._clock_ms()
        columns, newest_ms, with_headers = self._columns(moments, now_ms)
        values = self._encoder.encode(columns, probabilities, now_ms)
        headers = continued(moments, self._tracer, now_ms) if with_headers else repeat(())
        rows = zip(repeat(self._topics.predictions), columns.keys, values, headers, strict=False)
        return list(map(_output, rows)), newest_ms

    def dead_letter(self, message: Message, reason: Reason, detail: str) -> Output:
        """Returns the dead letter of a source record; a value over the limit is left out of it."""
        value = message.value
        if value is not None and len(value) > self._topics.max_record_bytes:
            value = None
        headers: Mapping[str, bytes] = dict(message.headers)
        source = SourceOffset(message.topic, message.partition, message.offset)
        letter = DeadLetter(reason, detail, message.key, value, (source,), self._clock_ms(), headers)
        return Output(self._topics.dead_letters, message.key, self._codec.encode_dead_letter(letter))

    def _columns(self, moments: Sequence[Moment], now_ms: int) -> tuple[PredictionColumns, npt.NDArray[np.int64], bool]:
        """Returns what is particular to each prediction, the newest broker's timestamps, and whether there are headers.

        An amendment keeps the id and the event time of what it amends. Its revision is the number of inputs beyond
        `join.min_modalities`, so it rises with each and is the same after a restart.
        """
        counts = [len(moment.records) for moment in moments]
        starts = np.cumsum(counts, dtype=np.intp) - counts
        records = chain.from_iterable(map(_RECORDS, moments))
        _, offsets, _, times_ms, _, timestamps_ms, headers, places = zip(*records, strict=True)
        first_ms = np.minimum.reduceat(np.array(times_ms, np.int64), starts)
        newest_ms = np.maximum.reduceat(np.array(timestamps_ms, np.int64), starts)
        revisions = [0] * len(moments)
        for place, moment in compress(enumerate(moments), map(_AMENDS, moments)):
            revisions[place] = len(moment.records) - self._min_modalities
            first_ms[place] = min(r.event_time_ms for r in moment.records if r not in moment.fresh)
        keys = list(map(_KEY, moments))
        columns = PredictionColumns(
            prediction_ids(keys, first_ms.tolist()),
            keys,
            first_ms,
            revisions,
            [EVERY if count == len(EVERY) else _modalities(m) for m, count in zip(moments, counts, strict=True)],
            places,
            np.array(offsets, np.int64),
            now_ms - newest_ms,
        )
        return columns, newest_ms, any(headers)


def _modalities(moment: Moment) -> tuple[Modality, ...]:
    return tuple(record.modality for record in moment.records)
