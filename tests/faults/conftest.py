"""The cluster that the fault scenarios share."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from pipeline.kafka.admin import TopicAdmin
from pipeline.kafka.errors import KafkaFailure
from tests.faults.cluster import Cluster
from tests.faults.scenario import Scenario
from tests.support.stack import new_stack, started

HERE = Path(__file__).parent

NewScenario = Callable[..., Scenario]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here is a fault scenario on the real servers."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.faults)
            item.add_marker(pytest.mark.stack)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three brokers for all scenarios, up and whole; a scenario leaves them so."""
    stack = new_stack(tmp_path_factory.mktemp("cluster"), brokers=3)
    try:
        yield Cluster(stack, started(stack))
    finally:
        stack.down(wipe=True)


@pytest.fixture
def scenario(cluster: Cluster, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NewScenario]:
    """Gives a function that makes the test's scenario; its arguments are those of `Scenario` after the first three.

    With `bootstrap_servers` it happens on a cluster of the test's own.
    """
    with ExitStack() as stack:

        def begin(bootstrap_servers: str | None = None, **options: Any) -> Scenario:
            cluster.up()
            name = request.node.name.removeprefix("test_").replace("_", " ")
            made = Scenario(name, bootstrap_servers or cluster.addresses.bootstrap_servers, tmp_path, **options)
            stack.callback(_delete_topics, made)
            return stack.enter_context(made)

        yield begin


def _delete_topics(scenario: Scenario) -> None:
    with suppress(KafkaFailure):
        TopicAdmin(scenario.settings.kafka, scenario.settings.topics).delete()
