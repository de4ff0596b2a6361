"""The attended clock: time passes only while somebody looks."""

from pipeline.telemetry.clock import LONGEST_GAP_MS, AttendedClock


def test_a_long_gap_counts_as_a_short_one() -> None:
    now_ms = 1_000
    clock = AttendedClock(lambda: now_ms)
    begin_ms = clock.look()
    now_ms += 150
    assert clock.look() == begin_ms + 150
    now_ms += 30_000
    assert clock.look() == begin_ms + 150 + LONGEST_GAP_MS
    now_ms += 7
    assert clock.look() == begin_ms + 157 + LONGEST_GAP_MS
