"""How many cores there are to use."""

from pathlib import Path

import pytest

from pipeline.model.cores import cores

HERE = cores(Path("there-is-none"))


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("max 100000", HERE),
        ("100000 100000", 1),
        ("20000 100000", 1),
        (f"{HERE * 100_000} 100000", HERE),
        ("6400000 100000", min(64, HERE)),
    ],
)
def test_a_containers_quota_counts(tmp_path: Path, quota: str, expected: int) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(f"{quota}\n")
    assert cores(file) == expected


def test_without_a_quota_it_is_the_affinity() -> None:
    assert HERE >= 1
