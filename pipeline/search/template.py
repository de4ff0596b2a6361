"""What the indices of predictions look like. Pure; `installation` tells the server.

One index a day of the event (UTC): `predictions-2026.01.31`. Nothing is rolled over, so that a replayed or amended
prediction computes the index it was written to. ILM deletes an index by the day in its name.
"""

import re
from datetime import date
from typing import Any

VERSION = 3
"""Raised with every change of what a new index looks like; the server keeps it with the template."""
BASE_PRIORITY = 200

KEYWORD = {"type": "keyword"}
MAPPINGS: dict[str, Any] = {
    "dynamic": "strict",
    "dynamic_templates": [{"probability_of_a_label": {"path_match": "probabilities.*", "mapping": {"type": "float"}}}],
    "properties": {
        "prediction_id": KEYWORD,
        "key": KEYWORD,
        "event_time": {"type": "date"},
        "predicted_at": {"type": "date"},
        "revision": {"type": "integer"},
        "label": KEYWORD,
        "confidence": {"type": "float"},
        # A float for each label, so that `probabilities.7:>0.2` compares numbers; `flattened` compares texts, and
        # 1e-05 comes after 0.9. Labels are the model's business: a new one is no error, and its dots are just dots.
        "probabilities": {"type": "object", "dynamic": True, "subobjects": False},
        "modalities": {"type": "keyword", "normalizer": "lowercase"},
        "model": KEYWORD,
        "model_version": KEYWORD,
        # Plain, not nested: nested would hide it from query strings and store three more documents a prediction.
        # Its price: `sources.topic:image AND sources.offset:7` also finds offset 7 of the same lane's other topics.
        "sources": {
            "type": "object",
            "dynamic": "strict",
            "properties": {"topic": KEYWORD, "partition": {"type": "integer"}, "offset": {"type": "long"}},
        },
        "latency_ms": {"type": "float"},
        "trace_id": KEYWORD,
    },
}
INDEX_SETTINGS: dict[str, Any] = {
    "number_of_shards": 1,
    "auto_expand_replicas": "0-1",
    # More labels than an index may have fields (1,000): the rest are kept but cannot be searched. Since server 8.13.
    "mapping.total_fields.ignore_dynamic_beyond_limit": True,
}


def pattern(alias: str) -> str:
    """Returns the pattern of the dated indices' names."""
    return f"{alias}-*.*.*"


def index_of(alias: str, day: date) -> str:
    """Returns the name of a day's index."""
    return f"{alias}-{day.isoformat().replace('-', '.')}"


def is_dated(index: str, alias: str) -> bool:
    """Returns whether an index belongs to this alias; the pattern also finds those of `predictions-eu`."""
    return re.fullmatch(re.escape(alias) + r"-\d{4}\.\d{2}\.\d{2}", index) is not None


def policy_name(alias: str) -> str:
    """Returns the name of the alias's ILM policy."""
    return f"trimodal-{alias}"


def lifecycle_settings(alias: str) -> dict[str, Any]:
    """Returns the index settings that put an index under the policy, its age counted from the day in its name."""
    return {"lifecycle.name": policy_name(alias), "lifecycle.parse_origination_date": True}


def index_template(alias: str, *, has_ilm: bool) -> dict[str, Any]:
    """Returns the body of the index template.

    Args:
        alias: alias over the dated indices, and the first part of their names.
        has_ilm: whether the server has ILM; without it the indices are kept for ever.
    """
    settings = {**INDEX_SETTINGS, **(lifecycle_settings(alias) if has_ilm else {})}
    return {
        "index_patterns": [pattern(alias)],
        # The longer of two aliases has the narrower pattern: `predictions-eu` wins over `predictions`.
        "priority": BASE_PRIORITY + len(alias),
        "version": VERSION,
        "template": {"settings": settings, "mappings": MAPPINGS, "aliases": {alias: {}}},
        "_meta": {"description": "Predictions of trimodal, by the day of the event (UTC)."},
    }


def lifecycle_policy(retention_days: int) -> dict[str, Any]:
    """Returns the ILM policy: hot from the beginning, deleted so many days after the day in the index's name."""
    return {
        "phases": {
            "hot": {"min_age": "0ms", "actions": {"set_priority": {"priority": 100}}},
            "delete": {"min_age": f"{retention_days}d", "actions": {"delete": {}}},
        }
    }
