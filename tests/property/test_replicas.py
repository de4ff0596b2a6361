"""Replicas come, go, crash, stand still and come back, commits fail or end unknown: every record comes out once.

The real fusion consumer is driven against the in-memory broker. At any time, what is accounted for is exactly what the
committed positions and maps call finished; in the end that is everything.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from unittest import mock

import pytest
import structlog
from hypothesis import seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pipeline.events.records import Modality, SourceOffset
from pipeline.join import offset_map
from pipeline.kafka.contract import TopicPartition
from tests.conftest import SEED
from tests.support.events import StubPredictor, encoded
from tests.support.fusion import SETTINGS, Beside, Replica, accounted, expected, replica
from tests.support.memory import Ending, MemoryBroker
from tests.support.stepped import Process, SteppedCommitter, SteppedInference

PARTITIONS = 3
NAMES = ("a", "b", "c")
NOW_MS = 1_000_000
MANY_STEPS = 300
STEPPED = Beside(SteppedInference, SteppedCommitter)
NUMBERS = st.integers(0, len(NAMES) - 1)


class Replicas(RuleBasedStateMachine):
    """Schedules of what can happen to a group of replicas."""

    def __init__(self) -> None:
        super().__init__()
        self.broker = MemoryBroker(PARTITIONS)
        self.alive: list[Process] = []
        self.dead: dict[str, Replica] = {}
        self.now_ms = 0
        self.triples = 0
        self.checked = -1
        self.around = ExitStack()
        self.around.enter_context(mock.patch("consumers.fusion.monotonic_ms", self._clock_ms))

    @initialize(replicas=st.integers(1, len(NAMES)), triples=st.integers(0, 6))
    def begin(self, replicas: int, triples: int) -> None:
        for name in NAMES[:replicas]:
            self._start(name)
        self.publish_triples(triples)
        self.everybody_works(3)

    # What producers do.

    @rule(triples=st.integers(1, 4))
    def publish_triples(self, triples: int) -> None:
        for _ in range(triples):
            self.triples += 1
            self._publish(b"t%d" % self.triples, Modality, 0)

    @rule(
        key=st.sampled_from([b"a", b"b", b"c", b"d"]),
        modalities=st.sets(st.sampled_from(list(Modality)), min_size=1),
        late_ms=st.sampled_from([0, 0, 0, 600, 5_000]),
    )
    def publish(self, key: bytes, modalities: set[Modality], late_ms: int) -> None:
        self._publish(key, sorted(modalities), late_ms)

    @rule(modality=st.sampled_from(list(Modality)), partition=st.integers(0, PARTITIONS - 1))
    def publish_poison(self, modality: Modality, partition: int) -> None:
        self.broker.publish(SETTINGS.topics.source(modality), b"k", b"poison", partition)

    # What replicas do.

    @rule(rounds=st.integers(1, 4))
    def everybody_works(self, rounds: int) -> None:
        """So long that transactions end and rebalances come to theirs."""
        for _ in range(rounds):
            for process in self.alive:
                if not process.stands_still:
                    process.replica.step()
                    process.committer.advance()

    @rule(number=NUMBERS, steps=st.integers(1, 3))
    def one_works(self, number: int, steps: int) -> None:
        """Its transaction gets nowhere meanwhile, unless it waits for it."""
        if (process := self._process(number)) and not process.stands_still:
            for _ in range(steps):
                process.replica.step()

    @rule(number=NUMBERS)
    def a_commit_gets_on(self, number: int) -> None:
        if (process := self._process(number)) and not process.stands_still:
            process.committer.advance()

    @rule(number=NUMBERS, held=st.booleans())
    def a_model_is_slow(self, number: int, held: bool) -> None:
        if process := self._process(number):
            process.inference.is_held = held

    @rule(number=NUMBERS)
    def amendments_are_given_up(self, number: int) -> None:
        """Their memory, or their room in the offset maps, is needed."""
        if process := self._process(number):
            for lane in process.replica.lanes.values():
                lane.give_up_amendments()

    @rule(passed_ms=st.sampled_from([1, 100, 1_100, 12_000]))
    def time_passes(self, passed_ms: int) -> None:
        self.now_ms += passed_ms

    # What happens to them.

    @precondition(lambda self: len(self.broker.endings) < 3)
    @rule(ending=st.sampled_from(Ending))
    def the_broker_decides(self, ending: Ending) -> None:
        """How the next transaction ends."""
        self.broker.endings.append(ending)

    @precondition(lambda self: len(self.alive) < len(NAMES))
    @rule(number=NUMBERS)
    def a_replica_starts(self, number: int) -> None:
        """Under a name that nobody has; a dead one's place is taken over."""
        taken = {process.name for process in self.alive}
        free = [name for name in NAMES if name not in taken]
        self._start(free[number % len(free)])

    @rule(number=NUMBERS, session_ends=st.booleans())
    def one_stands_still(self, number: int, session_ends: bool) -> None:
        if process := self._process(number):
            process.stands_still = True
            if session_ends:
                self.broker.remove(process.replica.source)

    @precondition(lambda self: any(process.stands_still for process in self.alive))
    @rule(commit_steps=st.integers(0, 2))
    def one_goes_on(self, commit_steps: int) -> None:
        """Its commit thread may get on before its main loop learns anything."""
        process = next(process for process in self.alive if process.stands_still)
        process.stands_still = False
        for _ in range(commit_steps):
            process.committer.advance()

    # What of the above has to meet to hurt; chance alone brings it about too seldom.

    @precondition(lambda self: len(self.alive) > 1)
    @rule(number=NUMBERS, sent=st.integers(0, 1), rounds=st.integers(1, 4), commit_steps=st.integers(0, 2))
    def a_zombie_comes_back(self, number: int, sent: int, rounds: int, commit_steps: int) -> None:
        """It stands still within a commit until its lanes are somebody else's, who has finished their records."""
        process = self.alive[number % len(self.alive)]
        process.stands_still = False
        self.publish_triples(3)
        self.one_works(number, 2)
        for _ in range(sent):
            process.committer.advance()
        self.one_stands_still(number, session_ends=True)
        self.everybody_works(rounds)
        process.stands_still = False
        for _ in range(commit_steps):
            process.committer.advance()
        self.everybody_works(1)

    @rule(number=NUMBERS, ending=st.sampled_from(Ending), rounds=st.integers(1, 3))
    def a_commit_fails_while_the_model_is_busy(self, number: int, ending: Ending, rounds: int) -> None:
        """The answers come when their records have been read again."""
        self.publish_triples(2)
        self.one_works(number, 1)
        self.a_model_is_slow(number, held=True)
        self.publish_triples(2)
        self.broker.endings.appendleft(ending)
        self.everybody_works(rounds)
        self.a_model_is_slow(number, held=False)
        self.everybody_works(rounds)

    @rule(number=NUMBERS, trouble=st.sampled_from(["crash", "stop", "buried"]))
    def trouble_comes(self, number: int, trouble: str) -> None:
        process = self._process(number)
        match trouble:
            case "buried":
                self._bury()
            case _ if process is None:
                pass
            case "crash":
                self._crash(process)
            case "stop":
                self.alive.remove(process)
                stop = threading.Event()
                stop.set()
                process.replica.consumer.run(stop)

    @invariant()
    def finished_is_what_is_accounted_for(self) -> None:
        if self.checked == self.broker.transactions:
            return
        self.checked = self.broker.transactions
        counts = accounted(self.broker)
        finished = set()
        for where, committed in self.broker.committed.items():
            position = offset_map.decode(committed.metadata, where.topic, where.partition, committed.offset)
            open_ = set(position.unfinished)
            finished |= {SourceOffset(*where_(where), n) for n in range(position.high) if n not in open_}
        assert all(count == 1 for count in counts.values()), f"doubled: {counts - expected(self.broker)}"
        assert counts.keys() == finished

    def teardown(self) -> None:
        """Everybody crashes; one replica alone brings it all to an end."""
        try:
            for process in tuple(self.alive):
                self._crash(process)
            self._bury()
            self.broker.endings.clear()
            last = replica(self.broker, beside=STEPPED)
            for _ in range(MANY_STEPS):
                last.step()
                assert isinstance(last.committer, SteppedCommitter)
                last.committer.advance()
                last.committer.advance()
                self.now_ms += 500
                if accounted_total(self.broker) >= expected(self.broker).total() and not last.committer.busy:
                    break
            last.crash()
            self.finished_is_what_is_accounted_for()
            assert accounted(self.broker) == expected(self.broker)
        finally:
            self.around.close()

    def _clock_ms(self) -> int:
        return self.now_ms

    def _process(self, number: int) -> Process | None:
        return self.alive[number % len(self.alive)] if self.alive else None

    def _start(self, name: str) -> None:
        before = self.dead.pop(name, None)
        if before is not None:
            self._fence(before)
        place = before.source if before else None
        made = replica(self.broker, StubPredictor(), beside=STEPPED, instead_of=place)
        self.alive.append(Process(name, made))

    def _publish(self, key: bytes, modalities: Iterable[Modality], late_ms: int) -> None:
        for modality in modalities:
            value = encoded(modality, NOW_MS + self.now_ms - late_ms)
            self.broker.publish(SETTINGS.topics.source(modality), key, value)

    def _crash(self, process: Process) -> None:
        """Without a word: what it has sent stays open, and the group waits for its name."""
        self.alive.remove(process)
        process.replica.kill()
        self.dead[process.name] = process.replica

    def _bury(self) -> None:
        """The sessions of the dead end: their lanes go to the others."""
        for one in self.dead.values():
            self.broker.remove(one.source)
        self.dead.clear()

    def _fence(self, before: Replica) -> None:
        """Taking its transactional id aborts what it left open."""
        assert isinstance(before.committer, SteppedCommitter)
        self.broker.open.pop(before.committer.sink, None)


def where_(where: TopicPartition) -> tuple[str, int]:
    return where.topic, where.partition


def accounted_total(broker: MemoryBroker) -> int:
    return accounted(broker).total()


@pytest.fixture
def quiet() -> Iterator[None]:
    """Thousands of aborted transactions need not be told."""
    before = structlog.get_config()
    structlog.configure(processors=[drop])
    yield
    structlog.configure(**before)


def drop(*_: object) -> dict[str, object]:
    raise structlog.DropEvent


@pytest.mark.usefixtures("quiet")
@pytest.mark.timeout(3_600)
def test_every_schedule_balances() -> None:
    run_state_machine_as_test(seed(SEED)(Replicas), settings=settings(stateful_step_count=30))
