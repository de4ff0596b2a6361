"""The benchmarks' stub model answers what plain Python answers."""

import random

from tests.bench.stub import mean_bytes


def test_the_mean_is_over_all_bytes_of_a_triple() -> None:
    draw = random.Random(1)
    triples = [[draw.randbytes(draw.randint(0, 300)) for _ in range(3)] + [b"x"] for _ in range(64)]
    assert mean_bytes(triples).tolist() == [sum(b"".join(triple)) // len(b"".join(triple)) for triple in triples]


def test_large_payloads_do_not_overflow() -> None:
    assert mean_bytes([[b"\xff" * (1 << 20)] * 3, [b"\x01"]]).tolist() == [255, 1]
