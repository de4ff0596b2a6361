"""The fusion program's vital signs: what flows is counted by the batch, what stands is sampled once a second."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from operator import attrgetter

import numpy as np
import numpy.typing as npt

from consumers.commits import CommitWatch
from consumers.lanes import Lanes
from consumers.outputs import Moment
from pipeline.events.records import Modality, Reason
from pipeline.kafka.committer import Committer
from pipeline.kafka.contract import Delivery, Source
from pipeline.telemetry import metrics
from pipeline.telemetry.clock import wall_ms
from pipeline.telemetry.health import Health
from pipeline.telemetry.logs import logger

EVERY_MS = 1_000
LONG_WAIT_MS = 5_000
_FRESH = attrgetter("fresh")
_log = logger(__name__)


class Vitals:
    """Watches one replica's parts, from the thread that owns them.

    Args:
        lanes: what it owns.
        source: knows how much is still to be read.
        committer: knows when the last commit went through.
        queues: what waits in it, by the names that the metrics give them.
        health: is told of every step, and once a second how things stand.
        clock_ms: the time of day.
    """

    def __init__(
        self,
        lanes: Lanes,
        source: Source,
        committer: Committer,
        queues: Mapping[str, Sized],
        health: Health,
        clock_ms: Callable[[], int] = wall_ms,
    ) -> None:
        self._lanes = lanes
        self._source = source
        self._committer = committer
        self._queues = queues
        self._health = health
        self._clock_ms = clock_ms
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._sampled_ms: int | None = None
        self._without_lanes_ms = 0
        self._commits = CommitWatch(health, "Kafka or the model")

    # What flows.

    def received(self, arrived: Iterable[tuple[Modality, Delivery]]) -> None:
        """Records came in."""
        records: Counter[Modality] = Counter()
        for modality, delivery in arrived:
            records[modality] += len(delivery.offsets)
        for modality, count in records.items():
            metrics.RECORDS.labels(self._lanes.topic(modality)).inc(count)

    def left_for_model(self, samples: int, waited_ms: int) -> None:
        """A batch has left for the model; its oldest sample had waited so long."""
        metrics.BATCH_SIZE.observe(samples)
        metrics.BATCH_WAIT.observe(waited_ms / 1_000)

    def published(self, moments: Sequence[Moment], newest_ms: npt.NDArray[np.int64]) -> Callable[[], None]:
        """Predictions from all records of these moments are booked; returns what to call when they are committed.

        Args:
            moments: what was answered.
            newest_ms: the broker's timestamp of the newest record of each.
        """
        whole = sum(map(len, map(_FRESH, moments))) == len(Modality) * len(moments)
        others = [] if whole else [moment for moment in moments if len(moment.fresh) < len(Modality)]
        inputs = np.full(len(moments), len(Modality)) if whole else np.array([len(m.records) for m in moments])
        metrics.note_predictions(inputs)
        for modality in Modality:
            self._outcomes[self._lanes.topic(modality), "joined"] += len(moments) - len(others)
        for moment in others:
            outcome = "amended" if moment.amends else "partial"
            for record in moment.fresh:
                self._outcomes[self._lanes.topic(record.modality), outcome] += 1
        return lambda: metrics.note_latencies(inputs, self._clock_ms() - newest_ms)

    def set_aside(self, topic: str, reason: Reason) -> None:
        """A dead letter for a record of a topic is booked."""
        self._outcomes[topic, reason.value] += 1

    # What stands.

    def watch(self, now_ms: int) -> None:
        """Is called after every step; samples when a second has passed since the last time."""
        self._health.beat()
        if self._outcomes:
            metrics.note_outcomes(self._outcomes)
            self._outcomes.clear()
        if self._sampled_ms is None or now_ms - self._sampled_ms >= EVERY_MS:
            since_ms, self._sampled_ms = self._sampled_ms or now_ms, now_ms
            self._sample()
            self._note_assignment(now_ms - since_ms)

    def _sample(self) -> None:
        lanes, maps = self._lanes.held, self._lanes.maps.characters
        metrics.LANES.set(len(lanes))
        metrics.OPEN_WINDOWS.set(sum(lane.open_windows for lane in lanes.values()))
        metrics.WAITING_BYTES.set(self._lanes.waiting_bytes)
        metrics.KEPT_BYTES.set(sum(lane.kept_bytes for lane in lanes.values()))
        metrics.PAUSED_PARTITIONS.set(len(self._lanes.paused))
        metrics.QUEUE_LENGTH.replace({(name,): len(queue) for name, queue in self._queues.items()})
        metrics.OFFSET_MAP_BYTES.replace({(w.topic, str(w.partition)): size for w, size in maps.items()})
        longest: dict[int, int] = {}
        for where, size in maps.items():
            longest[where.partition] = max(size, longest.get(where.partition, 0))
        limit = self._lanes.maps.limit
        metrics.OFFSET_MAP_RATIO.replace({(str(lane),): size / limit for lane, size in longest.items()})
        metrics.OFFSET_MAP_PEAK.set(self._lanes.maps.longest / limit)
        self._sample_lags()

    def _sample_lags(self) -> None:
        now_ms, lanes = self._clock_ms(), self._lanes.held
        backlog = self._source.backlog()
        behind: dict[tuple[str, ...], float] = {
            (str(number),): (now_ms - lane.watermark_ms) / 1_000
            for number, lane in lanes.items()
            if lane.watermark_ms is not None
        }
        metrics.CONSUMER_LAG.replace({(w.topic, str(w.partition)): records for w, records in backlog.items()})
        metrics.WATERMARK_LAG.replace(behind)
        records, slowest_s = sum(backlog.values()), max(behind.values(), default=0.0)
        self._health.note(
            "lag",
            f"{records:,} records are still to be read; the slowest watermark is {slowest_s:.1f} s behind the clock.",
        )
        self._commits.look(self._committer.last_commit_s, f"{records:,} records wait" if records else None)

    def _note_assignment(self, passed_ms: int) -> None:
        """Says how things stand with the group, so long after the last time."""
        before_ms, numbers = self._without_lanes_ms, sorted(self._lanes.held)
        self._without_lanes_ms = 0 if self._lanes.is_assigned else before_ms + passed_ms
        if before_ms < LONG_WAIT_MS <= self._without_lanes_ms:
            _log.info(
                "waiting for the group to hand out lanes",
                hint="it waits for each other member, a stopped one too until its kafka.session_timeout_ms is over",
            )
        if not self._lanes.is_assigned:
            self._health.note("assignment", "The group has not handed out the lanes yet.", ok=False)
        elif numbers:
            self._health.note("assignment", f"{len(numbers)} lanes are held: {', '.join(map(str, numbers))}.")
        else:
            self._health.note("assignment", "No lane is left for this replica: others hold them, and it stands by.")
