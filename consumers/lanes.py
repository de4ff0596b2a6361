"""The lanes that a replica owns: handed out, paused and put into commits together."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from operator import itemgetter

from consumers.maps import MapSizes
from pipeline.events.records import Modality
from pipeline.join import offset_map
from pipeline.join.lane import Lane
from pipeline.join.outcomes import JoinRules, Outcome
from pipeline.join.tracker import Position
from pipeline.kafka.contract import Committed, Delivery, EndOfPartition, Fresh, Source, TopicPartition
from pipeline.kafka.errors import Fatal
from pipeline.settings import Settings
from pipeline.telemetry import metrics

RELIEF = 0.8
READ_AHEAD, READ_ON = 1 / 8, 0.5
_MODALITY = itemgetter(0)


class Lanes:
    """One lane for each partition number that is assigned.

    Back-pressure: queues are bounded and nothing is dropped. A partition that runs more than `join.max_lead_ms`
    ahead of its lane's slowest is paused; so is one whose lane has an offset map above three quarters of the limit,
    whatever its lead, and the slowest too while the model has records of that lane, which the map holds as unfinished.
    What comes beyond the slowest can only wait: all of it together may take an eighth of `join.max_bytes` of memory,
    each partition the same share. One that has it goes on when the others have caught up with half of it, not sooner,
    since with a pause the client throws away what it has fetched of a partition. When all of `join.max_bytes` is held,
    what is kept for amendments goes first. When that much still waits, everything is paused while the model and the
    commits work it off; once there is nothing left to do, each lane's slowest partition goes on alone, so that its
    windows close.
    """

    def __init__(self, settings: Settings) -> None:
        join, topics = settings.join, settings.topics
        self._rules = JoinRules(join.window_ms, join.out_of_order_ms, join.idle_ms, join.min_modalities, join.amend_ms)
        self._max_lead_ms = join.max_lead_ms
        self._max_bytes = join.max_bytes
        self._topics = dict(zip(Modality, topics.sources, strict=True))
        self._modalities = {topic: modality for modality, topic in self._topics.items()}
        self._lanes: dict[int, Lane] = {}
        self._where: dict[int, dict[Modality, TopicPartition]] = {}
        limit = settings.kafka.map_characters
        self.maps = MapSizes(limit, offset_map.offsets_that_fit(limit))
        self._paused: set[TopicPartition] = set()
        self._waiting_bytes = 0
        self._full = False
        self.is_assigned = False

    @property
    def held(self) -> Mapping[int, Lane]:
        """The lanes by their numbers."""
        return self._lanes

    @property
    def waiting_bytes(self) -> int:
        """Payload between the source and its outcome."""
        return self._waiting_bytes

    @property
    def paused(self) -> Collection[TopicPartition]:
        """The partitions that are held back."""
        return self._paused

    def get(self, partition: int) -> Lane | None:
        """Returns the lane of a partition number, if it is ours."""
        return self._lanes.get(partition)

    def modality(self, topic: str) -> Modality:
        """Returns the modality that a source topic carries."""
        return self._modalities[topic]

    def topic(self, modality: Modality) -> str:
        """Returns the source topic that carries a modality."""
        return self._topics[modality]

    def ours(self, deliveries: Iterable[Delivery]) -> list[tuple[Modality, Delivery]]:
        """Returns the deliveries of the lanes that are held, with their modalities, in the order of these."""
        held = (one for one in deliveries if one.where.partition in self._lanes)
        return sorted(((self._modalities[one.where.topic], one) for one in held), key=_MODALITY)

    def assign(self, starts: Mapping[TopicPartition, Committed | Fresh]) -> dict[TopicPartition, int]:
        """Makes the lanes from what is committed, after a `clear`; returns the offsets to read from.

        Raises:
            UnreadableMap: a commit's metadata is not an offset map of ours.
            Fatal: a lane is not whole.
        """
        positions = {where: _position(where, start) for where, start in starts.items()}
        for where, start in starts.items():
            if isinstance(start, Committed):
                self.maps.note(where, len(start.metadata), positions[where].high)
        for number in sorted({where.partition for where in starts}):
            self._where[number] = {m: TopicPartition(topic, number) for m, topic in self._topics.items()}
            whole = {modality: positions.get(where) for modality, where in self._where[number].items()}
            torn = [self._topics[modality] for modality, position in whole.items() if position is None]
            if torn:
                raise Fatal(
                    f"Lane {number} was assigned without {', '.join(torn)}: the source topics need equal partition "
                    "counts (see `trimodal topics list`) and every member of the group the range assignor."
                )
            self._lanes[number] = Lane(self._rules, {m: position for m, position in whole.items() if position})
        self.is_assigned = True
        return {where: position.replay_from for where, position in positions.items()}

    def clear(self) -> None:
        """Forgets everything: the lanes are somebody else's, or will be read again."""
        self._lanes.clear()
        self.maps.clear()
        self._paused.clear()
        self._waiting_bytes = 0
        self.is_assigned = False

    def at_ends(self, ends: Iterable[EndOfPartition], now_ms: int) -> None:
        """Partitions have delivered everything they hold."""
        for end in ends:
            if (lane := self._lanes.get(end.partition)) is not None:
                lane.at_end(self._modalities[end.topic], end.offset, now_ms)

    def take_in(self, payload_bytes: int) -> None:
        """So much payload waits for its outcomes."""
        self._waiting_bytes += payload_bytes

    def let_go(self, payload_bytes: int) -> None:
        """So much payload is no longer needed."""
        self._waiting_bytes -= payload_bytes

    def advance(self, now_ms: int) -> Iterator[tuple[Lane, list[Outcome]]]:
        """Moves every lane's watermark on; yields what became of windows whose deadline has passed."""
        for lane in self._lanes.values():
            if outcomes := lane.advance(now_ms):
                yield lane, outcomes

    def take_offsets(self) -> dict[TopicPartition, Committed]:
        """Returns the positions that have changed since the last call, with their maps.

        A lane of which a map does not fit gives up what could be amended, in all its maps.

        Raises:
            MapTooLarge: one does not fit all the same; sent, it would abort this transaction and every later one.
        """
        offsets: dict[TopicPartition, Committed] = {}
        for number, lane in self._lanes.items():
            changed = lane.take_changed()
            try:
                encoded = self._encoded(number, changed)
            except offset_map.MapTooLarge:
                lane.give_up_amendments()
                changed |= lane.take_changed()
                encoded = self._encoded(number, changed)
            for where, position in zip(encoded, changed.values(), strict=True):
                self.maps.note(where, len(encoded[where].metadata), position.high)
            offsets |= encoded
        return offsets

    def hold_back(self, source: Source, now_ms: int, *, draining: bool) -> None:
        """Pauses the partitions that must wait and resumes the others.

        Args:
            source: where they are delivered.
            now_ms: the time for idleness.
            draining: whether something is being worked off, by the model or by a commit.
        """
        limit = self._max_bytes * (RELIEF if self._full else 1)
        if self._held_bytes() > limit:
            for lane in self._lanes.values():
                lane.give_up_amendments()
        self._full = self._waiting_bytes > limit
        self._measure_maps()
        wanted: set[TopicPartition] = set()
        for number, lane in self._lanes.items():
            where, nearly_full = self._where[number], self.maps.is_nearly_full(number)
            if draining and (self._full or (nearly_full and _awaits_answers(lane))):
                held = set(Modality)
            else:
                max_lead_ms = 0 if nearly_full or self._full else self._max_lead_ms
                ahead = lane.ahead(now_ms).items()
                held = {m for m, by in ahead if by.ms > max_lead_ms or by.size_bytes > self._share(where[m])}
            wanted |= {where[modality] for modality in held}
            for modality in held:
                lane.not_at_end(modality)
        if resumed := self._paused - wanted:
            source.resume(sorted(resumed, key=str))
        if paused := wanted - self._paused:
            source.pause(sorted(paused, key=str))
            metrics.PAUSES.inc(len(paused))
        self._paused = wanted

    def _encoded(self, number: int, positions: Mapping[Modality, Position]) -> dict[TopicPartition, Committed]:
        places = {self._where[number][modality]: at for modality, at in positions.items()}
        return {
            where: Committed(at.low, offset_map.encode(at, where.topic, number, self.maps.limit))
            for where, at in places.items()
        }

    def _measure_maps(self) -> None:
        for number, lane in self._lanes.items():
            for modality, where in self._where[number].items():
                if self.maps.is_due(where, lane.read_up_to(modality)):
                    position = lane.position(modality)
                    self.maps.note(where, offset_map.size(position, where.topic, number), position.high)

    def _share(self, where: TopicPartition) -> float:
        """Returns how many bytes of a partition may come ahead; of one that is paused, half as many."""
        share = READ_AHEAD * self._max_bytes / (len(self._lanes) * len(Modality))
        return share * READ_ON if where in self._paused else share

    def _held_bytes(self) -> int:
        return self._waiting_bytes + sum(lane.kept_bytes for lane in self._lanes.values())


def _awaits_answers(lane: Lane) -> bool:
    """Whether records of a lane are with the model for sure: each open window has at most one of a partition."""
    return any(lane.unfinished(modality) > lane.open_windows for modality in Modality)


def _position(where: TopicPartition, start: Committed | Fresh) -> Position:
    match start:
        case Fresh(offset):
            return Position.at(offset)
        case Committed(offset, metadata):
            return offset_map.decode(metadata, where.topic, where.partition, offset)
