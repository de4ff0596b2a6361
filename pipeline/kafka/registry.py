"""The codec, with a Schema Registry where one is set."""

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import schemas
from pipeline.events.codec import Codec, UnknownSchema
from pipeline.events.records import Modality
from pipeline.kafka.errors import Fatal, KafkaFailure, Retriable
from pipeline.settings import KafkaSettings, TopicSettings
from schemas import Name, Schema

_SERVER_ERRORS = 500
_NEXT_STEPS = {
    401: "check the user and password in kafka.schema_registry_url",
    403: "give this user the right to read and register schemas",
    404: "check the path in kafka.schema_registry_url",
    409: "the subject holds an incompatible schema; remove it or use another topics.prefix",
}
_UNKNOWN_SUBJECT, _UNKNOWN_VERSION, _UNKNOWN_SCHEMA = 40401, 40402, 40403
_MISSING = {_UNKNOWN_SUBJECT, _UNKNOWN_VERSION, _UNKNOWN_SCHEMA}
_RETRIES = 2
_TIMEOUT_S = 5


def codec(kafka: KafkaSettings, topics: TopicSettings) -> Codec:
    """Returns the codec for these settings: single-object encoding, or the registry's framing if there is one.

    Raises:
        KafkaFailure: the registry does not answer, or refuses our schemas.
    """
    if kafka.schema_registry_url is None:
        return Codec()
    return Codec(ConfluentRegistry(kafka.schema_registry_url, subjects(topics)))


def subjects(topics: TopicSettings) -> dict[Name, str]:
    """Returns the subject of each record type, by the registry's default strategy: `<topic>-value`."""
    named = {
        Name.SPEECH: topics.source(Modality.SPEECH),
        Name.IMAGE: topics.source(Modality.IMAGE),
        Name.SENSOR: topics.source(Modality.SENSOR),
        Name.PREDICTION: topics.predictions,
        Name.DEAD_LETTER: topics.dead_letters,
        Name.STATISTIC: topics.statistics,
    }
    return {name: f"{topic}-value" for name, topic in named.items()}


class ConfluentRegistry:
    """A Schema Registry over HTTP, as the codec wants it. Schemas are registered when they are first used.

    Args:
        url: http(s)://[user:password@]host:port.
        subjects: subject of each record type.
    """

    def __init__(self, url: str, subjects: Mapping[Name, str]) -> None:
        self._url = url
        self._subjects = subjects

    def schema_id(self, name: Name) -> int:
        """Registers today's schema if need be and returns its id. Raises KafkaFailure."""
        subject = self._subjects[name]
        schema = self._module.Schema(schemas.text(name), "AVRO")
        try:
            schema_id = self._client.register_schema(subject, schema)
        except Exception as error:  # the client lets its HTTP library's errors through
            raise self._translated(error, f"registering {subject}") from error
        assert isinstance(schema_id, int)
        return schema_id

    def schema(self, schema_id: int) -> Schema:
        """Returns a writer schema. Raises UnknownSchema or KafkaFailure."""
        try:
            found = self._client.get_schema(schema_id)
        except Exception as error:  # as above
            if getattr(error, "error_code", None) in _MISSING:
                raise UnknownSchema(schema_id) from error
            raise self._translated(error, f"asking for schema id {schema_id}") from error
        if found.schema_type not in {None, "AVRO"}:
            raise UnknownSchema(f"{schema_id} is {found.schema_type}, not Avro")
        schema = json.loads(found.schema_str)
        if not isinstance(schema, dict) or schema.get("type") != "record":
            raise UnknownSchema(f"{schema_id} is not a record")
        return schema

    @cached_property
    def _module(self) -> Any:
        """The client's registry package; untyped, and there only with the extra that brings its HTTP library."""
        try:
            from confluent_kafka import schema_registry  # noqa: PLC0415  # an optional dependency
        except ImportError as error:
            raise Fatal(
                f"kafka.schema_registry_url is set, and {error.name} is not installed: "
                "pip install 'confluent-kafka[schemaregistry]'."
            ) from error
        return schema_registry

    @cached_property
    def _client(self) -> Any:
        try:
            return self._module.SchemaRegistryClient({"url": self._url, "max.retries": _RETRIES, "timeout": _TIMEOUT_S})
        except ValueError as error:
            raise Fatal(f"kafka.schema_registry_url cannot be used ({error}): give http://host:port.") from error

    def _translated(self, error: Exception, doing: str) -> KafkaFailure:
        if isinstance(error, KafkaFailure):
            return error
        status = getattr(error, "http_status_code", None)
        where = f"While {doing} at the Schema Registry {self._host}: {type(error).__name__}: {error}"
        if status is None:
            return Retriable(f"{where}: check kafka.schema_registry_url and that it is up.")
        if status >= _SERVER_ERRORS:
            return Retriable(f"{where}: look at the registry's log.")
        return Fatal(f"{where}: {_NEXT_STEPS.get(status, 'look at the registry and its log')}.")

    @property
    def _host(self) -> str:
        """The URL without its user and password."""
        return self._url.rsplit("@", 1)[-1]
