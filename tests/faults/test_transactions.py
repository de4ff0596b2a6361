"""Transactions that are left open, calls that never return, and two processes of one name."""

import re

import pytest

from pipeline.kafka.sink import KafkaSink
from pipeline.telemetry.watchdog import EXIT_CODE
from tests.faults.conftest import NewScenario
from tests.faults.scenario import Scenario, alive_for, await_said, killed
from tests.support.replica import HANGS, HANGS_INSIDE, OPEN
from tests.support.world import await_true

SCAN_S = 10.0
"""The broker's transaction.abort.timed.out.transaction.cleanup.interval.ms."""

MOST_REPLACED = 2
"""The older is fenced when the newer comes, and may fence that once before the group ends the older."""


def killed_in_a_transaction(here: Scenario) -> None:
    here.publish_some(100)
    replica = here.replica("a", **{HANGS: "1"})
    await_said(replica, OPEN)
    await_true("its outputs are written", lambda: here.holds_readers)
    killed(replica)


def test_open_transaction_is_freed_by_the_next_of_its_name(scenario: NewScenario) -> None:
    here = scenario(kafka={"transaction_timeout_ms": 30_000})
    killed_in_a_transaction(here)
    here.note("a, killed between send_offsets and commit, takes its transactional id again")
    kafka = here.settings.kafka.model_copy(update={"replica": "a"})
    sink = KafkaSink(kafka, here.settings.topics)
    assert here.await_free_readers() < 2
    sink.close()
    here.replica("a")
    here.conclude()


@pytest.mark.slow_faults
def test_open_transaction_is_freed_by_its_timeout(scenario: NewScenario) -> None:
    here = scenario(kafka={"transaction_timeout_ms": 3_000})
    killed_in_a_transaction(here)
    here.note("a killed between send_offsets and commit, for good")
    here.replica("b")
    assert here.await_free_readers() < 3 + SCAN_S + 2
    here.conclude()


def test_call_that_never_returns_ends_the_process(scenario: NewScenario) -> None:
    here = scenario(kafka={"call_timeout_ms": 5_000, "watchdog_ms": 2_000})
    hanging = here.replica("a", **{HANGS_INSIDE: "5"})
    with here.load(50):
        await_said(hanging, OPEN)
        here.note("commit_transaction of a never returns")
        assert hanging.wait(timeout=30) == EXIT_CODE
        replica = here.replica("a")
    here.conclude()
    assert re.search(r'"doing": "committing", "not_back_for_s": 7, .*"watchdog ends this process"', here.log("a"))
    assert "Thread 0x" in here.log("a")
    assert re.search(r'kafka/sink.py", line \d+ in commit', here.log("a"))
    here.stop(replica)


@pytest.mark.slow_faults
def test_two_processes_of_one_name(scenario: NewScenario) -> None:
    here = scenario()
    first = here.replica("a")
    with here.load(50):
        with here.fault("a second process runs as a"):
            second = here.replica("a")
        assert first.wait(timeout=60) != 0
        alive_for(second, 5)
    here.conclude()
    assert "give each its own --replica" in here.log("a")
    assert here.log("a").count("kafka producer replaced") <= MOST_REPLACED
    here.stop(second)
