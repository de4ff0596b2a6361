"""Brokers are killed and restarted under load, each in the role in which its end hurts most."""

from collections.abc import Callable

import psutil
import pytest

from pipeline.kafka.admin import TopicAdmin
from pipeline.settings import OFFSET_METADATA_BYTES
from tests.faults.cluster import Cluster
from tests.faults.conftest import NewScenario
from tests.faults.scenario import Scenario

PATIENT = {"session_timeout_ms": 30_000}
"""What the design asks for: at 6 s the death of the group coordinator fences static members (librdkafka 3437)."""


def leader_of_a_source(cluster: Cluster, scenario: Scenario) -> str:
    return cluster.leader(scenario.settings.topics.sources[0], 0)


def group_coordinator(cluster: Cluster, scenario: Scenario) -> str:
    return cluster.group_coordinator(scenario.name)


def transaction_coordinator(cluster: Cluster, scenario: Scenario) -> str:
    return cluster.transaction_coordinator(f"{scenario.name}-a")


@pytest.mark.parametrize("role", [leader_of_a_source, group_coordinator, transaction_coordinator])
@pytest.mark.slow_faults
def test_broker_killed(role: Callable[[Cluster, Scenario], str], cluster: Cluster, scenario: NewScenario) -> None:
    here = scenario(kafka=PATIENT)
    replicas = [here.replica("a"), here.replica("b")]
    with here.load(80):
        broker = role(cluster, here)
        with here.fault(f"kill -9 of {broker}, {role.__name__.replace('_', ' ')}"):
            cluster.kill(broker)
        with here.fault(f"restart of {broker}"):
            cluster.restart(broker)
    here.conclude()
    here.stop(*replicas)


def test_limit_of_the_maps_is_asked_for_when_a_broker_has_just_died(cluster: Cluster, scenario: NewScenario) -> None:
    here = scenario()
    admin = TopicAdmin(here.settings.kafka, here.settings.topics)
    try:
        cluster.kill(cluster.brokers[0])  # the others still name it, until its session ends
        assert admin.offset_metadata_bytes() == OFFSET_METADATA_BYTES
    finally:
        cluster.up()


@pytest.mark.slow_faults
def test_rolling_restart_of_all_brokers(cluster: Cluster, scenario: NewScenario) -> None:
    here = scenario(kafka=PATIENT)
    replicas = [here.replica("a"), here.replica("b")]
    with here.load(80):
        for broker in cluster.brokers:
            with here.fault(f"restart of {broker}"):
                cluster.restart(broker)
    here.conclude()
    here.stop(*replicas)


@pytest.mark.slow_faults
@pytest.mark.timeout(600)
def test_all_brokers_down_for_a_minute(cluster: Cluster, scenario: NewScenario) -> None:
    here = scenario(kafka=PATIENT)
    replicas = [here.replica("a"), here.replica("b")]
    with here.load(80):
        here.await_members("a", "b")
        before = [psutil.Process(replica.pid).memory_info().rss for replica in replicas]
        with here.fault("kill -9 of all brokers, for 60 s"):
            cluster.kill(*cluster.brokers)
            here.alive_for(60)
            after = [psutil.Process(replica.pid).memory_info().rss for replica in replicas]
            cluster.up()
    here.conclude()
    assert max(now - then for now, then in zip(after, before, strict=True)) < 128 * 2**20
    here.stop(*replicas)
