"""Fixtures that give tests a real Kafka and a real Elasticsearch; use with `pytest_plugins = ["tests.support.stack"]`.

One stack serves the whole session, in a temporary directory and on free ports. The jars are fetched once into the
checkout's `.local/jars`. The servers are bound to this process: they end with it, even if it is killed.
"""

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from pipeline.stack import DownloadFailed, LocalStack, StackAddresses, ToolMissing

JARS = Path(__file__).resolve().parents[2] / ".local" / "jars"
NO_STACK = "no real Kafka and Elasticsearch"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Gives all tests that are skipped for want of a stack one place, so that pytest shows them in one line."""
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple) and NO_STACK in report.longrepr[2]:
        report.longrepr = (__file__, 1, report.longrepr[2])
    return report


def started(stack: LocalStack) -> StackAddresses:
    """Starts a stack for a test. Without Java or Maven it skips the test, in CI (`CI=true`) it fails it."""
    try:
        return stack.up()
    except (ToolMissing, DownloadFailed) as error:
        reason = f"{NO_STACK}: {str(error).splitlines()[0]}"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"CI must run every test, but there is {reason}", pytrace=False)
    pytest.skip(reason)


def new_stack(directory: Path, brokers: int = 1) -> LocalStack:
    """Returns a stack that is not up yet; a test that starts it must also end it."""
    return LocalStack(directory, brokers, jars=JARS, bound_to=os.getpid())


@pytest.fixture(scope="session")
def local_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """The session's stack, up: one broker and Elasticsearch. Leave it up; faults belong in a stack of your own."""
    stack = new_stack(tmp_path_factory.mktemp("stack"))
    try:
        started(stack)
        yield stack
    finally:
        stack.down(wipe=True)


@pytest.fixture(scope="session")
def stack(local_stack: LocalStack) -> StackAddresses:
    """Where the session's stack answers."""
    return local_stack.up()


@pytest.fixture(scope="session")
def bootstrap_servers(stack: StackAddresses) -> str:
    """Kafka's `bootstrap.servers`."""
    return stack.bootstrap_servers


@pytest.fixture(scope="session")
def elasticsearch_url(stack: StackAddresses) -> str:
    """Elasticsearch's URL."""
    return stack.elasticsearch_url
