"""What became of the source records of one key."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.events.records import DeadLetter, Modality, Prediction, Reason, SourceOffset
from pipeline.join.audit import Place
from pipeline.join.tracker import Position


@dataclass(frozen=True, slots=True)
class Known:
    """A source record of the key. `event_time_ms` is None where the value does not decode."""

    place: SourceOffset
    modality: Modality
    event_time_ms: int | None


@dataclass(frozen=True, slots=True)
class Predicted:
    """It is in a prediction; `revisions` are those that name it."""

    prediction_id: str
    revisions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DeadLettered:
    """It is in the dead letter at this place."""

    letter: SourceOffset
    reason: Reason


@dataclass(frozen=True, slots=True)
class Waiting:
    """The group has it and has not finished with it.

    Attributes:
        missing: inputs that have not come for its window; none if all are there, or if it is to be dead-lettered.
    """

    missing: tuple[Modality, ...]


@dataclass(frozen=True, slots=True)
class Unread:
    """The group had not come to it as of its last commit, or has never committed."""


@dataclass(frozen=True, slots=True)
class Unproven:
    """The group has finished with it, and no output that is still there names it."""


Fate = Predicted | DeadLettered | Waiting | Unread | Unproven


def fates(
    records: Sequence[Known],
    predictions: Iterable[Prediction],
    letters: Iterable[tuple[SourceOffset, DeadLetter]],
    positions: Mapping[Place, Position],
    window_ms: int,
) -> dict[SourceOffset, tuple[Fate, ...]]:
    """Returns what became of each record: one fate, or several if it is in more than one output. Pure.

    Args:
        records: all source records of the key.
        predictions: those that may name them, all revisions.
        letters: the dead letters that may name them, and where those stand.
        positions: what the group has committed, read before the outputs and these before the records; a record
            that came to its end in between is then found in its output.
        window_ms: how far apart in event time records of one moment are.
    """
    told = _told(predictions, letters)
    undecided = {record.place for record in records if record.place not in told}
    open_records = [r for r in records if r.place in undecided and not _is_finished(r.place, positions)]

    def alone(record: Known) -> Fate:
        position = positions.get((record.place.topic, record.place.partition))
        if position is None or record.place.offset >= position.high:
            return Unread()
        if _is_finished(record.place, positions):
            return Unproven()
        return Waiting(_missing(record, open_records, window_ms))

    return {
        record.place: (alone(record),) if record.place in undecided else tuple(told[record.place]) for record in records
    }


def _told(
    predictions: Iterable[Prediction], letters: Iterable[tuple[SourceOffset, DeadLetter]]
) -> Mapping[SourceOffset, list[Fate]]:
    revisions: dict[tuple[SourceOffset, str], set[int]] = defaultdict(set)
    for prediction in predictions:
        for source in prediction.sources:
            revisions[source, prediction.prediction_id].add(prediction.revision)
    told: dict[SourceOffset, list[Fate]] = defaultdict(list)
    for (source, prediction_id), numbers in revisions.items():
        told[source].append(Predicted(prediction_id, tuple(sorted(numbers))))
    for place, letter in letters:
        for source in letter.sources:
            told[source].append(DeadLettered(place, letter.reason))
    return told


def _is_finished(place: SourceOffset, positions: Mapping[Place, Position]) -> bool:
    position = positions.get((place.topic, place.partition))
    return position is not None and place.offset < position.high and place.offset not in position.unfinished


def _missing(record: Known, open_records: Iterable[Known], window_ms: int) -> tuple[Modality, ...]:
    at_ms = record.event_time_ms
    if at_ms is None:
        return ()
    there = {
        other.modality
        for other in open_records
        if other.event_time_ms is not None and abs(other.event_time_ms - at_ms) <= window_ms
    }
    return tuple(modality for modality in Modality if modality not in there)
