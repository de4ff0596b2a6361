"""The plan of a replay: what is sent, when, and what it says must come of it."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.digits import replay as digits_replay
from pipeline.events.codec import Codec
from pipeline.events.records import Modality, Reason
from pipeline.settings import TopicSettings
from producers import digits
from producers.digits import DUPLICATE_DELAY_MS, Plan, Planned, Replay, Summary, label_of, moments, send
from producers.errors import InvalidInput
from tests.unit.producers.triples import made_up

START_MS = 1_800_000_000_000
TOPICS = TopicSettings(prefix="t-")
CODEC = Codec()


class FakeClock:
    """A clock that waiting moves on, and publishing a little."""

    def __init__(self, publish_ms: int = 0) -> None:
        self.now_ms = START_MS
        self.publish_ms = publish_ms
        self.sent: list[tuple[int, bytes | None]] = []

    def __call__(self) -> int:
        return self.now_ms

    def wait(self, seconds: float) -> None:
        assert seconds > 0
        self.now_ms += round(seconds * 1_000)

    def publish(self, output: object) -> None:
        self.sent.append((self.now_ms, getattr(output, "key", None)))
        self.now_ms += self.publish_ms


def planned(replay: Replay, start_ms: int = START_MS) -> tuple[list[Planned], Summary]:
    paced = moments(replay.rate or 100.0, lambda: start_ms)
    plan = Plan(replay, made_up(replay.count), paced, TOPICS, CODEC)
    return list(plan), plan.summary


def test_three_events_of_a_digit_meet_under_one_key_with_its_label() -> None:
    records, summary = planned(Replay("r", count=12, rate=10))
    assert summary == Summary(records=36, complete=12)
    assert summary.predictions == 12
    for n, triple in enumerate(made_up(12)):
        own = [record.output for record in records if record.output.key == f"digit-r-{n}".encode()]
        assert {output.topic for output in own} == {"t-speech", "t-image", "t-sensor"}
        assert {label_of(output.headers) for output in own} == {triple.label}
        for output in own:
            event = CODEC.decode_event(Modality[output.topic.removeprefix("t-").upper()], output.value)
            assert event.event_time_ms == START_MS + 100 * n
            assert event.source == "digits r"


def test_encodings_vary_and_lose_nothing_that_matters() -> None:
    records, _ = planned(Replay("r", count=60))
    seen: Counter[str] = Counter()
    for record in records:
        modality = Modality[record.output.topic.removeprefix("t-").upper()]
        event = CODEC.decode_event(modality, record.output.value)
        seen[str(getattr(event, "encoding", "FLOAT32"))] += 1
    assert set(seen) == {"WAV", "FLAC", "PCM_S16LE", "PNG", "JPEG", "FLOAT32"}
    assert min(seen.values()) > 5


def test_the_same_options_and_start_give_the_same_plan() -> None:
    replay = Replay("r", 40, missing=0.2, duplicates=0.2, shuffle_ms=50, garbage=9, seed=3)
    assert planned(replay) == planned(replay)
    other = Replay("r", 40, missing=0.2, duplicates=0.2, shuffle_ms=50, garbage=9, seed=4)
    assert planned(replay) != planned(other)


@settings(deadline=None, max_examples=60)
@given(
    count=st.integers(1, 30),
    missing=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    duplicates=st.sampled_from([0.0, 0.3, 1.0]),
    shuffle_ms=st.sampled_from([0, 1, 400]),
    garbage=st.integers(0, 40),
    seed=st.integers(0, 9),
)
def test_the_summary_accounts_for_every_record(
    count: int, missing: float, duplicates: float, shuffle_ms: int, garbage: int, seed: int
) -> None:
    replay = Replay("r", count, 50.0, missing, duplicates, shuffle_ms, garbage, seed)
    records, summary = planned(replay)
    assert [r.send_at_ms for r in records] == sorted(r.send_at_ms for r in records)
    assert len(records) == summary.records

    bad = [r for r in records if any(name == "garbage" for name, _ in r.output.headers)]
    good = [r for r in records if label_of(r.output.headers) is not None]
    assert len(bad) == garbage
    assert len(bad) + len(good) == len(records)

    times = Counter((r.output.key, r.output.topic) for r in good)
    sizes = Counter(Counter(key for key, _ in times).values())
    assert (summary.complete, summary.partial, summary.alone) == (sizes[3], sizes[2], sizes[1])
    assert summary.missing == 3 * count - sum(1 for key, _ in times if key and key.startswith(b"digit"))
    letters = dict(summary.dead_letters)
    assert letters.pop(Reason.DUPLICATE, 0) == sum(times.values()) - len(times)
    assert letters.pop(Reason.INCOMPLETE, 0) == summary.alone
    assert sum(letters.values()) == garbage
    assert set(letters) <= {Reason.UNDECODABLE, Reason.INVALID, Reason.CLOCK_SKEW}


def test_all_ends_in_predictions_and_dead_letters() -> None:
    records, summary = planned(Replay("r", 200, 100.0, 0.2, 0.1, 100, 16))
    used = 3 * summary.complete + 2 * summary.partial
    assert used + sum(summary.dead_letters.values()) == len(records)


def test_shuffled_events_come_late_and_never_early() -> None:
    records, _ = planned(Replay("r", 100, rate=100.0, shuffle_ms=300))
    late = []
    for record in records:
        modality = Modality[record.output.topic.removeprefix("t-").upper()]
        late.append(record.send_at_ms - CODEC.decode_event(modality, record.output.value).event_time_ms)
    assert 0 <= min(late) < 50
    assert 250 < max(late) <= 300
    keys = [record.output.key for record in records]
    assert keys != sorted(keys, key=lambda key: int((key or b"").rsplit(b"-", 1)[1]))


def test_a_second_copy_follows_the_first() -> None:
    records, summary = planned(Replay("r", 50, duplicates=1.0, shuffle_ms=20))
    assert summary.dead_letters == {Reason.DUPLICATE: 150}
    sent: dict[object, list[int]] = {}
    for record in records:
        sent.setdefault((record.output.key, record.output.topic), []).append(record.send_at_ms)
    for first, second in sent.values():
        assert 0 < second - first <= DUPLICATE_DELAY_MS


def test_garbage_is_spread_and_of_all_kinds() -> None:
    records, _ = planned(Replay("r", 160, rate=100.0, garbage=16))
    bad = [record for record in records if record.output.headers[0][0] == "garbage"]
    assert len({record.output.headers for record in bad}) == 16
    gaps = [later.send_at_ms - earlier.send_at_ms for earlier, later in pairwise(bad)]
    assert set(gaps) == {100}


def test_a_paced_plan_is_sent_on_time() -> None:
    clock = FakeClock()
    replay = Replay("r", count=5, rate=4)
    send(Plan(replay, made_up(5), moments(4, clock), TOPICS, CODEC), clock.publish, clock, clock.wait)
    assert [at - START_MS for at, _ in clock.sent] == [250 * n for n in range(5) for _ in range(3)]


def test_a_plan_that_falls_behind_is_sent_at_once() -> None:
    clock = FakeClock(publish_ms=100)
    replay = Replay("r", count=5, rate=100)
    send(Plan(replay, made_up(5), moments(100, clock), TOPICS, CODEC), clock.publish, clock, clock.wait)
    assert [at - START_MS for at, _ in clock.sent] == [100 * n for n in range(15)]


def test_as_fast_as_possible_takes_the_clocks_time_and_never_waits() -> None:
    clock = FakeClock(publish_ms=7)

    def no_wait(seconds: float) -> None:
        raise AssertionError(f"waited {seconds} s")

    replay = Replay("r", count=20)
    plan = Plan(replay, made_up(20), moments(0, clock), TOPICS, CODEC)
    ages = []
    for record in plan:
        send([record], clock.publish, clock, no_wait)
        modality = Modality[record.output.topic.removeprefix("t-").upper()]
        ages.append(clock.sent[-1][0] - CODEC.decode_event(modality, record.output.value).event_time_ms)
    assert set(ages) == {0, 7, 14}


def test_a_plan_is_taken_lazily() -> None:
    drawn = 0

    def counted() -> Iterator[digits_replay.Triple]:
        nonlocal drawn
        for triple in made_up(1_000):
            drawn += 1
            yield triple

    plan = Plan(Replay("r", 1_000, rate=10), counted(), moments(10, lambda: START_MS), TOPICS, CODEC)
    list(islice(plan, 30))
    assert drawn <= 11


@pytest.mark.parametrize(
    "options",
    [
        {"missing": 1.5},
        {"duplicates": -0.1},
        {"count": 0},
        {"rate": -1.0},
        {"rate": float("nan")},
        {"shuffle_ms": -1},
        {"garbage": -1},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InvalidInput):
        Replay(**{"run": "r", "count": 1, **options})  # type: ignore[arg-type]


def test_the_claims_are_the_replays() -> None:
    assert digits.CHANNELS == digits_replay.CHANNELS
    assert digits.PEN_RATE == digits_replay.PEN_RATE


def test_other_records_have_no_label() -> None:
    assert label_of((("trace", b"1"),)) is None
