"""A prediction and a dead letter as the page shows them: small, cut to size, with previews of the inputs."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from heapq import nlargest

from pipeline.events.codec import Codec
from pipeline.events.errors import RecordError
from pipeline.events.records import DeadLetter, ImageEvent, Modality, Prediction, SensorEvent, SourceOffset, SpeechEvent
from pipeline.kafka.contract import Message
from pipeline.model import pictures, previews
from pipeline.model.specs import InputSpecs
from pipeline.settings import TopicSettings

COLUMNS = 120
FRAMES = 64
SIDE = 192
LABELS = 6
CHARACTERS = 300
_SPECS = InputSpecs()


@dataclass(frozen=True, slots=True)
class Preview:
    """An input to look at. One of the first four is there, or `problem` says why none is."""

    waveform: tuple[tuple[int, int], ...] | None = None
    picture: str | None = None
    pen: previews.PenTrace | None = None
    curves: previews.Curves | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """A prediction. Times are milliseconds since the epoch; `inputs` are the previews by modality."""

    place: str
    prediction_id: str
    key: str
    label: str
    confidence: float
    probabilities: tuple[tuple[str, float], ...]
    modalities: tuple[str, ...]
    partial: bool
    revision: int
    model: str
    event_time_ms: int
    committed_ms: int
    latency_ms: float
    sources: tuple[str, ...]
    inputs: Mapping[str, Preview]


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, without the original."""

    place: str
    reason: str
    detail: str
    key: str | None
    occurred_ms: int
    sources: tuple[str, ...]


def letter_shown(message: Message, letter: DeadLetter) -> Letter:
    """Returns what is shown of a dead letter."""
    key = None if letter.key is None else _cut(letter.key.decode(errors="replace"))
    sources = tuple(str(source) for source in letter.sources[:LABELS])
    return Letter(str(message), letter.reason.value, _cut(letter.detail), key, letter.occurred_at_ms, sources)


class CardMaker:
    """Makes cards.

    Args:
        codec: decodes source records.
        topics: says which source topic is which modality.
    """

    def __init__(self, codec: Codec, topics: TopicSettings) -> None:
        self._codec = codec
        self._topics = topics.sources

    def wanted(self, prediction: Prediction) -> dict[Modality, SourceOffset]:
        """Returns where the inputs of a prediction stand."""
        return {
            Modality(self._topics.index(source.topic)): source
            for source in prediction.sources
            if source.topic in self._topics
        }

    def card(self, message: Message, prediction: Prediction, records: Mapping[SourceOffset, Message]) -> Card:
        """Returns what is shown of a prediction.

        Args:
            message: what it came in.
            prediction: the prediction.
            records: those of its source records that could be read.
        """
        likely = nlargest(LABELS, prediction.probabilities.items(), key=lambda entry: entry[1])
        wanted = self.wanted(prediction)
        return Card(
            place=str(message),
            prediction_id=_cut(prediction.prediction_id),
            key=_cut(prediction.key),
            label=_cut(prediction.label),
            confidence=prediction.confidence,
            probabilities=tuple((_cut(label), probability) for label, probability in likely),
            modalities=tuple(modality.name.lower() for modality in prediction.modalities),
            partial=len(prediction.modalities) < len(Modality),
            revision=prediction.revision,
            model=_cut(f"{prediction.model} {prediction.model_version}"),
            event_time_ms=prediction.event_time_ms,
            committed_ms=message.timestamp_ms,
            latency_ms=prediction.latency_ms,
            sources=tuple(str(source) for source in list(wanted.values())[:LABELS]),
            inputs={
                modality.name.lower(): self._preview(modality, records.get(source))
                for modality, source in wanted.items()
            },
        )

    def _preview(self, modality: Modality, record: Message | None) -> Preview:
        if record is None or record.value is None:
            return Preview(problem="Its record could not be read in time, or retention has deleted it.")
        try:
            return _preview_of(self._codec.decode_event(modality, record.value))
        except RecordError as error:
            return Preview(problem=_cut(str(error)))


def _preview_of(event: SpeechEvent | ImageEvent | SensorEvent) -> Preview:
    match event:
        case SpeechEvent():
            return Preview(waveform=previews.waveform(event, _SPECS.speech, COLUMNS))
        case ImageEvent():
            png = pictures.thumbnail(event.image, event.encoding, _SPECS.image, SIDE)
            return Preview(picture=f"data:image/png;base64,{b64encode(png).decode()}")
        case SensorEvent():
            match previews.trace(event, FRAMES):
                case previews.PenTrace() as pen:
                    return Preview(pen=pen)
                case previews.Curves() as curves:
                    return Preview(curves=curves)


def _cut(text: str) -> str:
    return text if len(text) <= CHARACTERS else f"{text[: CHARACTERS - 1]}…"
