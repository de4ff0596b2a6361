"""What the indices of predictions look like, and how a server is told so."""

from collections.abc import Mapping
from typing import Any

from elasticsearch import ApiError, Elasticsearch, NotFoundError, TransportError

from pipeline.search.errors import Fatal, translated
from pipeline.settings import ElasticsearchSettings
from pipeline.telemetry.logs import logger

SETUP_TIMEOUT_S = 10.0
BASE_PRIORITY = 200
_WITHOUT_ILM = {400, 405, 410}
_log = logger(__name__)

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


def index_template(alias: str, policy: str | None) -> dict[str, Any]:
    """Returns the body of the index template.

    Args:
        alias: alias over the dated indices, and the first part of their names.
        policy: name of the ILM policy; without it the indices are kept for ever.
    """
    lifecycle = {"lifecycle.name": policy} if policy else {}
    return {
        "index_patterns": [pattern(alias)],
        # The longer of two aliases has the narrower pattern: `predictions-eu` wins over `predictions`.
        "priority": BASE_PRIORITY + len(alias),
        "template": {"settings": {**INDEX_SETTINGS, **lifecycle}, "mappings": MAPPINGS, "aliases": {alias: {}}},
        "meta": {"description": "Predictions of trimodal, by the day of the event (UTC)."},
    }


def lifecycle_policy(retention_days: int) -> dict[str, Any]:
    """Returns the ILM policy: an index is deleted at this age, counted from its creation."""
    return {"phases": {"delete": {"min_age": f"{retention_days}d", "actions": {"delete": {}}}}}


def install(client: Elasticsearch, settings: ElasticsearchSettings) -> None:
    """Makes the server ready for predictions: policy (where it has ILM), template, new fields of old indices.

    Doing it again changes nothing.

    Raises:
        Retriable: the server does not answer.
        Fatal: it refuses; the message says what and why.
    """
    client = client.options(request_timeout=min(SETUP_TIMEOUT_S, settings.request_timeout_ms / 1_000))
    alias = settings.alias
    try:
        _refuse_an_index_of_that_name(client, alias)
        policy = _install_policy(client, f"trimodal-{alias}", lifecycle_policy(settings.retention_days))
        client.indices.put_index_template(name=alias, **index_template(alias, policy))
        client.indices.put_mapping(index=pattern(alias), allow_no_indices=True, **_additions(MAPPINGS))
    except (ApiError, TransportError) as error:
        raise translated(error, f"preparing the indices {pattern(alias)}", settings.url) from error
    _log.info("index template installed", alias=alias, policy=policy or "none: this server has no ILM")


def _refuse_an_index_of_that_name(client: Elasticsearch, alias: str) -> None:
    try:
        indices = client.indices.get_alias(index=alias)
    except NotFoundError:
        return
    if alias in indices:
        raise Fatal(
            f"Elasticsearch has an index called {alias}, and an alias of that name belongs there: "
            "delete or rename the index, or choose another elasticsearch.alias."
        )


def _install_policy(client: Elasticsearch, name: str, policy: Mapping[str, Any]) -> str | None:
    """Puts the policy and returns its name, or None on a server without ILM (serverless, our local stack)."""
    try:
        client.ilm.get_lifecycle(name=name)
    except NotFoundError:
        pass
    except ApiError as error:
        if error.status_code in _WITHOUT_ILM:
            return None
        raise
    client.ilm.put_lifecycle(name=name, policy=policy)
    return name


def _additions(mappings: Mapping[str, Any]) -> dict[str, Any]:
    return {"properties": mappings["properties"], "dynamic_templates": mappings["dynamic_templates"]}
