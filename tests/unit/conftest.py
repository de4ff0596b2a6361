"""Fixtures of a fusion consumer on the in-memory broker."""

from collections.abc import Iterator

import pytest

from tests.support.fusion import Replica, replica
from tests.support.memory import MemoryBroker


@pytest.fixture
def broker() -> MemoryBroker:
    """Two lanes."""
    return MemoryBroker(partitions=2)


@pytest.fixture
def fusion(broker: MemoryBroker) -> Iterator[Replica]:
    """A replica that owns both."""
    one = replica(broker)
    yield one
    one.crash()
