"""When a batch leaves."""

from pipeline.model.batcher import Batcher


def batcher(*items: tuple[int, str]) -> Batcher[str]:
    batcher: Batcher[str] = Batcher(batch_size=3, max_wait_ms=10)
    for now_ms, item in items:
        batcher.add([item], now_ms)
    return batcher


def test_a_full_batch_leaves_at_once_and_the_rest_stays() -> None:
    waiting = batcher((0, "a"), (0, "b"), (0, "c"), (0, "d"))
    assert waiting.take(now_ms=0) == ["a", "b", "c"]
    assert len(waiting) == 1
    assert waiting.take(now_ms=0) == []


def test_a_part_leaves_when_its_oldest_has_waited() -> None:
    waiting = batcher((5, "a"), (9, "b"))
    assert waiting.take(now_ms=14) == []
    assert waiting.take(now_ms=15) == ["a", "b"]


def test_it_tells_whether_a_whole_batch_waits() -> None:
    assert not batcher((0, "a"), (0, "b")).has_whole_batch
    assert batcher((0, "a"), (0, "b"), (0, "c")).has_whole_batch


def test_nothing_leaves_when_nothing_waits() -> None:
    assert batcher().take(now_ms=10**9) == []


def test_clear_drops_what_waits() -> None:
    waiting = batcher((0, "a"))
    waiting.clear()
    assert len(waiting) == 0
    assert waiting.take(now_ms=10**9) == []
