"""Events, predictions, dead letters and statistics to Avro bytes and back.

Two framings are read, told apart by their first bytes, and one of them is written:

* Avro single-object encoding: ``C3 01``, the writer schema's CRC-64-AVRO fingerprint, the body. No registry needed.
* Confluent wire format: ``00``, a 4-byte big-endian schema id, the body. Written when a registry is given.

Records of older writers are resolved to today's schemas by Avro's rules.
"""

from collections.abc import Iterable
from io import BytesIO
from typing import Any, Protocol

import fastavro

import schemas
from pipeline.events.errors import Undecodable
from pipeline.events.records import (
    DeadLetter,
    Event,
    ImageEncoding,
    ImageEvent,
    Modality,
    Prediction,
    Reason,
    SensorEvent,
    SourceOffset,
    SpeechEncoding,
    SpeechEvent,
    Statistic,
)
from schemas import Name, Schema

SINGLE_OBJECT_MARKER = b"\xc3\x01"
CONFLUENT_MARKER = b"\x00"
SINGLE_OBJECT_HEADER_BYTES = 10
CONFLUENT_HEADER_BYTES = 5

EVENT_SCHEMAS = {
    Modality.SPEECH: Name.SPEECH,
    Modality.IMAGE: Name.IMAGE,
    Modality.SENSOR: Name.SENSOR,
}


class UnknownSchema(LookupError):
    """The registry has no schema of this id."""


class SchemaRegistry(Protocol):
    """What the codec needs of a Schema Registry."""

    def schema_id(self, name: Name) -> int:
        """Returns the id under which today's schema is registered."""

    def schema(self, schema_id: int) -> Schema:
        """Returns a writer schema; raises UnknownSchema."""


class Codec:
    """Encodes with today's schemas; decodes today's and older ones.

    Args:
        registry: writes and reads the Confluent wire format; without it single-object encoding is written.
        older: writer schemas, beside those in `schemas/older`, whose records can still be read.
    """

    def __init__(self, registry: SchemaRegistry | None = None, older: Iterable[Schema] = ()) -> None:
        self._registry = registry
        self._readers = {name: _without_logical_types(schemas.load(name)) for name in Name}
        self._writers = {schemas.fingerprint_of(schema): _parsed(schema) for schema in (*schemas.older(), *older)}
        self._writers |= {schemas.fingerprint(name): self._readers[name] for name in Name}
        self._by_id: dict[int, Schema] = {}
        self._headers = {name: self._header(name) for name in Name}

    def encode_event(self, event: Event) -> bytes:
        """Returns the message value of a source event."""
        match event:
            case SpeechEvent():
                fields: dict[str, Any] = {
                    "sample_rate": event.sample_rate,
                    "encoding": event.encoding.value,
                    "audio": event.audio,
                }
                name = Name.SPEECH
            case ImageEvent():
                fields = {"encoding": event.encoding.value, "image": event.image}
                name = Name.IMAGE
            case SensorEvent():
                fields = {
                    "sample_rate": event.sample_rate,
                    "channels": list(event.channels),
                    "values": event.values,
                }
                name = Name.SENSOR
        return self._encode(name, {"event_time": event.event_time_ms, "source": event.source, **fields})

    def decode_event(self, modality: Modality, value: bytes) -> Event:
        """Returns the event in a message of the modality's topic.

        Raises:
            Undecodable: the bytes are not Avro of that modality.
        """
        fields = self._decode(EVENT_SCHEMAS[modality], value)
        time_ms, source = fields["event_time"], fields["source"]
        match modality:
            case Modality.SPEECH:
                encoding = SpeechEncoding(fields["encoding"])
                return SpeechEvent(time_ms, source, fields["sample_rate"], encoding, fields["audio"])
            case Modality.IMAGE:
                return ImageEvent(time_ms, source, ImageEncoding(fields["encoding"]), fields["image"])
            case Modality.SENSOR:
                channels = tuple(fields["channels"])
                return SensorEvent(time_ms, source, fields["sample_rate"], channels, fields["values"])

    @property
    def prediction_header(self) -> bytes:
        """What stands before the body of every prediction that is written."""
        return self._headers[Name.PREDICTION]

    def encode_prediction(self, prediction: Prediction) -> bytes:
        """Returns the message value of a prediction."""
        return self._encode(
            Name.PREDICTION,
            {
                "prediction_id": prediction.prediction_id,
                "key": prediction.key,
                "event_time": prediction.event_time_ms,
                "predicted_at": prediction.predicted_at_ms,
                "revision": prediction.revision,
                "label": prediction.label,
                "confidence": prediction.confidence,
                "probabilities": prediction.probabilities,
                "modalities": [modality.name for modality in prediction.modalities],
                "model": prediction.model,
                "model_version": prediction.model_version,
                "sources": _source_fields(prediction.sources),
                "latency_ms": prediction.latency_ms,
            },
        )

    def decode_prediction(self, value: bytes) -> Prediction:
        """Returns the prediction in a message. Raises Undecodable."""
        fields = self._decode(Name.PREDICTION, value)
        fields["event_time_ms"] = fields.pop("event_time")
        fields["predicted_at_ms"] = fields.pop("predicted_at")
        fields["modalities"] = tuple(Modality[name] for name in fields["modalities"])
        fields["sources"] = tuple(SourceOffset(**source) for source in fields["sources"])
        return Prediction(**fields)

    def encode_dead_letter(self, letter: DeadLetter) -> bytes:
        """Returns the message value of a dead letter."""
        return self._encode(
            Name.DEAD_LETTER,
            {
                "reason": letter.reason.value,
                "detail": letter.detail,
                "key": letter.key,
                "value": letter.value,
                "headers": letter.headers,
                "sources": _source_fields(letter.sources),
                "occurred_at": letter.occurred_at_ms,
            },
        )

    def decode_dead_letter(self, value: bytes) -> DeadLetter:
        """Returns the dead letter in a message. Raises Undecodable."""
        fields = self._decode(Name.DEAD_LETTER, value)
        fields["occurred_at_ms"] = fields.pop("occurred_at")
        fields["reason"] = Reason(fields["reason"])
        fields["sources"] = tuple(SourceOffset(**source) for source in fields["sources"])
        return DeadLetter(**fields)

    def encode_statistic(self, statistic: Statistic) -> bytes:
        """Returns the message value of a statistic."""
        return self._encode(
            Name.STATISTIC,
            {
                "window_start": statistic.window_start_ms,
                "window_end": statistic.window_end_ms,
                "model_version": statistic.model_version,
                "label": statistic.label,
                "modalities": [modality.name for modality in statistic.modalities],
                "count": statistic.count,
                "mean_confidence": statistic.mean_confidence,
                "latency_p50_ms": statistic.latency_p50_ms,
                "latency_p99_ms": statistic.latency_p99_ms,
            },
        )

    def decode_statistic(self, value: bytes) -> Statistic:
        """Returns the statistic in a message. Raises Undecodable."""
        fields = self._decode(Name.STATISTIC, value)
        fields["window_start_ms"] = fields.pop("window_start")
        fields["window_end_ms"] = fields.pop("window_end")
        fields["modalities"] = tuple(Modality[name] for name in fields["modalities"])
        return Statistic(**fields)

    def _header(self, name: Name) -> bytes:
        if self._registry is None:
            return SINGLE_OBJECT_MARKER + schemas.fingerprint(name)
        return CONFLUENT_MARKER + self._registry.schema_id(name).to_bytes(4, "big")

    def _encode(self, name: Name, fields: dict[str, Any]) -> bytes:
        body = BytesIO()
        body.write(self._headers[name])
        fastavro.schemaless_writer(body, self._readers[name], fields)
        return body.getvalue()

    def _decode(self, name: Name, value: bytes) -> dict[str, Any]:
        reader = self._readers[name]
        writer, header_bytes = self._writer_of(value)
        if writer["name"] != reader["name"]:
            raise Undecodable(
                f"It is a {writer['name']}, and a {reader['name']} belongs here: publish it to its own topic."
            )
        body = BytesIO(value)
        body.seek(header_bytes)
        try:
            fields = fastavro.schemaless_reader(body, writer, None if writer is reader else reader)
        except Exception as error:  # fastavro raises whatever the bytes lead it into
            what = str(error).replace(f" from {body}", "")  # its address differs from one replay to the next
            problem = f"{type(error).__name__}: {what}".rstrip(": ")
            raise Undecodable(f"The body does not decode as {writer['name']} ({problem}).") from error
        if body.tell() != len(value):
            raise Undecodable(f"{len(value) - body.tell()} bytes follow the {writer['name']} record.")
        assert isinstance(fields, dict)
        return fields

    def _writer_of(self, value: bytes) -> tuple[Schema, int]:
        if value[:2] == SINGLE_OBJECT_MARKER and len(value) >= SINGLE_OBJECT_HEADER_BYTES:
            fingerprint = value[2:SINGLE_OBJECT_HEADER_BYTES]
            if (writer := self._writers.get(fingerprint)) is None:
                raise Undecodable(
                    f"Its schema fingerprint {fingerprint.hex()} is not known: "
                    "publish with a schema of schemas/, or add the writer's schema to schemas/older."
                )
            return writer, SINGLE_OBJECT_HEADER_BYTES
        if value[:1] == CONFLUENT_MARKER and len(value) >= CONFLUENT_HEADER_BYTES:
            return self._registered(int.from_bytes(value[1:CONFLUENT_HEADER_BYTES], "big")), CONFLUENT_HEADER_BYTES
        raise Undecodable(
            f"It starts with {value[:4].hex() or 'nothing'}: neither Avro single-object encoding (c301…) "
            "nor the Confluent wire format (00…)."
        )

    def _registered(self, schema_id: int) -> Schema:
        if self._registry is None:
            raise Undecodable(f"It names schema id {schema_id}: set kafka.schema_registry_url to read such records.")
        if schema_id not in self._by_id:
            try:
                self._by_id[schema_id] = _parsed(self._registry.schema(schema_id))
            except UnknownSchema as error:
                raise Undecodable(f"The Schema Registry has no schema of id {schema_id}.") from error
        return self._by_id[schema_id]


def _source_fields(sources: Iterable[SourceOffset]) -> list[dict[str, Any]]:
    return [{"topic": s.topic, "partition": s.partition, "offset": s.offset} for s in sources]


def _parsed(schema: Schema) -> Schema:
    parsed = fastavro.parse_schema(schema)
    plain = _without_logical_types(parsed)
    assert isinstance(plain, dict)
    return plain


def _without_logical_types(schema: Any) -> Any:
    """Times stay the milliseconds they are on the wire; making a datetime of each would cost more than the rest."""
    if isinstance(schema, dict):
        return {k: _without_logical_types(v) for k, v in schema.items() if k != "logicalType"}
    if isinstance(schema, list):
        return [_without_logical_types(item) for item in schema]
    return schema
