"""What people ask of the indexed predictions."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from elasticsearch import ApiError, BadRequestError, Elasticsearch, TransportError

from pipeline.events.records import Prediction
from pipeline.search import documents
from pipeline.search.errors import BadQuery, reason, translated
from pipeline.search.template import MAPPINGS
from pipeline.settings import ElasticsearchSettings

EVERYTHING = "*"
MAX_SIZE = 10_000
MAX_GROUPS = 1_000
FIELDS_OF_A_BARE_WORD = ("label", "key", "prediction_id", "model")
_UNMAPPED = re.compile(r"unmapped fields? \[([^\]]+)\]")


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Event times from `since` on and before `until`; an end that is not given is open."""

    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The newest predictions that match, newest first, and how many match in all."""

    total: int
    hits: tuple[documents.Hit, ...]

    @property
    def predictions(self) -> tuple[Prediction, ...]:
        """The predictions alone."""
        return tuple(hit.prediction for hit in self.hits)


@dataclass(frozen=True, slots=True)
class Group:
    """The predictions with one value of a field; `mean_confidence` is their mean."""

    value: str
    predictions: int
    mean_confidence: float


@dataclass(frozen=True, slots=True)
class Groups:
    """The predictions that match, value by value, the most frequent first.

    Attributes:
        total: how many match. A prediction with several values, such as modalities, is in several groups.
        groups: at most `MAX_GROUPS`.
        others: predictions in further groups.
    """

    total: int
    groups: tuple[Group, ...]
    others: int = 0


def groupable_fields() -> tuple[str, ...]:
    """Returns the fields that predictions can be grouped by: those whose values are names or whole numbers."""
    return tuple(_groupable(MAPPINGS["properties"]))


def of_key(key: str) -> str:
    """Returns the query string that finds the predictions of exactly this key, whatever characters it has."""
    escaped = key.replace("\\", r"\\").replace('"', r"\"")
    return f'key:"{escaped}"'


class PredictionSearch:
    """Searches under the alias. All methods raise Retriable when nobody answers and Fatal when we may not ask.

    Query strings are Elasticsearch's own, as in ``label:3 AND confidence:>0.9``; words without an operator between
    them are joined by AND, and a word without a field is looked for in `FIELDS_OF_A_BARE_WORD`.
    """

    def __init__(self, client: Elasticsearch, settings: ElasticsearchSettings) -> None:
        self._client = client
        self._alias = settings.alias
        self._url = settings.url

    def search(self, query: str = EVERYTHING, size: int = 20, times: TimeRange = TimeRange()) -> Found:
        """Returns up to `size` (at most 10,000) matching predictions, the newest event first.

        Raises:
            BadQuery: the query string does not parse, or names a field that no prediction has.
        """
        answer = self.ask(
            query=filtered(query, times),
            size=size,
            sort=[{"event_time": "desc"}, {"prediction_id": "asc"}, {"revision": "desc"}],
            track_total_hits=True,
        )
        hits = answer["hits"]
        self._explain_if_nothing(query, found=hits["total"]["value"])
        return Found(hits["total"]["value"], tuple(documents.hit(found["_source"]) for found in hits["hits"]))

    def group(self, field: str, query: str = EVERYTHING, times: TimeRange = TimeRange()) -> Groups:
        """Returns how many predictions match for each value of a field, and how sure the model was of them.

        Raises:
            BadQuery: the query string does not parse, or predictions cannot be grouped by this field.
        """
        if field not in groupable_fields():
            raise BadQuery(f"Predictions cannot be grouped by {field}: choose one of {', '.join(groupable_fields())}.")
        mean = {"mean_confidence": {"avg": {"field": "confidence"}}}
        answer = self.ask(
            query=filtered(query, times),
            size=0,
            track_total_hits=True,
            aggregations={"groups": {"terms": {"field": field, "size": MAX_GROUPS}, "aggregations": mean}},
        )
        self._explain_if_nothing(query, found=answer["hits"]["total"]["value"])
        # Without any index there are no aggregations either.
        terms = answer.get("aggregations", {}).get("groups", {"buckets": []})
        groups = tuple(
            Group(str(bucket["key"]), bucket["doc_count"], bucket["mean_confidence"]["value"])
            for bucket in terms["buckets"]
        )
        return Groups(answer["hits"]["total"]["value"], groups, terms.get("sum_other_doc_count", 0))

    def count_in(self, index: str) -> int:
        """Returns how many documents of an index searches can see; 0 if there is no such index."""
        try:
            count: int = self._client.count(index=index, ignore_unavailable=True)["count"]
        except (ApiError, TransportError) as error:
            raise translated(error, f"counting {index}", self._url) from error
        return count

    def refresh(self) -> None:
        """Makes everything that was acknowledged so far visible to searches."""
        try:
            self._client.indices.refresh(index=self._alias, ignore_unavailable=True)
        except (ApiError, TransportError) as error:
            raise translated(error, f"refreshing {self._alias}", self._url) from error

    def ask(self, **request: Any) -> Mapping[str, Any]:
        """Sends a search under the alias; returns Elasticsearch's answer."""
        try:
            answer: Mapping[str, Any] = self._client.search(index=self._alias, ignore_unavailable=True, **request).body
        except BadRequestError as error:
            raise BadQuery(f"{reason(error.body)}.") from error
        except (ApiError, TransportError) as error:
            raise translated(error, f"searching {self._alias}", self._url) from error
        return answer

    def _explain_if_nothing(self, query: str, *, found: int) -> None:
        if not found and (unknown := self._unknown_fields(query)):
            raise BadQuery(
                f"No prediction has a field {unknown}: the fields are {', '.join(sorted(MAPPINGS['properties']))}."
            )

    def _unknown_fields(self, query: str) -> str | None:
        """Returns the fields that explain why nothing was found."""
        try:
            answer = self._client.indices.validate_query(
                index=self._alias, ignore_unavailable=True, explain=True, query=_query_string(query)
            )
        except (ApiError, TransportError) as error:
            raise translated(error, f"explaining a query of {self._alias}", self._url) from error
        explanations = [entry.get("explanation", "") for entry in answer.get("explanations", [])]
        unmapped = [match[1] if (match := _UNMAPPED.search(text)) else None for text in explanations]
        return unmapped[0] if unmapped and all(unmapped) else None


def filtered(query: str, times: TimeRange) -> dict[str, Any]:
    """Returns the query that a query string and a range of event times stand for."""
    bounds = {"gte": times.since, "lt": times.until}
    event_time = {bound: moment.isoformat() for bound, moment in bounds.items() if moment is not None}
    filters: list[dict[str, Any]] = [_query_string(query)]
    if event_time:
        filters.append({"range": {"event_time": event_time}})
    return {"bool": {"filter": filters}}


def _query_string(query: str) -> dict[str, Any]:
    return {
        "query_string": {"query": query, "fields": list(FIELDS_OF_A_BARE_WORD), "default_operator": "AND"},
    }


def _groupable(properties: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, field in properties.items():
        if field["type"] in {"keyword", "integer"}:
            yield f"{prefix}{name}"
        yield from _groupable(field.get("properties", {}), f"{prefix}{name}.")
