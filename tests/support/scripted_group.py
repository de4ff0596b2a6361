"""A consumer group by a script, for what are races on a real broker."""

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from pipeline.kafka.contract import Committed, Fresh
from pipeline.kafka.contract import TopicPartition as Place
from pipeline.kafka.source import KafkaSource
from pipeline.settings import TopicSettings

TOPICS = TopicSettings()
WHOLE = [TopicPartition(topic, 0) for topic in TOPICS.sources]
FENCED = Message(
    error=KafkaError(
        KafkaError._FATAL, "Fatal error: Static consumer fenced by other consumer with same group.instance.id"
    )
)

Step = Callable[["ScriptedConsumer"], Message | None]


class ScriptedConsumer:
    """A client of which each poll is one step of the script."""

    def __init__(self, group: "Group") -> None:
        self._group = group
        self._is_polled = False
        self.assigned: list[TopicPartition] = []

    def subscribe(self, _topics: Sequence[str], **callbacks: Callable[..., None]) -> None:
        self._group.calls.append("subscribe")
        self.callbacks = callbacks

    def poll(self, _timeout_s: float) -> Message | None:
        self._is_polled = True
        try:
            return self._group.steps.pop(0)(self)
        finally:
            self._is_polled = False

    def consume(self, count: int, timeout_s: float) -> list[Message]:
        come = self._group.soon if timeout_s else self._group.there
        taken, come[:count] = come[:count], []
        return taken

    def list_topics(self, topic: str, _timeout_s: float) -> SimpleNamespace:
        self._wait()
        if self._group.failures:
            raise KafkaException(KafkaError(self._group.failures.pop(0)))
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None, partitions={0: None, 1: None})})

    def committed(self, partitions: list[TopicPartition], _timeout_s: float) -> list[TopicPartition]:
        self._wait()
        return partitions

    def get_watermark_offsets(self, _partition: TopicPartition, _timeout_s: float) -> tuple[int, int]:
        self._wait()
        return 0, 0

    def _wait(self) -> None:
        assert not self._is_polled, "the client aborts the process when a callback comes after such a call in another"

    def assign(self, partitions: list[TopicPartition]) -> None:
        self.assigned = partitions

    def assignment(self) -> list[TopicPartition]:
        return self.assigned

    def unassign(self) -> None:
        self.assigned = []

    def resume(self, _partitions: list[TopicPartition]) -> None:
        pass

    def close(self) -> None:
        self._group.calls.append("close")


class Listener:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def assigned(self, starts: Mapping[Place, Committed | Fresh]) -> Mapping[Place, int]:
        self.told.append(sorted(starts))
        return dict.fromkeys(starts, 0)

    def revoked(self) -> None:
        self.told.append("revoked")

    def lost(self) -> None:
        self.told.append("lost")


def record(offset: int) -> Message:
    return Message(topic=TOPICS.sources[0], partition=0, offset=offset, value=b"", timestamp=(1, 1))


def hands_out(partitions: list[TopicPartition]) -> Step:
    return lambda client: client.callbacks["on_assign"](client, partitions)


def loses(client: ScriptedConsumer) -> None:
    client.callbacks["on_lost"](client, WHOLE)


def fences(_client: ScriptedConsumer) -> Message:
    return FENCED


class Group:
    """A source whose client follows a script, and what became of it."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.there: list[Message] = []
        self.soon: list[Message] = []
        self.calls: list[str] = []
        self.listener = Listener()
        self.clients: list[ScriptedConsumer] = []
        self.failures: list[int] = []

    def client(self, _properties: object) -> ScriptedConsumer:
        self.clients.append(ScriptedConsumer(self))
        return self.clients[-1]

    def play(self, source: KafkaSource, *steps: Step) -> None:
        self.steps.extend(steps)
        while self.steps:
            arrivals = source.poll(10, 0)
            assert not arrivals.deliveries
            assert not arrivals.ends
