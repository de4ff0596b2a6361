"""How the topics are made, and what is wrong with those that are there. Pure; `admin` asks the broker."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from pipeline.join.offset_map import offsets_that_fit
from pipeline.settings import OFFSET_METADATA_BYTES, JoinSettings, TopicSettings

OVERHEAD_BYTES = 64 * 2**10
"""Room for a record's key, headers and batch around its value, and for a dead letter's own fields."""
CHANGELOG_BYTES = 8 * 2**20
"""Largest entry of the statistics' changelog: what one partition adds to one window."""
LOG_APPEND_TIME = "LogAppendTime"
_COMPACTED_SOON = {"segment.ms": "60000", "min.cleanable.dirty.ratio": "0.1", "delete.retention.ms": "600000"}
REPLICAS_THAT_SURVIVE_ONE = 3


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """A topic as it should be."""

    name: str
    partitions: int
    config: Mapping[str, str]

    @property
    def max_message_bytes(self) -> int:
        """Largest batch that the topic takes."""
        return int(self.config["max.message.bytes"])


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as the broker has it."""

    name: str
    partitions: int
    replicas: int
    timestamp_type: str
    max_message_bytes: int
    retention_ms: int


def source_message_bytes(topics: TopicSettings) -> int:
    """Returns what a source topic takes: a value of `max_record_bytes` with its key and headers."""
    return topics.max_record_bytes + OVERHEAD_BYTES


def dead_letter_message_bytes(topics: TopicSettings) -> int:
    """Returns what the dead letters' topic takes: all that a source topic took, and the letter's own fields."""
    return source_message_bytes(topics) + OVERHEAD_BYTES


def planned(topics: TopicSettings) -> tuple[TopicPlan, ...]:
    """Returns the topics: three sources, predictions, dead letters, statistics and what those are rebuilt from.

    Of statistics the newest record of a key counts, so the broker may drop the others. The changelog holds few keys and
    is read whole at each start: it is one partition, compacted soon and never deleted.
    """
    config = {"message.timestamp.type": LOG_APPEND_TIME, "retention.ms": str(topics.retention_ms)}
    if (topics.replication_factor or 0) >= REPLICAS_THAT_SURVIVE_ONE:
        config["min.insync.replicas"] = "2"
    largest = source_message_bytes(topics)
    sizes = dict.fromkeys((*topics.sources, topics.predictions), largest)
    sizes |= {topics.dead_letters: dead_letter_message_bytes(topics), topics.statistics: largest}
    plans = {
        name: TopicPlan(name, topics.partitions, config | {"max.message.bytes": str(size)})
        for name, size in sizes.items()
    }
    newest_counts = {**plans[topics.statistics].config, "cleanup.policy": "compact,delete"}
    plans[topics.statistics] = replace(plans[topics.statistics], config=newest_counts)
    changelog = config | {"cleanup.policy": "compact", "max.message.bytes": str(CHANGELOG_BYTES)} | _COMPACTED_SOON
    return (*plans.values(), TopicPlan(topics.statistics_changelog, 1, changelog))


def missing(topics: TopicSettings, states: Collection[TopicState]) -> tuple[TopicPlan, ...]:
    """Returns what is to be made; a missing source gets as many partitions as the sources that are there."""
    there = {state.name for state in states}
    counts = {state.partitions for state in states if state.name in topics.sources}
    partitions = counts.pop() if len(counts) == 1 else topics.partitions
    return tuple(
        plan if plan.name == topics.statistics_changelog else replace(plan, partitions=partitions)
        for plan in planned(topics)
        if plan.name not in there
    )


def problems(topics: TopicSettings, states: Collection[TopicState], needed: Collection[str]) -> Iterator[str]:
    """Yields a sentence for each thing that keeps a program from working on the topics it needs."""
    by_name = {state.name: state for state in states if state.name in needed}
    plans = {plan.name: plan for plan in planned(topics)}
    if absent := [name for name in needed if name not in by_name]:
        yield f"There is no topic {', '.join(absent)}: run `trimodal topics create`, or check topics.prefix."
    counts = {name: by_name[name].partitions for name in topics.sources if name in by_name}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} has {count}" for name, count in counts.items())
        yield (
            f"The source topics must have equal partition counts, but {listed}: delete the ones that differ "
            "(`kafka-topics.sh --delete --topic NAME`, their records are lost) and run `trimodal topics create`."
        )
    for name, state in by_name.items():
        if name in topics.sources and state.timestamp_type != LOG_APPEND_TIME:
            yield (
                f"The topic {name} has message.timestamp.type={state.timestamp_type}, and latency and clock skew "
                f"need {LOG_APPEND_TIME}: {_alter(name, 'message.timestamp.type', LOG_APPEND_TIME)}."
            )
        wanted = plans[name].max_message_bytes
        if state.max_message_bytes < wanted:
            yield (
                f"The topic {name} has max.message.bytes={state.max_message_bytes}, and topics.max_record_bytes="
                f"{topics.max_record_bytes} needs {wanted}: lower the setting, or "
                f"{_alter(name, 'max.message.bytes', str(wanted))}."
            )


def lane_events_per_second(join: JoinSettings, offset_metadata_bytes: int = OFFSET_METADATA_BYTES) -> int:
    """Returns what each source partition can take without ever being paused for its offset map.

    An event without its partners stays unfinished while `window_ms` + `out_of_order_ms` of event time pass, and the
    offsets of all that time must fit into the map. Rounded down to two digits.
    """
    exact = offsets_that_fit(offset_metadata_bytes - 1) * 1_000 // (join.window_ms + join.out_of_order_ms)
    unit: int = 10 ** max(0, len(str(exact)) - 2)
    return exact // unit * unit


def _alter(topic: str, name: str, value: str) -> str:
    return f"`kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config {name}={value}`"
