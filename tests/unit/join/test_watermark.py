"""The lane's watermark: the clock is a number in these tests."""

from pipeline.events.records import Modality
from pipeline.join.watermark import Lead, Watermark

SPEECH, IMAGE, SENSOR = Modality


def watermark_of(speech: int | None, image: int | None, sensor: int | None) -> Watermark:
    watermark = Watermark(out_of_order_ms=100, idle_ms=1_000)
    for modality, time_ms in zip(Modality, (speech, image, sensor), strict=True):
        if time_ms is not None:
            watermark.observe(modality, time_ms, time_ms)
    return watermark


def test_it_is_the_slowest_partitions() -> None:
    assert watermark_of(5_000, 3_000, 9_000).advance(now_ms=0) == 2_900


def test_a_partition_that_has_shown_nothing_holds_it() -> None:
    assert watermark_of(5_000, None, 9_000).advance(now_ms=10**9) is None


def test_silence_alone_never_moves_it() -> None:
    watermark = watermark_of(5_000, 3_000, 9_000)
    assert watermark.advance(now_ms=10**9) == 2_900


def test_a_partition_at_its_end_is_left_out_after_idle_ms() -> None:
    watermark = watermark_of(5_000, 3_000, 9_000)
    watermark.at_end(IMAGE, now_ms=100)
    assert watermark.advance(now_ms=1_099) == 2_900
    assert watermark.advance(now_ms=1_100) == 4_900


def test_a_new_record_ends_idleness() -> None:
    watermark = watermark_of(5_000, 3_000, 9_000)
    watermark.at_end(IMAGE, now_ms=0)
    watermark.observe(IMAGE, 3_500, 3_500)
    assert watermark.advance(now_ms=5_000) == 3_400


def test_records_without_an_event_time_do_not_end_idleness_for_good() -> None:
    """A producer whose every record is refused must not hold the lane for ever."""
    watermark = watermark_of(5_000, 3_000, 9_000)
    watermark.at_end(IMAGE, now_ms=0)
    for now_ms in range(100, 2_000, 100):
        watermark.not_at_end(IMAGE)
        assert watermark.advance(now_ms) == (2_900 if now_ms <= 1_000 else 4_900), "it may hold more"
        watermark.at_end(IMAGE, now_ms + 1)
        watermark.advance(now_ms + 1)
    watermark.observe(IMAGE, 5_500, 5_500)
    watermark.at_end(IMAGE, now_ms=5_000)
    watermark.observe(SPEECH, 20_000, 20_000)
    watermark.observe(SENSOR, 20_000, 20_000)
    assert watermark.advance(now_ms=5_999) == 5_400


def test_a_paused_partition_is_not_at_its_end() -> None:
    watermark = watermark_of(5_000, 3_000, 9_000)
    watermark.at_end(IMAGE, now_ms=0)
    watermark.not_at_end(IMAGE)
    assert watermark.advance(now_ms=5_000) == 2_900


def test_it_never_goes_back() -> None:
    watermark = watermark_of(5_000, 3_000, 9_000)
    watermark.at_end(IMAGE, now_ms=0)
    assert watermark.advance(now_ms=1_000) == 4_900
    watermark.observe(IMAGE, 3_100, 3_100)
    assert watermark.advance(now_ms=1_001) == 4_900


def test_with_all_at_their_ends_it_moves_on_with_the_clock() -> None:
    watermark = watermark_of(5_000, 3_000, 9_000)
    for modality, now_ms in zip(Modality, (0, 50, 200), strict=True):
        watermark.at_end(modality, now_ms)
    assert watermark.advance(now_ms=1_199) == 8_900
    assert watermark.advance(now_ms=1_200) == 9_900
    assert watermark.advance(now_ms=4_200) == 12_900


def test_an_empty_lane_has_none() -> None:
    watermark = watermark_of(None, None, None)
    for modality in Modality:
        watermark.at_end(modality, now_ms=0)
    assert watermark.advance(now_ms=10**6) is None


def test_the_slowest_is_the_one_whose_newest_time_is_the_oldest() -> None:
    watermark = watermark_of(5_000, 3_000, 9_000)
    assert watermark.slowest_ms(now_ms=0) == 3_000


def test_a_partition_that_has_shown_nothing_stands_where_the_lane_began() -> None:
    watermark = watermark_of(5_000, None, 9_000)
    assert watermark.slowest_ms(now_ms=0) == 5_000


def test_the_slowest_is_not_one_that_has_been_at_its_end_for_long() -> None:
    watermark = watermark_of(5_000, 3_000, 9_000)
    watermark.at_end(IMAGE, now_ms=0)
    assert watermark.slowest_ms(now_ms=0) == 3_000
    assert watermark.slowest_ms(now_ms=1_000) == 5_000


def test_there_is_no_slowest_when_all_are_at_their_ends() -> None:
    watermark = watermark_of(5_000, 3_000, 9_000)
    for modality in Modality:
        watermark.at_end(modality, now_ms=0)
    assert watermark.slowest_ms(now_ms=1_000) is None


def test_a_lead_is_what_came_beyond_a_time() -> None:
    lead = Lead()
    assert lead.beyond(0) == 0
    for time_ms, payload_bytes in ((1_000, 1), (1_000, 10), (2_000, 100), (3_000, 1_000)):
        lead.note(time_ms, payload_bytes)
    assert lead.beyond(999) == 1_111
    assert lead.beyond(1_000) == 1_100
    assert lead.beyond(2_999) == 1_000
    assert lead.beyond(0) == 1_000, "what has been passed counts no more"
    assert lead.beyond(3_000) == 0
