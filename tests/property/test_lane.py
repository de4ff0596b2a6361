"""Whatever the order, the crash points and the commit points: every record comes out exactly once.

A lane is driven from a log of records in random order, committed now and then, and crashed now and then; after a
crash a new lane starts from what was committed last, as the fusion consumer does.
"""

import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from pipeline.events.records import Modality
from pipeline.join import offset_map
from pipeline.join.lane import Lane
from pipeline.join.outcomes import Amended, Duplicate, Incomplete, Joined, JoinRules, Late, Outcome, Partial, Record
from pipeline.join.tracker import Position

RULES = JoinRules(window_ms=100, out_of_order_ms=20, idle_ms=10, min_modalities=2, amend_ms=60)
Place = tuple[Modality, int]


@dataclass(frozen=True)
class Answered:
    """An answer: of which records, and which of them had been answered before."""

    records: frozenset[Place]
    before: frozenset[Place]
    first_ms: int


@dataclass
class Broker:
    """Three partitions, and what is committed for them."""

    log: dict[Modality, list[tuple[int, bytes, int]]]
    committed: dict[Modality, tuple[int, str]] = field(default_factory=dict)
    outputs: list[tuple[Place, ...]] = field(default_factory=list)
    answers: list[Answered] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ends = {modality: rows[-1][0] + 3 if rows else 0 for modality, rows in self.log.items()}

    def positions(self) -> dict[Modality, Position]:
        return {
            m: offset_map.decode(self.committed[m][1], m.name, 0, self.committed[m][0])
            if m in self.committed
            else Position.at(0)
            for m in Modality
        }

    def expire(self, modality: Modality) -> None:
        """Retention deletes what is finished of a partition, though a restart would read some of it again."""
        low = self.positions()[modality].low
        self.log[modality] = [row for row in self.log[modality] if row[0] >= low]


class Worker:
    """The part of the fusion consumer that decides what is finished, without threads."""

    def __init__(self, broker: Broker, rules: JoinRules) -> None:
        self.broker = broker
        positions = broker.positions()
        self.lane = Lane(rules, positions)
        self.pending: list[tuple[Place, ...]] = []
        self.answers: list[Answered] = []
        self.in_model: list[Joined | Partial | Amended] = []
        self.unread = {m: [row for row in broker.log[m] if row[0] >= positions[m].replay_from] for m in Modality}

    def read(self, modality: Modality, count: int, now_ms: int) -> None:
        """Takes up to so many records of a partition, as one delivery; or is told of its end."""
        if not self.unread[modality]:
            self.lane.at_end(modality, self.broker.ends[modality], now_ms)
            return
        rows, self.unread[modality] = self.unread[modality][:count], self.unread[modality][count:]
        finished = self.lane.admit(modality, [offset for offset, _, _ in rows])
        records = [Record(modality, offset, key, time_ms) for offset, key, time_ms in rows]
        for record in records:
            if record.key == b"invalid" and record.offset not in finished:
                self._finish((record,))
        joinable = [record for record in records if record.key != b"invalid"]
        for outcome in self.lane.add(modality, joinable, finished):
            self._settle(outcome)

    def advance(self, now_ms: int) -> None:
        for outcome in self.lane.advance(now_ms):
            self._settle(outcome)

    def answer(self, count: int = sys.maxsize, *, fails: bool = False) -> None:
        asked, self.in_model = self.in_model[:count], self.in_model[count:]
        for outcome in asked:
            match outcome:
                case Amended(_, _, added, window) if window.is_withdrawn:
                    self._finish((added,))
                case Amended(_, records, added, _) if not fails:
                    self._answered(records, (added,))
                case Joined(_, records) | Partial(_, records, _) if not fails:
                    self._answered(records, records)
                case Joined(_, records):
                    self._give_up(records)
                case Partial(_, records, window):
                    self.lane.withdraw(window)
                    self._give_up(records)
                case Amended(_, _, added, window):
                    self.lane.withdraw(window)
                    self._give_up((added,))

    def commit(self) -> None:
        self.broker.outputs += self.pending
        self.broker.answers += self.answers
        self.pending, self.answers = [], []
        for modality, position in self.lane.take_changed().items():
            self.broker.committed[modality] = (position.low, offset_map.encode(position, modality.name, 0))

    def _settle(self, outcome: Outcome) -> None:
        match outcome:
            case Joined() | Partial() | Amended():
                self.in_model.append(outcome)
            case Incomplete(_, records):
                for record in records:
                    self._finish((record,))
            case Late(record, _) | Duplicate(record):
                self._finish((record,))

    def _answered(self, records: tuple[Record, ...], fresh: tuple[Record, ...]) -> None:
        """An answer's time is that of what was answered first, which an amendment takes from what it amends."""
        amended = [record for record in records if record not in fresh]
        first_ms = min(record.event_time_ms for record in amended or records)
        self.answers.append(Answered(places(records), places(amended), first_ms))
        self._finish(fresh)

    def _give_up(self, records: tuple[Record, ...]) -> None:
        for record in records:
            self._finish((record,))

    def _finish(self, records: tuple[Record, ...]) -> None:
        self.pending.append(tuple((record.modality, record.offset) for record in records))
        for record in records:
            self.lane.finish(record.modality, [record.offset])


def places(records: Iterable[Record]) -> frozenset[Place]:
    return frozenset((record.modality, record.offset) for record in records)


KEYS = st.sampled_from([b"a", b"a", b"b", b"c", b"invalid"])
# Gap between offsets, key, how much time goes on, and how late it is: within its window, or soon or long after.
ROWS = st.lists(
    st.tuples(st.integers(1, 3), KEYS, st.sampled_from([0, 5, 40, 150]), st.sampled_from([0, 0, 0, 30, 140, 150, 300])),
    min_size=4,
    max_size=15,
)


def partition(rows: list[tuple[int, bytes, int, int]]) -> list[tuple[int, bytes, int]]:
    offset, now_ms, log = -1, 300, []
    for gap, key, step_ms, late_ms in rows:
        offset += gap
        now_ms += step_ms
        log.append((offset, key, now_ms - late_ms))
    return log


READS = st.tuples(st.sampled_from(Modality), st.integers(1, 3))
WORDS = ["answer", "answer", "answer one", "fail", "fail one", "commit", "commit", "crash", "expire"]
ACTIONS = st.lists(st.one_of(READS, READS, st.sampled_from(WORDS)), min_size=25, max_size=100)


@given(ROWS, ROWS, ROWS, ACTIONS, st.sampled_from([1, 2]))
def test_every_record_comes_out_exactly_once(
    speech: list[tuple[int, bytes, int, int]],
    image: list[tuple[int, bytes, int, int]],
    sensor: list[tuple[int, bytes, int, int]],
    actions: list[tuple[Modality, int] | str],
    min_modalities: int,
) -> None:
    rules = replace(RULES, min_modalities=min_modalities)
    logs = (partition(speech), partition(image), partition(sensor))
    broker = Broker(dict(zip(Modality, logs, strict=True)))
    every = Counter((m, offset) for m in Modality for offset, _, _ in broker.log[m])
    worker = Worker(broker, rules)
    for now_ms, action in enumerate(actions):
        match action:
            case "answer":
                worker.answer()
            case "answer one":
                worker.answer(1)
            case "fail":
                worker.answer(fails=True)
            case "fail one":
                worker.answer(1, fails=True)
            case "commit":
                worker.commit()
            case "crash":
                worker = Worker(broker, rules)
            case "expire":
                broker.expire(Modality(now_ms % len(Modality)))
                worker = Worker(broker, rules)
            case (Modality() as modality, int(count)):
                worker.read(modality, count, now_ms)
                worker.advance(now_ms)
    _run_to_the_end(worker)
    written = Counter(place for output in broker.outputs for place in output)
    assert written == every
    assert all(not position.unfinished for position in broker.positions().values())
    last: dict[frozenset[Place], Answered] = {}
    for answer in broker.answers:
        if answer.before:
            amended = last.pop(answer.before)  # what was not answered so, or has been amended already, is not there
            assert answer.first_ms == amended.first_ms, "an amendment keeps the time of what it amends"
        last[answer.records] = answer


def _run_to_the_end(worker: Worker) -> None:
    now_ms = 1_000
    while any(worker.unread.values()):
        for modality in Modality:
            worker.read(modality, 2, now_ms)
        now_ms += 1
    for modality in Modality:
        worker.read(modality, 2, now_ms)
    worker.advance(now_ms + 10_000)
    worker.answer()
    worker.commit()


@given(st.permutations([(m, key) for m in Modality for key in (b"a", b"b", b"c")]))
def test_whole_triples_join_in_any_order(order: list[tuple[Modality, bytes]]) -> None:
    lane = Lane(RULES, dict.fromkeys(Modality, Position.at(0)))
    offsets = Counter[Modality]()
    joined = []
    for modality, key in order:
        offset = offsets[modality]
        offsets[modality] += 1
        lane.admit(modality, [offset])
        joined += lane.add(modality, [Record(modality, offset, key, 50)])
    assert sorted(outcome.key for outcome in joined if isinstance(outcome, Joined)) == [b"a", b"b", b"c"]
