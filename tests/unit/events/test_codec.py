"""The wire format: golden bytes, both framings, older writers, and what is refused."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pytest

import schemas
from pipeline.events.codec import SINGLE_OBJECT_MARKER, Codec, UnknownSchema
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

GOLDEN = Path(__file__).parent / "golden"
SPEECH = SpeechEvent(1_700_000_000_123, "microphone 1", 16_000, SpeechEncoding.FLAC, b"\x00fLaC\xff")
IMAGE = ImageEvent(1_700_000_000_124, "camera", ImageEncoding.PNG, b"\x89PNG")
SENSOR = SensorEvent(1_700_000_000_125, "pen", 100.0, ("x", "y"), bytes(range(16)))
EVENTS: list[tuple[Modality, Event]] = [
    (Modality.SPEECH, SPEECH),
    (Modality.IMAGE, IMAGE),
    (Modality.SENSOR, SENSOR),
]
PREDICTION = Prediction(
    prediction_id="aa7d95a2-11ec-58fe-863c-f8326ab682cd",
    key="digit-7",
    event_time_ms=1_700_000_000_123,
    predicted_at_ms=1_700_000_000_200,
    revision=0,
    label="7",
    confidence=0.75,
    probabilities={"7": 0.75, "1": 0.25},
    modalities=(Modality.SPEECH, Modality.SENSOR),
    model="tri-modal-digits",
    model_version="1.0.0",
    sources=(SourceOffset("speech", 0, 5), SourceOffset("sensor", 0, 9)),
    latency_ms=12.5,
)
LETTER = DeadLetter(
    reason=Reason.MISROUTED,
    detail="It is in partition 1, and its key belongs in 0.",
    key=b"digit-8",
    value=b"\x01\x02",
    sources=(SourceOffset("image", 1, 3),),
    occurred_at_ms=1_700_000_000_300,
    headers={"label": b"8"},
)

STATISTIC = Statistic(
    window_start_ms=1_700_000_000_000,
    window_end_ms=1_700_000_010_000,
    model_version="1.0.0",
    label="7",
    modalities=(Modality.SPEECH, Modality.SENSOR),
    count=3,
    mean_confidence=0.75,
    latency_p50_ms=12.5,
    latency_p99_ms=99.0,
)


def golden(name: str) -> bytes:
    return bytes.fromhex((GOLDEN / f"{name}.hex").read_text())


@pytest.mark.parametrize(("modality", "event"), EVENTS)
def test_events_on_the_wire_stay_as_they_are(modality: Modality, event: Event) -> None:
    wire = golden(modality.name.lower())
    assert Codec().encode_event(event) == wire
    assert Codec().decode_event(modality, wire) == event


def test_predictions_on_the_wire_stay_as_they_are() -> None:
    assert Codec().encode_prediction(PREDICTION) == golden("prediction")
    assert Codec().decode_prediction(golden("prediction")) == PREDICTION


def test_dead_letters_on_the_wire_stay_as_they_are() -> None:
    assert Codec().encode_dead_letter(LETTER) == golden("dead_letter")
    assert Codec().decode_dead_letter(golden("dead_letter")) == LETTER


def test_statistics_on_the_wire_stay_as_they_are() -> None:
    assert Codec().encode_statistic(STATISTIC) == golden("statistic")
    assert Codec().decode_statistic(golden("statistic")) == STATISTIC


def test_the_framing_is_avros_single_object_encoding() -> None:
    """By fastavro's own reader of bare bodies, and the specification's own fingerprint of "int"."""
    wire = golden("speech")
    assert wire[:2] == b"\xc3\x01"
    assert wire[2:10] == schemas.fingerprint(Name.SPEECH)
    body = fastavro.schemaless_reader(BytesIO(wire[10:]), schemas.load(Name.SPEECH), None)
    assert isinstance(body, dict)
    assert body["sample_rate"] == 16_000
    assert fastavro.schema.fingerprint('"int"', "CRC-64-AVRO") == "8f5c393f1ad57572"


def test_every_field_is_documented() -> None:
    def undocumented(schema: Any, path: str) -> list[str]:
        if isinstance(schema, list):
            return [name for branch in schema for name in undocumented(branch, path)]
        if not isinstance(schema, dict):
            return []
        if schema.get("type") == "record":
            here = [] if schema.get("doc") else [path]
            for field in schema["fields"]:
                name = f"{path}.{field['name']}"
                here += [] if field.get("doc") else [name]
                here += undocumented(field["type"], name)
            return here
        if schema.get("type") == "enum":
            return [] if schema.get("doc") else [path]
        return undocumented(schema.get("type"), path) + undocumented(schema.get("items"), path)

    for name in Name:
        schema = json.loads(schemas.text(name))
        assert schema["namespace"] == "trimodal"
        assert undocumented(schema, name) == []


class Registry:
    """Knows today's speech schema as 7, and an older one as 3."""

    def __init__(self, older: Schema | None = None) -> None:
        self._known: dict[int, Schema | None] = {7: json.loads(schemas.text(Name.SPEECH)), 3: older}

    def schema_id(self, name: Name) -> int:
        return 7 if name is Name.SPEECH else 8

    def schema(self, schema_id: int) -> Schema:
        if (schema := self._known.get(schema_id)) is None:
            raise UnknownSchema(schema_id)
        return schema


def older_speech() -> Schema:
    """An earlier version: no source, the rate a short-lived `rate` alias away, and a field that is gone today."""
    schema: Schema = json.loads(schemas.text(Name.SPEECH))
    schema["fields"] = [field for field in schema["fields"] if field["name"] != "source"]
    schema["fields"].append({"name": "room", "type": "string"})
    return schema


def written_by(schema: Schema) -> bytes:
    body = BytesIO()
    fields = {
        "event_time": SPEECH.event_time_ms,
        "sample_rate": 8_000,
        "encoding": "WAV",
        "audio": b"RIFF",
        "room": "kitchen",
    }
    fastavro.schemaless_writer(body, schema, fields)
    return body.getvalue()


RESOLVED = SpeechEvent(SPEECH.event_time_ms, "", 8_000, SpeechEncoding.WAV, b"RIFF")


def test_an_older_writer_is_resolved_by_its_fingerprint() -> None:
    older = older_speech()
    wire = b"\xc3\x01" + schemas.fingerprint_of(older) + written_by(older)
    assert Codec(older=[older]).decode_event(Modality.SPEECH, wire) == RESOLVED
    with pytest.raises(Undecodable, match=r"fingerprint .* is not known.*schemas/older"):
        Codec().decode_event(Modality.SPEECH, wire)


def test_an_older_writer_is_resolved_by_its_registered_id() -> None:
    older = older_speech()
    wire = b"\x00" + (3).to_bytes(4, "big") + written_by(older)
    assert Codec(Registry(older)).decode_event(Modality.SPEECH, wire) == RESOLVED


def test_with_a_registry_the_confluent_format_is_written_and_both_are_read() -> None:
    codec = Codec(Registry())
    wire = codec.encode_event(SPEECH)
    assert wire == b"\x00\x00\x00\x00\x07" + golden("speech")[10:]
    assert codec.decode_event(Modality.SPEECH, wire) == SPEECH
    assert codec.decode_event(Modality.SPEECH, golden("speech")) == SPEECH


REFUSED = [
    ("nothing", b"", "starts with nothing"),
    ("text", b"hello", "starts with 68656c6c"),
    ("a cut header", b"\xc3\x01\x00", "starts with c30100"),
    ("an unknown fingerprint", b"\xc3\x01" + b"\x11" * 8 + b"body", "fingerprint 1111111111111111 is not known"),
    ("a cut body", golden("speech")[:-1], "does not decode as trimodal.Speech"),
    ("bytes after the body", golden("speech") + b"\x00", "1 bytes follow the trimodal.Speech"),
    ("another record", golden("image"), "It is a trimodal.Image, and a trimodal.Speech belongs here"),
    ("a schema id without a registry", b"\x00\x00\x00\x00\x07abc", "schema id 7: set kafka.schema_registry_url"),
]


@pytest.mark.parametrize(("wire", "sentence"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_does_not_decode_says_why(wire: bytes, sentence: str) -> None:
    with pytest.raises(Undecodable, match=sentence):
        Codec().decode_event(Modality.SPEECH, wire)


def test_what_ends_too_early_says_the_same_each_time() -> None:
    """A replay writes the same dead letter again, so no address of an object may be in it."""
    wire = SINGLE_OBJECT_MARKER + schemas.fingerprint(Name.SENSOR) + b"\x00\x00\x01"
    with pytest.raises(Undecodable, match=r"as trimodal\.Sensor \(EOFError: cannot read float\)\.$"):
        Codec().decode_event(Modality.SENSOR, wire)


def test_an_id_that_the_registry_does_not_know() -> None:
    with pytest.raises(Undecodable, match="no schema of id 9"):
        Codec(Registry()).decode_event(Modality.SPEECH, b"\x00\x00\x00\x00\x09abc")
