"""The codec with a Schema Registry: real client, a registry in this process."""

import sys
from collections.abc import Iterator

import pytest

import schemas
from pipeline.events.codec import Codec, UnknownSchema
from pipeline.events.errors import Undecodable
from pipeline.events.records import ImageEncoding, ImageEvent, Modality
from pipeline.kafka.errors import Fatal, Retriable
from pipeline.kafka.registry import ConfluentRegistry, codec, subjects
from pipeline.settings import KafkaSettings, TopicSettings
from schemas import Name
from tests.unit.kafka.registry_server import Registry, running

TOPICS = TopicSettings(prefix="t-")
EVENT = ImageEvent(1_000, "camera", ImageEncoding.PNG, b"bytes")


@pytest.fixture
def registry() -> Iterator[Registry]:
    pytest.importorskip("authlib", reason="needs confluent-kafka[schemaregistry]")
    pytest.importorskip("cachetools", reason="needs confluent-kafka[schemaregistry]")
    with running() as server:
        yield server


def adapter(registry: Registry) -> ConfluentRegistry:
    return ConfluentRegistry(registry.url, subjects(TOPICS))


def registered_codec(registry: Registry) -> Codec:
    return codec(KafkaSettings(schema_registry_url=registry.url), TOPICS)


def test_without_a_url_no_registry_is_asked() -> None:
    assert codec(KafkaSettings(), TOPICS).encode_event(EVENT).startswith(b"\xc3\x01")


def test_events_travel_in_the_confluent_wire_format(registry: Registry) -> None:
    ours = registered_codec(registry)
    value = ours.encode_event(EVENT)
    assert value[0] == 0
    schema_id = int.from_bytes(value[1:5], "big")
    assert registry.subjects["t-image-value"] == [schema_id]
    assert registry.schemas[schema_id - 1] == schemas.text(Name.IMAGE)
    assert ours.decode_event(Modality.IMAGE, value) == EVENT


def test_every_record_type_has_its_topics_subject(registry: Registry) -> None:
    registered_codec(registry)
    assert set(registry.subjects) == {
        "t-speech-value", "t-image-value", "t-sensor-value",
        "t-predictions-value", "t-dead-letters-value", "t-statistics-value",
    }  # fmt: skip


def test_a_writer_of_another_process_is_read_and_asked_for_once(registry: Registry) -> None:
    value = registered_codec(registry).encode_event(EVENT)
    reader = registered_codec(registry)
    before = registry.requests
    for _ in range(3):
        assert reader.decode_event(Modality.IMAGE, value) == EVENT
    assert registry.requests - before <= 1


@pytest.mark.parametrize("schema", ['"string"', '["null", "int"]', '{"type": "array", "items": "int"}'])
def test_a_schema_that_is_no_record_is_unknown(registry: Registry, schema: str) -> None:
    schema_id = registry.register("other-value", schema)
    with pytest.raises(UnknownSchema):
        adapter(registry).schema(schema_id)


def test_an_unknown_id_makes_a_dead_letter_not_an_end(registry: Registry) -> None:
    with pytest.raises(Undecodable, match="no schema of id 77"):
        registered_codec(registry).decode_event(Modality.IMAGE, b"\x00\x00\x00\x00\x4d" + b"body")


@pytest.mark.parametrize(
    ("refusal", "raised", "step"),
    [
        ((409, 409, "incompatible"), Fatal, "incompatible schema; remove it or use another topics.prefix"),
        ((401, 401, "who are you"), Fatal, "user and password in kafka.schema_registry_url"),
        ((404, 404, "no such path"), Fatal, "path in kafka.schema_registry_url"),
        ((422, 42201, "invalid"), Fatal, "look at the registry"),
        ((501, 50001, "store"), Retriable, "registry's log"),
    ],
)
def test_a_refusal_says_what_to_do(
    registry: Registry, refusal: tuple[int, int, str], raised: type[Exception], step: str
) -> None:
    registry.refusal = refusal
    with pytest.raises(raised, match=step):
        adapter(registry).schema_id(Name.SPEECH)


def test_an_unreachable_registry_can_be_tried_again() -> None:
    pytest.importorskip("authlib", reason="needs confluent-kafka[schemaregistry]")
    nobody = ConfluentRegistry("http://user:secret@127.0.0.1:1", subjects(TOPICS))
    with pytest.raises(Retriable, match=r"127\.0\.0\.1:1.*check kafka\.schema_registry_url") as caught:
        nobody.schema_id(Name.SPEECH)
    assert "secret" not in str(caught.value)


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka.schema_registry", None)
    monkeypatch.delattr("confluent_kafka.schema_registry", raising=False)
    with pytest.raises(Fatal, match=r"pip install 'confluent-kafka\[schemaregistry\]'"):
        codec(KafkaSettings(schema_registry_url="http://127.0.0.1:1"), TOPICS)
