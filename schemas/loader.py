"""Loads the Avro schemas that stand beside this file."""

import json
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import fastavro

FOLDER = Path(__file__).parent

# fastavro also takes a string or a list; every schema here is a record, so a dict.
Schema = dict[str, Any]


class Name(StrEnum):
    """The record types of the contract; the value is the file's stem."""

    SPEECH = "speech"
    IMAGE = "image"
    SENSOR = "sensor"
    PREDICTION = "prediction"
    DEAD_LETTER = "dead_letter"
    STATISTIC = "statistic"


def text(name: Name) -> str:
    """Returns the schema as it stands in its file, docs included."""
    return (FOLDER / f"{name}.avsc").read_text(encoding="utf-8")


@cache
def load(name: Name) -> Schema:
    """Returns the parsed schema, ready for fastavro's readers and writers."""
    parsed = fastavro.parse_schema(json.loads(text(name)))
    assert isinstance(parsed, dict)
    return parsed


def older() -> tuple[Schema, ...]:
    """Returns the schemas of earlier versions, as they were published."""
    files = sorted((FOLDER / "older").glob("*.avsc"))
    return tuple(json.loads(file.read_text(encoding="utf-8")) for file in files)


@cache
def fingerprint(name: Name) -> bytes:
    """Returns the fingerprint of today's schema; see `fingerprint_of`."""
    return fingerprint_of(json.loads(text(name)))


def fingerprint_of(schema: Schema) -> bytes:
    """Returns the 8 bytes of the CRC-64-AVRO fingerprint, little-endian as single-object encoding has them.

    Source: Avro 1.12 specification, "Schema Fingerprints" and "Single-object encoding".
    """
    canonical = fastavro.schema.to_parsing_canonical_form(schema)
    return bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))
