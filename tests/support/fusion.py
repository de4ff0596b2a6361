"""A fusion consumer on the in-memory broker."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from consumers.fusion import FusionConsumer
from consumers.outputs import OutputBuilder
from consumers.vitals import Vitals
from pipeline.events.records import DeadLetter, Headers, Modality, Prediction, SourceOffset
from pipeline.join.inspection import Inspector
from pipeline.join.lane import Lane
from pipeline.kafka.committer import Committer
from pipeline.kafka.contract import PartitionListener, Source
from pipeline.model.config import PRESETS
from pipeline.model.contract import Predictor
from pipeline.model.inference import Inference
from pipeline.model.manifest import Manifest
from pipeline.model.samples import SUBSETS
from pipeline.model.specs import InputSpecs
from pipeline.model.threads import InThreads
from pipeline.model.verdicts import SampleDecoder, media_decoder
from pipeline.settings import JoinSettings, ServingSettings, Settings, TopicSettings
from pipeline.telemetry.health import Health
from tests.support.events import CODEC, LABELS, StubPredictor, encoded
from tests.support.memory import MemoryBroker, MemorySink, MemorySource

WAIT_S = 30.0
NOW_MS = 1_000_000
MANIFEST = Manifest(
    format=1,
    name="stub",
    version="1",
    labels=LABELS,
    specs=InputSpecs(),
    network=replace(PRESETS["small"], classes=len(LABELS)),
    precision="float32",
    weights_sha256="0" * 64,
    temperatures=(1.0,) * SUBSETS,
    metrics={},
    preset="small",
)
SETTINGS = Settings(
    topics=TopicSettings(partitions=2),
    join=JoinSettings(window_ms=1_000, out_of_order_ms=0, idle_ms=1, commit_min_ms=0),
    serving=ServingSettings(batch_size=4, max_wait_ms=0),
)


@dataclass(frozen=True)
class Beside:
    """What works beside the consumer."""

    inference: type[Inference] = Inference
    committer: type[Committer] = Committer


@dataclass
class Replica:
    """One fusion consumer and what it runs on; `crash` leaves everything as a kill -9 would."""

    broker: MemoryBroker
    consumer: FusionConsumer
    inference: Inference
    committer: Committer
    source: MemorySource

    @property
    def vitals(self) -> Vitals:
        """What watches it."""
        return self.consumer._vitals

    @property
    def lanes(self) -> Mapping[int, Lane]:
        """Its lanes by their numbers."""
        return self.consumer._lanes.held

    @property
    def waiting_bytes(self) -> int:
        """Payload between the source and its outcome."""
        return self.consumer._lanes.waiting_bytes

    def step(self) -> None:
        """Takes one step, and what an abort needs."""
        self.consumer._attempt(self.consumer.step)

    def crash(self) -> None:
        """Stops without a word, and its session ends: nothing that is not committed survives."""
        self.broker.remove(self.source)
        self.kill()

    def kill(self) -> None:
        """Stops without a word; the group waits for it until its session ends."""
        self.inference.close()
        self.committer.close()


def replica(
    broker: MemoryBroker,
    predictor: Predictor | None = None,
    settings: Settings = SETTINGS,
    health: Health | None = None,
    beside: Beside = Beside(),
    instead_of: MemorySource | None = None,
) -> Replica:
    """Returns a fusion consumer that has joined the broker's group, or taken the place of one of the same name."""
    parts: list[tuple[MemorySource, Committer]] = []

    def connect(listener: PartitionListener) -> tuple[Source, Committer]:
        source = MemorySource(broker, settings.topics.sources, listener, instead_of)
        parts.append((source, beside.committer(MemorySink(broker))))
        return parts[0]

    decoder = SampleDecoder(media_decoder(CODEC, MANIFEST.specs), settings.join.min_modalities)
    inference = beside.inference(InThreads(predictor or StubPredictor(), decoder, 1, request_timeout_s=60), 2, 180)
    inspector = Inspector(CODEC, broker.partitions, settings.join.max_skew_ms, settings.topics.max_record_bytes)
    outputs = OutputBuilder(CODEC, settings, MANIFEST)
    consumer = FusionConsumer(settings, inspector, inference, outputs, connect, health)
    source, committer = parts[0]
    return Replica(broker, consumer, inference, committer, source)


def publish(
    broker: MemoryBroker, key: bytes, *modalities: Modality, at_ms: int = NOW_MS, headers: Headers = ()
) -> None:
    """Publishes a valid event of each of these modalities."""
    for modality in modalities:
        broker.publish(SETTINGS.topics.source(modality), key, encoded(modality, at_ms), headers=headers)


def predictions(broker: MemoryBroker) -> list[Prediction]:
    """Returns the committed predictions."""
    records = broker.records(SETTINGS.topics.predictions)
    return [CODEC.decode_prediction(message.value or b"") for message in records]


def dead_letters(broker: MemoryBroker) -> list[DeadLetter]:
    """Returns the committed dead letters."""
    records = broker.records(SETTINGS.topics.dead_letters)
    return [CODEC.decode_dead_letter(message.value or b"") for message in records]


def accounted(broker: MemoryBroker) -> Counter[SourceOffset]:
    """Returns how often each source record is accounted for; an amendment accounts for what it adds."""
    counts = Counter(source for letter in dead_letters(broker) for source in letter.sources)
    answered: dict[str, set[SourceOffset]] = {}
    for prediction in sorted(predictions(broker), key=lambda prediction: prediction.revision):
        before = answered.setdefault(prediction.prediction_id, set())
        assert bool(before) == (prediction.revision > 0), "an amendment follows an answer, and only that"
        counts.update(source for source in prediction.sources if source not in before)
        before.update(prediction.sources)
    return counts


def expected(broker: MemoryBroker) -> Counter[SourceOffset]:
    """Returns every source record once."""
    return Counter(
        SourceOffset(message.topic, message.partition, message.offset)
        for topic in SETTINGS.topics.sources
        for message in broker.records(topic)
    )


def run_until(enough: Callable[[], bool], *replicas: Replica) -> None:
    """Steps the replicas in turn until it is enough."""
    deadline = time.monotonic() + WAIT_S
    while not enough():
        assert time.monotonic() < deadline, "not enough in time"
        for one in replicas:
            one.step()


def run_to_balance(broker: MemoryBroker, *replicas: Replica) -> None:
    """Steps the replicas until every record is accounted for, once."""
    run_until(lambda: accounted(broker).total() >= expected(broker).total(), *replicas)
    assert accounted(broker) == expected(broker)
    run_until(lambda: not any(one.waiting_bytes for one in replicas), *replicas)
