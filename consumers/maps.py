"""How full the offset maps are: the lanes of nearly full ones must not run further ahead until the low mark moves."""

from collections.abc import Mapping

from pipeline.kafka.contract import TopicPartition
from pipeline.telemetry.logs import logger

NEARLY_FULL = 0.75
_STRIDES = 16
_POLLS = 8
_log = logger(__name__)


class MapSizes:
    """Knows each partition's offset map by its last measure, and when it is time for the next.

    Each commit measures the maps of what has changed. While one is on its way, so much can be read that a map outgrows
    its limit, so it is also time once as many further records have come as fill a sixteenth of it at a bit each. With
    `most_at_once` further records after that it still fits, if it was not nearly full when it was measured.

    Args:
        limit: most characters that the brokers take.
        offsets: how many offsets always fit into them.

    Attributes:
        longest: the largest measure so far.
        most_at_once: records that may be read at a time, an eighth of a map at a bit each.
    """

    def __init__(self, limit: int, offsets: int) -> None:
        self.limit = limit
        self.longest = 0
        self._stride = offsets // _STRIDES
        self.most_at_once = offsets // _POLLS
        self._characters: dict[TopicPartition, int] = {}
        self._read: dict[TopicPartition, int] = {}
        self._nearly_full: set[TopicPartition] = set()

    @property
    def characters(self) -> Mapping[TopicPartition, int]:
        """The last measures."""
        return self._characters

    def note(self, where: TopicPartition, characters: int, read: int) -> None:
        """A partition's map has this size when all records below the offset `read` have been delivered."""
        self._characters[where], self._read[where] = characters, read
        self.longest = max(self.longest, characters)
        if characters <= NEARLY_FULL * self.limit:
            self._nearly_full.discard(where)
        elif where not in self._nearly_full:
            _log.warning("offset map nearly full", partition=str(where), characters=characters, limit=self.limit)
            self._nearly_full.add(where)

    def is_due(self, where: TopicPartition, read: int) -> bool:
        """Returns whether a map has to be measured, now that all records below the offset `read` are delivered."""
        return read - self._read.get(where, 0) >= self._stride

    def is_nearly_full(self, lane: int) -> bool:
        """Returns whether one of a lane's maps is."""
        return any(where.partition == lane for where in self._nearly_full)

    def clear(self) -> None:
        """Forgets all partitions."""
        self._characters.clear()
        self._read.clear()
        self._nearly_full.clear()
