import pytest

from consumers.board.sampling import Sampler

CASES = [
    # what,                           (second, items that came) ...,                        shown
    ("a few are all shown",           [(0.0, "abc")],                                       ["abc"]),
    ("of many, the newest",           [(0.0, "abcdefgh")],                                  ["efgh"]),
    ("and then as many as time lets", [(0.0, "abcdefgh"), (1.0, "ijkl"), (1.2, "m")],       ["efgh", "kl", ""]),
    ("quiet times add up to a burst", [(0.0, "abcd"), (60.0, "efghijkl")],                  ["abcd", "ijkl"]),
    ("nothing costs nothing",         [(0.0, "abcd"), (0.2, ""), (0.4, ""), (0.6, "e")],    ["abcd", "", "", "e"]),
]  # fmt: skip


@pytest.mark.parametrize(("what", "came", "shown"), CASES, ids=[case[0] for case in CASES])
def test_at_most_so_many_are_shown(what: str, came: list[tuple[float, str]], shown: list[str]) -> None:
    sampler = Sampler(per_second=2, burst=4)
    assert ["".join(sampler.choose(items, second)) for second, items in came] == shown
