"""What became of a key, as lines in order of time and as an object for programs. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.cli.printing import text_of, time_text
from pipeline.events.records import Headers, Modality, Prediction, SourceOffset
from pipeline.join.fate import DeadLettered, Fate, Predicted, Unproven, Unread, Waiting
from pipeline.kafka.history import FoundLetter, FoundPrediction, History, SourceRecord
from pipeline.kafka.retries import FIRST_ATTEMPT, RETRY_COUNT, RETRY_OF
from pipeline.search.documents import document


@dataclass(frozen=True, slots=True)
class Index:
    """What Elasticsearch has for the key; `problem` says why it could not be asked."""

    documents: tuple[Prediction, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened: when, where it stands, what it is, and what came of it."""

    at_ms: int
    place: str
    what: str
    more: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Names:
    """What the lines mention of the settings."""

    group: str
    alias: str
    window_ms: int


def entries(history: History, index: Index, names: Names) -> list[Entry]:
    """Returns what happened, by the broker's times; documents without a prediction by when it was predicted."""
    retried = _retried(history.records)
    told = [
        *(_record(record, history.fates[record.place], names) for record in history.records),
        *(_prediction(found, history.letters, index, names.alias) for found in history.predictions),
        *(_letter(found, retried) for found in history.letters),
    ]
    known = {found.prediction.prediction_id for found in history.predictions}
    for prediction in index.documents:
        if prediction.prediction_id not in known:
            written = document(prediction, names.alias)
            what = f"{_said(prediction)}; its prediction is not among the records read"
            told.append(Entry(prediction.predicted_at_ms, str(written), what))
    return sorted(told, key=lambda entry: entry.at_ms)


def as_object(history: History, index: Index, alias: str) -> dict[str, Any]:
    """Returns the whole story for `json.dumps`."""
    return {
        "key": history.key.decode("utf-8", "backslashreplace"),
        "partition": history.partition,
        "partitions": history.partitions,
        "records": [
            {
                **_source(record.place),
                "modality": record.modality.name,
                "taken_at": time_text(record.taken_ms),
                "event_time": None if record.event_time_ms is None else time_text(record.event_time_ms),
                "problem": record.problem or None,
                "value_bytes": record.value_bytes,
                "headers": dict(_texts(record.headers)),
                "outcomes": [_outcome(fate) for fate in history.fates[record.place]],
            }
            for record in history.records
        ],
        "predictions": [
            {
                "at": str(found.place),
                "taken_at": time_text(found.taken_ms),
                **document(found.prediction, alias).body,
                "indexed": None if index.problem else _is_indexed(found.prediction, index),
            }
            for found in history.predictions
        ],
        "dead_letters": [
            {
                "at": str(found.place),
                "taken_at": time_text(found.taken_ms),
                "reason": found.letter.reason.value,
                "detail": found.letter.detail,
                "sources": [_source(source) for source in found.letter.sources],
            }
            for found in history.letters
        ],
        "documents": [
            {"index": written.index, "id": written.document_id, **written.body}
            for written in (document(prediction, alias) for prediction in index.documents)
        ],
        "elasticsearch_problem": index.problem or None,
        "gone": [_source(source) for source in history.gone],
        "problems": list(history.problems),
    }


def _record(record: SourceRecord, fates: Iterable[Fate], names: Names) -> Entry:
    headers = dict(_texts(record.headers))
    parts = [record.problem.rstrip(".") if record.event_time_ms is None else _event_time(record)]
    if RETRY_OF in headers:
        parts.append(f"retry {headers.pop(RETRY_COUNT, '1')} of {headers.pop(RETRY_OF)}")
        if first := headers.pop(FIRST_ATTEMPT, ""):
            parts.append(f"first tried as {first}")
    parts += [f"{name}: {value}" for name, value in headers.items()]
    more = tuple(f"→ {_became(fate, record, names)}" for fate in fates)
    return Entry(record.taken_ms, str(record.place), ", ".join(parts), more)


def _event_time(record: SourceRecord) -> str:
    assert record.event_time_ms is not None
    ahead_ms = record.event_time_ms - record.taken_ms
    distance = f"{abs(ahead_ms):,} ms {'later' if ahead_ms > 0 else 'earlier'}"
    return f"event time {clock_text(record.event_time_ms)} ({distance})"


def _became(fate: Fate, record: SourceRecord, names: Names) -> str:
    match fate:
        case Predicted(prediction_id, revisions):
            return f"prediction {prediction_id}, {_revisions(revisions)}"
        case DeadLettered(letter, reason):
            return f"dead letter {letter}, {reason.value}"
        case Waiting(()):
            return "open: all its inputs are there, or it is about to be set aside"
        case Waiting(missing):
            assert record.event_time_ms is not None
            until = clock_text(record.event_time_ms + names.window_ms)
            return f"open: waits for {_modalities(missing)} until event time has passed {until} (join.window_ms)"
        case Unread():
            return f"open: the group {names.group} has not committed that it has come to it"
        case Unproven():
            return "finished, but no output names it: deleted by retention (or before --since), else lost; see `audit`"


def _prediction(found: FoundPrediction, letters: Iterable[FoundLetter], index: Index, alias: str) -> Entry:
    prediction = found.prediction
    name = f"prediction {prediction.prediction_id}, revision {prediction.revision}"
    refused = [str(letter.place) for letter in letters if found.place in letter.letter.sources]
    if refused:
        state = f"refused by the indexer: {' '.join(refused)}"
    elif index.problem:
        state = "nobody knows whether it is indexed"
    elif _is_indexed(prediction, index):
        state = f"indexed as {document(prediction, alias)}"
    elif newer := [d.revision for d in index.documents if d.prediction_id == prediction.prediction_id]:
        state = f"the index has revision {max(newer)} of it"
    else:
        state = "not indexed yet"
    return Entry(found.taken_ms, str(found.place), _said(prediction), (name, f"→ {state}"))


def _letter(found: FoundLetter, retried: Mapping[str, list[str]]) -> Entry:
    letter = found.letter
    more = [f"of {' '.join(map(str, letter.sources))}"]
    if again := retried.get(str(found.place)):
        more.append(f"→ retried as {' '.join(again)}")
    return Entry(found.taken_ms, str(found.place), f"{letter.reason.value}: {letter.detail}", tuple(more))


def _retried(records: Iterable[SourceRecord]) -> dict[str, list[str]]:
    """Returns the places of retries, by the place of the dead letter that each was made from."""
    retried: dict[str, list[str]] = {}
    for record in records:
        for name, value in _texts(record.headers):
            if name == RETRY_OF:
                retried.setdefault(value, []).append(str(record.place))
    return retried


def _is_indexed(prediction: Prediction, index: Index) -> bool:
    wanted = (prediction.prediction_id, prediction.revision)
    return any((found.prediction_id, found.revision) == wanted for found in index.documents)


def _outcome(fate: Fate) -> dict[str, Any]:
    match fate:
        case Predicted(prediction_id, revisions):
            return {"outcome": "predicted", "prediction_id": prediction_id, "revisions": list(revisions)}
        case DeadLettered(letter, reason):
            return {"outcome": "dead-lettered", "at": str(letter), "reason": reason.value}
        case Waiting(missing):
            return {"outcome": "open", "waits_for": [modality.name for modality in missing]}
        case Unread():
            return {"outcome": "open", "waits_for": None}
        case Unproven():
            return {"outcome": "unproven"}


def _said(prediction: Prediction) -> str:
    return (
        f"{prediction.label} ({prediction.confidence:.1%}) from {_modalities(prediction.modalities)}, "
        f"{prediction.latency_ms:,.0f} ms after the newest of them, by {prediction.model} {prediction.model_version}"
    )


def _modalities(modalities: Iterable[Modality]) -> str:
    return ", ".join(modality.name.lower() for modality in modalities)


def _revisions(numbers: tuple[int, ...]) -> str:
    return f"revision{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def _texts(headers: Headers) -> Iterator[tuple[str, str]]:
    for name, value in headers:
        yield name, repr(value) if (text := text_of(value)) is None else text


def _source(source: SourceOffset) -> dict[str, Any]:
    return {"topic": source.topic, "partition": source.partition, "offset": source.offset}


def clock_text(milliseconds: int) -> str:
    """Returns a moment as people read it, in UTC; the bare number for what is outside the years 1 to 9999."""
    return (time_text(milliseconds) or f"{milliseconds} ms").removesuffix("Z").replace("T", " ")
