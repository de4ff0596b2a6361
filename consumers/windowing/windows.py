"""The open windows: which there are, what changes in them, when they are over, and what of them must be kept."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from consumers.windowing.part import Part
from consumers.windowing.tally import Group, Tally
from pipeline.events.records import Prediction, Statistic

PROGRESS = "progress"
_PART = "part"


class Outcome(StrEnum):
    """What became of a prediction."""

    COUNTED = "counted"
    KNOWN = "known"
    LATE = "late"
    AHEAD = "ahead"


@dataclass(frozen=True, slots=True)
class Spans:
    """How long windows are and how long they stay open, in milliseconds of event time.

    Args:
        lengths: shortest first, each a multiple of the one before.
        keep: how far behind the newest event time a window stays open.
        ahead: how far an event time may be ahead of the broker's timestamp.
    """

    lengths: tuple[int, ...]
    keep: int
    ahead: int

    @property
    def shortest(self) -> int:
        """The windows that are kept; the longer ones are put together from them."""
        return self.lengths[0]

    @property
    def longest(self) -> int:
        """Windows go in steps of it, so that none is ever put together from what is left of it."""
        return self.lengths[-1]


@dataclass(frozen=True, slots=True)
class Changes:
    """What has changed since the last time.

    Args:
        statistics: to be published.
        parts: name → content, to be kept before `progress` is.
        progress: to be kept under PROGRESS.
        forgotten: names whose content can go once `progress` is kept.
    """

    statistics: Sequence[Statistic]
    parts: Mapping[str, bytes]
    progress: bytes
    forgotten: Sequence[str]


class Windows:
    """Counts predictions in tumbling windows of event time.

    What a partition adds to a window of the shortest length is a `Part`. A published statistic is the sum of the parts
    of all partitions, and of all the shortest windows within a longer one. Each part knows up to which offset it has
    counted, so records that are read again after a crash change nothing.

    A window is over when the event time of the slowest partition is `spans.keep` past it. A partition that is silent
    for as long by the clock is not waited for. What comes for a window that is over is late: it is never counted,
    since the rest of the window is forgotten and a smaller count would take the place of the published one.

    Args:
        spans: lengths and limits.
        partitions: those of the topic of predictions.
        now_ms: time of a monotonic clock.
    """

    def __init__(self, spans: Spans, partitions: Iterable[int], now_ms: int) -> None:
        self._spans = spans
        self._parts: defaultdict[int, dict[int, Part]] = defaultdict(dict)
        self._shown: defaultdict[tuple[int, int], dict[Group, Statistic]] = defaultdict(dict)
        self._changed: defaultdict[int, dict[Group, None]] = defaultdict(dict)
        self._touched: set[tuple[int, int]] = set()
        self._leftover: list[str] = []
        self._heard_ms = dict.fromkeys(partitions, now_ms)
        self._newest_ms: dict[int, int] = {}
        self._next_offset: dict[int, int] = {}
        self._floor_ms = 0

    def add(self, prediction: Prediction, partition: int, offset: int, broker_ms: int, now_ms: int) -> Outcome:
        """Counts a prediction; each partition's come in the order of their offsets.

        Args:
            prediction: its confidence and latency are finite.
            partition: where it stands.
            offset: where it stands.
            broker_ms: the broker's timestamp of it.
            now_ms: time of a monotonic clock.
        """
        self._heard_ms[partition] = now_ms
        if offset < self._next_offset.get(partition, 0):
            return Outcome.KNOWN
        self._next_offset[partition] = offset + 1
        time_ms = prediction.event_time_ms
        if time_ms > broker_ms + self._spans.ahead:
            return Outcome.AHEAD
        self._newest_ms[partition] = max(time_ms, self._newest_ms.get(partition, time_ms))
        if time_ms < self._floor_ms:
            return Outcome.LATE
        start_ms = _floored(time_ms, self._spans.shortest)
        part = self._parts[start_ms].setdefault(partition, Part())
        if offset < part.next_offset:
            return Outcome.KNOWN
        part.next_offset = offset + 1
        groups = part.add(prediction)
        self._touched.add((start_ms, partition))
        self._changed[start_ms].update(dict.fromkeys(groups))
        return Outcome.COUNTED if groups else Outcome.KNOWN

    def changes(self, now_ms: int) -> Changes:
        """Returns what has changed since the last call, and ends the windows that are over."""
        statistics = self._updated()
        parts = {
            self._name(start_ms, partition): self._parts[start_ms][partition].to_bytes()
            for start_ms, partition in sorted(self._touched)
        }
        self._touched.clear()
        forgotten = [*self._leftover, *self._ended(now_ms)]
        self._leftover = []
        return Changes(statistics, parts, self._progress(), forgotten)

    def shown(self) -> list[Statistic]:
        """Returns the statistics of all windows that are not over as of the last `changes`, newest first."""
        return [
            statistic
            for window in sorted(self._shown, reverse=True)
            for _, statistic in sorted(self._shown[window].items(), key=lambda item: item[0].to_fields())
        ]

    @property
    def next_offsets(self) -> Mapping[int, int]:
        """Partition → the offset up to which all has been counted."""
        return self._next_offset

    @classmethod
    def restored(cls, spans: Spans, partitions: Iterable[int], now_ms: int, kept: Mapping[str, bytes]) -> Self:
        """Returns windows that go on where `changes` has left off; `kept` is what has been kept of them.

        If windows had another shortest length, those that it has parts of are over: see `add`.
        """
        windows = cls(spans, partitions, now_ms)
        if (progress := kept.get(PROGRESS)) is not None:
            fields = json.loads(progress)
            windows._floor_ms = fields["floor_ms"]
            windows._next_offset = {int(number): offset for number, offset in fields["next_offsets"].items()}
            windows._newest_ms = {int(number): time_ms for number, time_ms in fields["newest_ms"].items()}
        for name in kept.keys() - {PROGRESS}:
            _, length, start, partition = name.split("/")
            if int(length) == spans.shortest and not windows._is_over(int(start)):
                windows._parts[int(start)][int(partition)] = Part.from_bytes(kept[name])
            else:
                windows._leftover.append(name)
                windows._raise_floor(int(start) + int(length))
        for start_ms in [start for start in windows._parts if windows._is_over(start)]:
            windows._leftover += windows._forget(start_ms)
        for start_ms, parts in windows._parts.items():
            windows._changed[start_ms] = dict.fromkeys(group for part in parts.values() for group in part.tallies)
        return windows

    def _updated(self) -> list[Statistic]:
        """Brings what is shown up to date and returns what is new in it."""
        stale: defaultdict[tuple[int, int], dict[Group, None]] = defaultdict(dict)
        for start_ms, groups in self._changed.items():
            for length in self._spans.lengths:
                stale[_floored(start_ms, length), length].update(groups)
        self._changed.clear()
        updated = []
        for (start_ms, length), groups in stale.items():
            shown = self._shown[start_ms, length]
            for group in groups:
                statistic = self._total(start_ms, length, group).statistic(start_ms, start_ms + length, group)
                shown[group] = statistic
                updated.append(statistic)
        return updated

    def _total(self, start_ms: int, length: int, group: Group) -> Tally:
        total = Tally()
        for start in range(start_ms, start_ms + length, self._spans.shortest):
            for part in self._parts.get(start, {}).values():
                if (tally := part.tallies.get(group)) is not None:
                    total.merge(tally)
        return total

    def _ended(self, now_ms: int) -> list[str]:
        """Forgets the windows that are over and returns the names of their parts."""
        heard = [number for number, at_ms in self._heard_ms.items() if now_ms - at_ms < self._spans.keep]
        if heard and all(number in self._newest_ms for number in heard):
            self._raise_floor(min(self._newest_ms[number] for number in heard) - self._spans.keep, up=False)
        over = [start_ms for start_ms in self._parts if self._is_over(start_ms)]
        for window in [window for window in self._shown if self._is_over(window[0])]:
            del self._shown[window]
        return [name for start_ms in over for name in self._forget(start_ms)]

    def _forget(self, start_ms: int) -> list[str]:
        return [self._name(start_ms, partition) for partition in self._parts.pop(start_ms)]

    def _is_over(self, start_ms: int) -> bool:
        return start_ms < self._floor_ms

    def _raise_floor(self, time_ms: int, *, up: bool = True) -> None:
        """Ends all windows before the bound of the longest windows that is next to a time."""
        floor_ms = -_floored(-time_ms, self._spans.longest) if up else _floored(time_ms, self._spans.longest)
        self._floor_ms = max(self._floor_ms, floor_ms)

    def _progress(self) -> bytes:
        fields = {"floor_ms": self._floor_ms, "next_offsets": self._next_offset, "newest_ms": self._newest_ms}
        return json.dumps(fields).encode()

    def _name(self, start_ms: int, partition: int) -> str:
        return f"{_PART}/{self._spans.shortest}/{start_ms}/{partition}"


def _floored(time_ms: int, length: int) -> int:
    return time_ms // length * length
