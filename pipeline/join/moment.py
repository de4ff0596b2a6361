"""One moment of a key: its window, from the first record until it is forgotten."""

from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.join.outcomes import Record


class State(Enum):
    """What a window can still do."""

    OPEN = auto()  # gathers records
    AMENDABLE = auto()  # was answered without some input; keeps its records until that comes, or until its time is over
    CLOSED = auto()  # only remembers what it has seen
    ENDED = auto()  # closed, and what was kept for an amendment is gone
    WITHDRAWN = auto()  # closed, and its answer was not given after all


class Window:
    """A moment of a key: open while it gathers records, then remembered. `later` is the next moment of the key.

    What waits for the model holds on to it, since its answer and the amendments of that may outlast it in the join.
    """

    __slots__ = ("anchor_ms", "key", "later", "records", "seen", "state")

    def __init__(self, key: bytes, anchor_ms: int) -> None:
        self.key = key
        self.anchor_ms = anchor_ms
        self.state = State.OPEN
        self.seen = 0
        self.records: list[Record | None] = [None, None, None]
        self.later: Window | None = None

    @property
    def is_withdrawn(self) -> bool:
        """Whether its answer was not given after all."""
        return self.state is State.WITHDRAWN

    def in_order(self) -> "tuple[Record, ...]":
        """Returns the records it has, in the order of the modalities."""
        return tuple(filter(None, self.records))
