"""Makes, checks, describes and deletes the topics."""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # it re-exports without saying so
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from pipeline.kafka.clients import cluster, common
from pipeline.kafka.errors import Fatal, Retriable, translated, unanswered
from pipeline.kafka.offsets import PROPAGATION_S, OffsetQueries
from pipeline.kafka.topics import TopicPlan, TopicState, missing, planned, problems
from pipeline.settings import OFFSET_METADATA_BYTES, KafkaSettings, TopicSettings

_POLL_S = 0.05
_ONE_BROKER_S = 3.0
_BROKER_DEFAULT = -1


class TopicAdmin:
    """The broker's view of our topics.

    Every method raises a `KafkaFailure` within seconds when no broker answers; waiting longer than
    `kafka.call_timeout_ms` for something that a broker has begun is an error too.
    """

    def __init__(self, kafka: KafkaSettings, topics: TopicSettings) -> None:
        self._kafka = kafka
        self._topics = topics
        self._timeout_s = kafka.call_timeout_ms / 1_000
        try:
            self._client = AdminClient({**common(kafka, "admin"), "log_level": 0})
        except (KafkaException, ValueError) as error:
            raise Fatal(f"The Kafka client refuses its settings ({error}): check kafka.client_options.") from error

    def create(self) -> tuple[TopicPlan, ...]:
        """Makes the topics that are missing, checks all of them and returns the new ones.

        Raises:
            Fatal: a topic that was there before does not fit; the message says which and what to do.
        """
        before = self.describe()
        there = [state.name for state in before]
        self._refuse(problems(self._topics, before, there))
        new = missing(self._topics, before)
        if new:
            replicas = self._topics.replication_factor or _BROKER_DEFAULT
            wanted = [NewTopic(p.name, p.partitions, replicas, config=dict(p.config)) for p in new]
            self._done(self._client.create_topics(wanted), "creating topic", KafkaError.TOPIC_ALREADY_EXISTS)
        self._refuse(problems(self._topics, self._await_present(self._names, self._timeout_s), self._names))
        return new

    def check(self, needed: Collection[str] | None = None) -> int:
        """Makes sure that the topics a program needs are there and fit, and returns the number of lanes.

        It waits up to `PROPAGATION_S` for them to be there.

        Args:
            needed: topic names; without it all. The number is that of the partitions of the first.

        Raises:
            Fatal: a topic is missing, the sources' partition counts differ, a source is without LogAppendTime.
            KafkaFailure: no broker answers.
        """
        names = list(needed) if needed is not None else self._names
        states = self._await_present(names, PROPAGATION_S)
        self._refuse(problems(self._topics, states, names))
        counts = {state.name: state.partitions for state in states}
        return counts[names[0]]

    def describe(self) -> tuple[TopicState, ...]:
        """Returns those of our topics that are there, in the order of `planned`."""
        listed = self._metadata()
        names = [name for name in self._names if name in listed]
        if not names:
            return ()
        configs = self._configs(names)
        return tuple(
            TopicState(
                name,
                partitions=len(listed[name].partitions),
                replicas=min(len(partition.replicas) for partition in listed[name].partitions.values()),
                timestamp_type=configs[name]["message.timestamp.type"],
                max_message_bytes=int(configs[name]["max.message.bytes"]),
                retention_ms=int(configs[name]["retention.ms"]),
            )
            for name in names
            if name in configs
        )

    def partition_counts(self) -> dict[str, int]:
        """Returns topic → number of partitions of those of our topics that are there."""
        listed = self._metadata()
        return {name: len(listed[name].partitions) for name in self._names if name in listed}

    def offset_counts(self) -> dict[str, int]:
        """Returns topic → offsets between its first and its next record; transaction markers are among them."""
        names = list(self.partition_counts())
        if not names:
            return {}
        queries = OffsetQueries(self._kafka, "admin")
        partitions = queries.partitions(names)
        first, following = queries.begins(partitions), queries.ends(partitions, written=True)
        counts: Counter[str] = Counter()
        for where in partitions:
            counts[where.topic] += following[where] - first[where]
        return dict(counts)

    def offset_metadata_bytes(self) -> int:
        """Returns what an offset map may have: the setting, or the least offset.metadata.max.bytes of all brokers.

        Where we may not ask, it is Kafka's default. One that has just died is named by the others until its session
        ends: they are asked again who is there.
        """
        if self._kafka.offset_metadata_bytes is not None:
            return self._kafka.offset_metadata_bytes
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                return min(self._map_limits(), default=OFFSET_METADATA_BYTES)
            except Retriable:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_POLL_S)

    def delete(self) -> tuple[str, ...]:
        """Deletes our topics with all their records and returns their names."""
        names = list(self.partition_counts())
        if names:
            gone = self._client.delete_topics(names)
            self._done(gone, "deleting topic", KafkaError.UNKNOWN_TOPIC_OR_PART)
            self._await_absent(names)
        return tuple(names)

    @property
    def _names(self) -> list[str]:
        return [plan.name for plan in planned(self._topics)]

    def _map_limits(self) -> list[int]:
        """Returns what each broker allows, of those that tell us. Raises Retriable if one does not answer."""
        answers: dict[str, Future[Any]] = {}
        for number in cluster(self._client, self._kafka, "brokers").brokers:  # the client takes one broker a call
            asked = self._client.describe_configs(
                [ConfigResource(ResourceType.BROKER, str(number))], request_timeout=min(_ONE_BROKER_S, self._timeout_s)
            )
            answers |= {f"broker {resource.name}": answer for resource, answer in asked.items()}
        found = self._done(answers, "describing", KafkaError.CLUSTER_AUTHORIZATION_FAILED)
        return [int(entries["offset.metadata.max.bytes"].value) for entries in found.values()]

    def _metadata(self) -> dict[str, Any]:
        """Returns the metadata of all topics that are usable."""
        listed = cluster(self._client, self._kafka, "topics").topics
        return {name: topic for name, topic in listed.items() if topic.error is None and topic.partitions}

    def _configs(self, names: Iterable[str]) -> dict[str, dict[str, str]]:
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        answers = self._client.describe_configs(resources, request_timeout=self._timeout_s)
        by_name = {resource.name: answer for resource, answer in answers.items()}
        entries = self._done(by_name, "describing topic", KafkaError.UNKNOWN_TOPIC_OR_PART)
        return {topic: {name: entry.value for name, entry in found.items()} for topic, found in entries.items()}

    def _done(self, answers: Mapping[str, Future[Any]], doing: str, harmless: int) -> dict[str, Any]:
        """Waits for the broker's answers, one a topic; leaves out those with the harmless error."""
        results = {}
        for topic, answer in answers.items():
            try:
                results[topic] = answer.result(timeout=self._timeout_s)
            except KafkaException as error:
                if error.args[0].code() != harmless:
                    raise translated(error, f"{doing} {topic}") from error
            except TimeoutError as error:
                raise unanswered(f"{doing} {topic}", self._timeout_s) from error
        return results

    def _await_present(self, names: Collection[str], within_s: float) -> tuple[TopicState, ...]:
        """Describes our topics, again until all of these are among them or the time is up."""
        deadline = time.monotonic() + within_s
        while True:
            states = self.describe()
            if {state.name for state in states}.issuperset(names) or time.monotonic() > deadline:
                return states
            time.sleep(_POLL_S)

    def _await_absent(self, names: Collection[str]) -> None:
        deadline = time.monotonic() + self._timeout_s
        while not self.partition_counts().keys().isdisjoint(names):
            if time.monotonic() > deadline:
                raise Fatal(
                    f"The brokers took the deletion of {', '.join(names)} on but still show some of them after "
                    f"{self._timeout_s:.0f} s: look at the brokers' logs, then run this again."
                )
            time.sleep(_POLL_S)

    @staticmethod
    def _refuse(found: Iterable[str]) -> None:
        if sentences := list(found):
            raise Fatal("\n".join(sentences))
