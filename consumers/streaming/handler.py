"""What a streaming program does with its records. The stream calls it from its event loop, one call at a time."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.kafka.contract import Message, Output


@dataclass(frozen=True, slots=True)
class Step:
    """What came of the records since the last step, in the order in which it has to become durable.

    Args:
        outputs: first these are published,
        state: then each of these is kept, name → content; one group after the other,
        forgotten: then these names' content is deleted; and then the records count as processed.
    """

    outputs: Sequence[Output]
    state: Sequence[Mapping[str, bytes]]
    forgotten: Sequence[str]


class Handler(Protocol):
    """A program over one topic, with state in a changelog."""

    def restored(self, state: Mapping[str, bytes], partitions: Collection[int]) -> None:
        """All partitions are ours, and this is what has been kept; records after it come next."""

    def positions(self) -> Mapping[int, int]:
        """Returns partition → the offset after the last record received, also of one received before a restart."""

    def received(self, message: Message) -> None:
        """A record; each partition's come in order, and again after a crash."""

    def step(self) -> Step:
        """Returns what is to become durable of the records so far."""

    def view(self, query: Mapping[str, str]) -> Any:
        """Returns what the web view shows, ready for JSON. Raises ValueError with a sentence for a wrong query."""
