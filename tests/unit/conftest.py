"""Fixtures of a fusion consumer on the in-memory broker, and of lanes alone."""

from collections.abc import Iterator

import pytest

from consumers.lanes import Lanes
from pipeline.events.records import Modality
from pipeline.kafka.contract import Fresh
from tests.support.fusion import Replica, replica
from tests.support.lanes import SETTINGS, PausableSource, where
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


@pytest.fixture
def lanes() -> Lanes:
    """One lane, from its beginning."""
    lanes = Lanes(SETTINGS)
    lanes.assign({where(modality): Fresh(0) for modality in Modality})
    return lanes


@pytest.fixture
def source() -> PausableSource:
    """Nothing is held back."""
    return PausableSource()
