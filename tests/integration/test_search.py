import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipeline.events.records import Prediction
from pipeline.search.bulk import Bulk, Indexed, Outcome, Rejected
from pipeline.search.client import connect
from pipeline.search.documents import Document, document
from pipeline.search.errors import BadQuery, Retriable
from pipeline.search.following import SETTLE_S, Follower
from pipeline.search.installation import Policy, examine, install
from pipeline.search.queries import Groups, PredictionSearch, TimeRange
from pipeline.search.template import MAPPINGS
from pipeline.settings import ElasticsearchSettings
from pipeline.stack import StackAddresses
from tests.support.indexing import Workplace, ids
from tests.support.predictions import NOON_MS, a_prediction
from tests.support.two_days import DAY_MS, PREDICTIONS, two_days

pytestmark = pytest.mark.stack
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
QUERIES: list[tuple[str, list[int]]] = [
    ("*", [3, 2, 1, 0]),
    ("label:3", [1, 0]),
    ("label:3 AND confidence:>0.9", [0]),
    ("3", [1, 0]),
    ("key:digit-2", [2]),
    ("digit-2", [2]),
    ("label:3 confidence:<0.9", [1]),
    ("modalities:image", [0]),
    ("modalities:IMAGE", [0]),
    ('label:"hot dog"', [3]),
    ("probabilities.7:>0.9", [2, 1, 0]),
    ("probabilities.a.b:<0.001", [3]),
    ("probabilities.a.b:>0.001", []),
    ("sources.topic:speech AND sources.offset:17", [3, 2, 1, 0]),
    ("event_time:[2026-01-02 TO *]", [3]),
    ("predicted_at:>now", []),
    ("NOT label:3", [3, 2]),
]
WRONG: list[tuple[str, str]] = [
    ("label:(3 OR 4", r"Failed to parse query \[label:\(3 OR 4\]: Cannot parse .*line 1, column 13\.$"),
    ("confidence:abc", 'For input string: "abc"'),
    ("labl:3", "No prediction has a field labl: the fields are confidence, event_time, key"),
]


@pytest.fixture(scope="module")
def place(stack: StackAddresses) -> Workplace:
    return two_days(stack)


def _write(place: Workplace, *documents: Document) -> tuple[Outcome, ...]:
    return Bulk(place.client, place.settings.elasticsearch.url).write(documents)


def test_indices_are_dated_and_all_are_behind_the_alias(place: Workplace) -> None:
    alias = place.settings.elasticsearch.alias
    assert sorted(place.client.indices.get_alias(name=alias)) == [f"{alias}-2026.01.01", f"{alias}-2026.01.02"]
    assert place.client.count(index=f"{alias}-2026.01.02")["count"] == 1


def test_a_document_that_is_there_stays_as_it_is(place: Workplace) -> None:
    alias = place.settings.elasticsearch.alias
    changed = document(replace(PREDICTIONS[0], label="9"), alias)
    assert _write(place, changed) == (Indexed(new=False),)
    place.search.refresh()
    assert place.search.search("key:digit-0").predictions[0].label == "3"


BAD_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"bogus": 1}, r"dynamic introduction of \[bogus\]"),
    ({"sources": [{"topic": "speech", "shard": 1}]}, r"dynamic introduction of \[shard\]"),
    ({"confidence": "high"}, r"failed to parse field \[confidence\]"),
    ({"label": "x" * 40_000}, r"failed to parse field \[label\]"),
    ({"probabilities": {"3": "many"}}, r"failed to parse field \[probabilities.3\]"),
]


@pytest.mark.parametrize(("fields", "told"), BAD_FIELDS, ids=[next(iter(fields)) for fields, _ in BAD_FIELDS])
def test_what_does_not_fit_the_mapping_is_rejected_and_its_neighbour_is_not(
    place: Workplace, fields: dict[str, Any], told: str
) -> None:
    good = document(PREDICTIONS[0], place.settings.elasticsearch.alias)
    bad = Document(good.index, "bad", {**good.body, **fields})
    outcome, neighbour = _write(place, bad, good)
    assert neighbour == Indexed(new=False)
    assert isinstance(outcome, Rejected)
    with pytest.raises(AssertionError, match=told):
        raise AssertionError(outcome.why)


def test_an_id_that_spoils_the_whole_request_is_rejected_alone(place: Workplace) -> None:
    good = document(PREDICTIONS[0], place.settings.elasticsearch.alias)
    outcomes = _write(place, good, replace(good, document_id="x" * 600), good)
    assert [type(outcome) for outcome in outcomes] == [Indexed, Rejected, Indexed]
    assert isinstance(outcomes[1], Rejected)
    assert "must be no longer than 512 bytes" in outcomes[1].why


def test_more_labels_than_fields_are_no_reason_to_reject(stack: StackAddresses) -> None:
    workplace = Workplace.made(stack)
    install(workplace.client, workplace.settings.elasticsearch)
    labels = {f"label {number}.x": 1 / 3_000 for number in range(3_000)}
    many = document(a_prediction(0, probabilities=labels), workplace.settings.elasticsearch.alias)
    assert _write(workplace, many) == (Indexed(new=True),)
    assert len(workplace.indexed()[0].probabilities) == 3_000


def test_installing_mends_what_old_indices_lack_and_then_changes_nothing(stack: StackAddresses) -> None:
    workplace = Workplace.made(stack)
    elasticsearch, client = workplace.settings.elasticsearch, workplace.client
    index, others = f"{elasticsearch.alias}-2026.01.01", f"{elasticsearch.alias}-eu-2026.01.01"
    for name in (index, others):
        client.indices.create(index=name, mappings={"dynamic": "strict", "properties": {"key": {"type": "keyword"}}})
    before = examine(client, elasticsearch)
    assert (before.policy, before.template_version) == (Policy.UNSUPPORTED, None)
    assert [state.name for state in before.indices] == [index]
    assert [sentence.split(" has no field ")[0] for sentence in before.differences()] == [
        f"There is no index template {elasticsearch.alias}, or one without a version.",
        f"The index {index} is not behind the alias.",
        f"The index {index}",
    ]
    assert len(install(client, elasticsearch)) == 2
    assert list(examine(client, elasticsearch).differences()) == []
    assert install(client, elasticsearch) == ()
    properties = client.indices.get_mapping(index=index)[index]["mappings"]["properties"]
    assert properties.keys() == MAPPINGS["properties"].keys()
    assert client.indices.get_mapping(index=others)[others]["mappings"]["properties"].keys() == {"key"}


def test_an_index_that_the_template_made_differs_in_nothing(place: Workplace) -> None:
    found = examine(place.client, place.settings.elasticsearch)
    assert list(found.differences()) == []
    assert [(state.name[-10:], state.documents) for state in found.indices] == [("2026.01.01", 3), ("2026.01.02", 1)]


@pytest.mark.parametrize(("query", "numbers"), QUERIES, ids=[query for query, _ in QUERIES])
def test_queries_find_the_newest_first(place: Workplace, query: str, numbers: list[int]) -> None:
    found = place.search.search(query)
    assert [prediction.key for prediction in found.predictions] == [f"digit-{number}" for number in numbers]
    assert found.total == len(numbers)


@pytest.mark.parametrize(("query", "told"), WRONG, ids=[query for query, _ in WRONG])
def test_a_wrong_query_is_explained(place: Workplace, query: str, told: str) -> None:
    with pytest.raises(BadQuery, match=told):
        place.search.search(query)


def test_size_and_time_range_bound_what_is_found(place: Workplace) -> None:
    times = TimeRange(NOON, NOON + timedelta(hours=2))
    assert ids(place.search.search(times=times).predictions) == ["id-0", "id-1"]
    assert ids(place.search.search(times=TimeRange(until=NOON)).predictions) == []
    newest = place.search.search(size=1)
    assert (newest.total, ids(newest.predictions)) == (4, ["id-3"])


def test_predictions_are_grouped_by_a_field_the_most_frequent_first(place: Workplace) -> None:
    by_label = place.search.group("label")
    assert (by_label.total, by_label.others) == (4, 0)
    assert (by_label.groups[0].value, by_label.groups[0].predictions) == ("3", 2)
    assert by_label.groups[0].mean_confidence == pytest.approx(0.725)
    assert _counts(place.search.group("label", "confidence:>0.9")) == {"3": 1, "4": 1, "hot dog": 1}
    tomorrow = TimeRange(since=NOON + timedelta(days=1))
    assert _counts(place.search.group("label", times=tomorrow)) == {"hot dog": 1}
    assert _counts(place.search.group("modalities")) == {"speech": 4, "sensor": 4, "image": 1}
    assert _counts(place.search.group("revision")) == {"0": 4}
    assert _counts(place.search.group("sources.topic")) == {"speech": 4, "sensor": 4}


def test_what_predictions_cannot_be_grouped_by_is_named(place: Workplace) -> None:
    with pytest.raises(BadQuery, match=r"cannot be grouped by confidence: choose one of prediction_id, key, revision"):
        place.search.group("confidence")
    with pytest.raises(BadQuery, match="No prediction has a field labl"):
        place.search.group("label", "labl:3")


def _counts(groups: Groups) -> dict[str, int]:
    return {group.value: group.predictions for group in groups.groups}


def test_before_anything_is_indexed_nothing_is_found(stack: StackAddresses) -> None:
    search = Workplace.made(stack).search
    assert search.search().total == 0
    assert search.group("label") == Groups(0, ())


COMING: list[tuple[list[Prediction], list[str], list[str]]] = [
    # what comes, told of all, told of label:7
    ([a_prediction(0), a_prediction(1)], ["id-0", "id-1"], ["id-0", "id-1"]),
    (
        [a_prediction(0, revision=1, label="8"), a_prediction(2, event_time_ms=NOON_MS + DAY_MS)],
        ["id-0", "id-2"],
        ["id-2"],
    ),
    ([a_prediction(1)], [], []),
]


def _ids(follower: Follower) -> list[str]:
    return ids([hit.prediction for hit in follower.new()])


def test_a_follower_tells_each_new_document_once(stack: StackAddresses) -> None:
    workplace = Workplace.made(stack)
    alias = workplace.settings.elasticsearch.alias
    install(workplace.client, workplace.settings.elasticsearch)
    clock = itertools.count(0, SETTLE_S / 2).__next__
    from_nothing = Follower(workplace.search, "*", TimeRange(), clock=clock)
    assert from_nothing.new() == []
    for coming, told, told_of_label_7 in COMING:
        from_now = Follower(workplace.search, "label:7", TimeRange(), clock=clock)
        _write(workplace, *(document(prediction, alias) for prediction in coming))
        workplace.search.refresh()
        for _ in range(2):
            assert (_ids(from_nothing), _ids(from_now)) == (told, told_of_label_7)
            told, told_of_label_7 = [], []  # noqa: PLW2901  # the second time there is nothing new
    everything = Follower(workplace.search, "*", TimeRange(since=NOON), from_beginning=True)
    assert [(hit.prediction.prediction_id, hit.prediction.revision) for hit in everything.new()] == [
        ("id-0", 1),
        ("id-1", 0),
        ("id-2", 0),
    ]


def test_an_address_where_nobody_answers_is_named() -> None:
    settings = ElasticsearchSettings(url="http://127.0.0.1:1")
    with pytest.raises(Retriable, match=r"http://127\.0\.0\.1:1: no answer .*check elasticsearch\.url"):
        PredictionSearch(connect(settings), settings).search()
