"""How topics are planned, and what is said of those that do not fit."""

from dataclasses import replace

import pytest

from pipeline.kafka.topics import (
    TopicState,
    dead_letter_message_bytes,
    lane_events_per_second,
    missing,
    planned,
    problems,
    source_message_bytes,
)
from pipeline.settings import JoinSettings, TopicSettings

TOPICS = TopicSettings(prefix="t-", partitions=4, max_record_bytes=1_000_000)
STATES = tuple(
    TopicState(plan.name, plan.partitions, 1, "LogAppendTime", plan.max_message_bytes, 1_000)
    for plan in planned(TOPICS)
)


def with_state(name: str, **changes: object) -> list[TopicState]:
    return [replace(state, **changes) if state.name == name else state for state in STATES]  # type: ignore[arg-type]


def said(states: list[TopicState], needed: list[str] | None = None) -> str:
    return "\n".join(problems(TOPICS, states, needed if needed is not None else [s.name for s in STATES]))


def test_plans_topics_with_equal_partitions_and_the_brokers_timestamps() -> None:
    plans = planned(TOPICS)
    assert [plan.name for plan in plans] == [
        "t-speech", "t-image", "t-sensor", "t-predictions", "t-dead-letters", "t-statistics", "t-statistics-changelog",
    ]  # fmt: skip
    assert {plan.partitions for plan in plans[:-1]} == {4}
    assert {plan.config["message.timestamp.type"] for plan in plans} == {"LogAppendTime"}


def test_of_statistics_the_newest_value_of_a_key_counts() -> None:
    *others, statistics, changelog = planned(TOPICS)
    assert statistics.config["cleanup.policy"] == "compact,delete"
    assert (changelog.partitions, changelog.config["cleanup.policy"]) == (1, "compact")
    assert not any("cleanup.policy" in plan.config for plan in others)
    partitions = {plan.name: plan.partitions for plan in missing(TOPICS, [replace(STATES[0], partitions=9)])}
    assert (partitions["t-statistics"], partitions["t-statistics-changelog"]) == (9, 1)


def test_a_dead_letter_may_hold_the_largest_source_record_and_its_own_fields() -> None:
    assert TOPICS.max_record_bytes < source_message_bytes(TOPICS) < dead_letter_message_bytes(TOPICS)
    sizes = {plan.name: plan.max_message_bytes for plan in planned(TOPICS)}
    assert sizes["t-dead-letters"] == dead_letter_message_bytes(TOPICS)
    assert sizes["t-sensor"] == source_message_bytes(TOPICS)


@pytest.mark.parametrize(("replicas", "in_sync"), [(None, None), (1, None), (2, None), (3, "2")])
def test_three_replicas_keep_two_in_sync(replicas: int | None, in_sync: str | None) -> None:
    plan = planned(TOPICS.model_copy(update={"replication_factor": replicas}))[0]
    assert plan.config.get("min.insync.replicas") == in_sync


def test_nothing_is_wrong_with_topics_as_planned() -> None:
    assert said(list(STATES)) == ""
    assert missing(TOPICS, STATES) == ()


def test_all_topics_are_missing_on_a_new_broker() -> None:
    assert missing(TOPICS, ()) == planned(TOPICS)


def test_a_missing_source_gets_the_partitions_of_the_others() -> None:
    others = [replace(state, partitions=9) for state in STATES if state.name != "t-image"]
    assert [(plan.name, plan.partitions) for plan in missing(TOPICS, others)] == [("t-image", 9)]


@pytest.mark.parametrize(
    ("states", "parts"),
    [
        (with_state("t-image", partitions=6), ["t-speech has 4", "t-image has 6", "t-sensor has 4"]),
        (with_state("t-sensor", timestamp_type="CreateTime"), ["t-sensor", "CreateTime", "LogAppendTime"]),
        (with_state("t-dead-letters", max_message_bytes=1_048_588), ["t-dead-letters", "1048588", "1131072"]),
        ([state for state in STATES if "s" not in state.name], ["t-speech, t-sensor", "trimodal topics create"]),
    ],
)
def test_says_which_topic_has_what_and_what_to_do(states: list[TopicState], parts: list[str]) -> None:
    for part in parts:
        assert part in said(states)


def test_only_the_topics_that_are_needed_count() -> None:
    states = with_state("t-image", partitions=6)
    assert said(states, ["t-predictions", "t-dead-letters"]) == ""
    assert said(states, ["t-speech", "t-sensor"]) == ""
    assert said(states, list(TOPICS.sources)) != ""


def test_creation_time_is_fine_outside_the_sources() -> None:
    assert said(with_state("t-predictions", timestamp_type="CreateTime")) == ""


@pytest.mark.parametrize(
    ("window_ms", "out_of_order_ms", "rate"),
    [(10_000, 2_000, 2_100), (10_000, 0, 2_600), (60_000, 2_000, 410), (3_600_000, 0, 7), (1, 0, 26_000_000)],
)
def test_a_lane_takes_what_its_offset_map_holds(window_ms: int, out_of_order_ms: int, rate: int) -> None:
    join = JoinSettings(window_ms=window_ms, out_of_order_ms=out_of_order_ms)
    assert lane_events_per_second(join) == rate


def test_a_lane_takes_less_where_the_brokers_allow_less() -> None:
    assert lane_events_per_second(JoinSettings(window_ms=10_000, out_of_order_ms=0), 1_024) == 630
