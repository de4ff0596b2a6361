"""Whatever the order, the crash points and the commit points: every record comes out exactly once.

A lane is driven from a log of records in random order, committed now and then, and crashed now and then; after a
crash a new lane starts from what was committed last, as the fusion consumer does.
"""

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from pipeline.events.records import Modality
from pipeline.join import offset_map
from pipeline.join.lane import Lane
from pipeline.join.outcomes import Amended, Duplicate, Incomplete, Joined, JoinRules, Late, Outcome, Partial, Record
from pipeline.join.tracker import Position

RULES = JoinRules(window_ms=100, out_of_order_ms=20, idle_ms=10, min_modalities=2, amend_ms=60)
Place = tuple[Modality, int]


@dataclass
class Broker:
    """Three partitions, and what is committed for them."""

    log: dict[Modality, list[tuple[int, bytes, int]]]
    committed: dict[Modality, tuple[int, str]] = field(default_factory=dict)
    outputs: list[tuple[Place, ...]] = field(default_factory=list)
    answered: list[tuple[Place, ...]] = field(default_factory=list)
    amended: list[tuple[Place, ...]] = field(default_factory=list)

    def positions(self) -> dict[Modality, Position]:
        return {
            m: offset_map.decode(self.committed[m][1], m.name, 0, self.committed[m][0])
            if m in self.committed
            else Position.at(0)
            for m in Modality
        }


class Worker:
    """The part of the fusion consumer that decides what is finished, without threads."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        positions = broker.positions()
        self.lane = Lane(RULES, positions)
        self.pending: list[tuple[Place, ...]] = []
        self.in_model: list[Joined | Partial | Amended] = []
        self.unread = {m: [row for row in broker.log[m] if row[0] >= positions[m].replay_from] for m in Modality}

    def read(self, modality: Modality, count: int, now_ms: int) -> None:
        """Takes up to so many records of a partition, as one delivery; or is told of its end."""
        if not self.unread[modality]:
            end = self.broker.log[modality][-1][0] + 3 if self.broker.log[modality] else 0
            self.lane.at_end(modality, end, now_ms)
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

    def answer(self, *, fails: bool = False) -> None:
        while self.in_model:
            match self.in_model.pop(0):
                case Amended(_, records, added):
                    if not self.lane.is_withdrawn(records) and not fails:
                        self.broker.amended.append(tuple((r.modality, r.offset) for r in records if r is not added))
                    self._finish((added,))
                case Joined(_, records) | Partial(_, records) if not fails:
                    self.broker.answered.append(tuple((r.modality, r.offset) for r in records))
                    self._finish(records)
                case Joined(_, records) | Partial(_, records):
                    self.lane.withdraw(records)
                    for record in records:
                        self._finish((record,))

    def commit(self) -> None:
        self.broker.outputs += self.pending
        self.pending = []
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

    def _finish(self, records: tuple[Record, ...]) -> None:
        self.pending.append(tuple((record.modality, record.offset) for record in records))
        for record in records:
            self.lane.finish(record.modality, [record.offset])


KEYS = st.sampled_from([b"a", b"b", b"c", b"d", b"invalid"])
ROWS = st.lists(st.tuples(st.integers(1, 3), KEYS, st.integers(0, 400)), max_size=25)


def partition(rows: list[tuple[int, bytes, int]]) -> list[tuple[int, bytes, int]]:
    offset, log = -1, []
    for gap, key, time_ms in rows:
        offset += gap
        log.append((offset, key, time_ms))
    return log


READS = st.tuples(st.sampled_from(Modality), st.integers(1, 5))
ACTIONS = st.lists(st.one_of(READS, st.sampled_from(["advance", "answer", "fail", "commit", "crash"])), max_size=120)


@given(ROWS, ROWS, ROWS, ACTIONS)
def test_every_record_comes_out_exactly_once(
    speech: list[tuple[int, bytes, int]],
    image: list[tuple[int, bytes, int]],
    sensor: list[tuple[int, bytes, int]],
    actions: list[tuple[Modality, int] | str],
) -> None:
    logs = (partition(speech), partition(image), partition(sensor))
    broker = Broker(dict(zip(Modality, logs, strict=True)))
    worker = Worker(broker)
    for now_ms, action in enumerate(actions):
        match action:
            case "advance":
                worker.advance(now_ms)
            case "answer":
                worker.answer()
            case "fail":
                worker.answer(fails=True)
            case "commit":
                worker.commit()
            case "crash":
                worker = Worker(broker)
            case (Modality() as modality, int(count)):
                worker.read(modality, count, now_ms)
    _run_to_the_end(worker)
    written = Counter(place for output in broker.outputs for place in output)
    assert written == Counter((m, offset) for m in Modality for offset, _, _ in broker.log[m])
    assert all(not position.unfinished for position in broker.positions().values())
    assert set(broker.amended) <= set(broker.answered), "only what was answered is amended"


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
