from collections.abc import Sequence
from itertools import groupby

import pytest

from pipeline.model.bundle import Bundle
from pipeline.model.runtime import Pending, Runtime
from pipeline.model.samples import Sample
from pipeline.model.speed import flops_per_sample, known_peak, measure, random_bundle


@pytest.mark.parametrize(
    ("card", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 PCIe", 756.5),
        ("NVIDIA H100 NVL", 835.5),
        ("NVIDIA H200", 989.4),
        ("NVIDIA H200 NVL", 835.5),
        ("NVIDIA GH200 480GB", 989.4),
        ("NVIDIA A100-SXM4-80GB", 311.9),
        ("NVIDIA A10G", 70.0),
        ("NVIDIA A10", 125.0),
        ("NVIDIA L4", 121.0),
        ("NVIDIA L40S", 362.1),
        ("Tesla T4", 65.0),
        ("Tesla V100-SXM2-16GB", 125.0),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("NVIDIA T400", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
        ("NVIDIA A100-SXM4-40GB MIG 3g.20gb", None),
    ],
)
def test_cards_are_told_apart_by_whole_words(card: str, peak: float | None) -> None:
    assert known_peak(card) == peak


def test_each_batch_size_is_measured_alone_and_from_the_host(bundle: Bundle) -> None:
    speeds = list(measure(Runtime(bundle, device="cpu", batch_size=8, threads=2), [1, 5, 8], seconds=0.01))
    assert [speed.batch for speed in speeds] == [1, 5, 8]
    for speed in speeds:
        assert min(speed.alone, speed.whole, speed.memory_mb) > 0
        assert speed.teraflops == pytest.approx(speed.alone * flops_per_sample(bundle.network) / 1e12)
        assert speed.batch_ms == pytest.approx(speed.batch / speed.alone * 1_000)


def test_the_network_alone_computes_what_came_last(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    submit, compute = Runtime.submit, Runtime.compute

    def noted_submit(runtime: Runtime, samples: Sequence[Sample]) -> Pending:
        calls.append(f"submit {len(samples)}")
        return submit(runtime, samples)

    def noted_compute(runtime: Runtime, rows: int, times: int) -> None:
        calls.append(f"compute {rows}")
        compute(runtime, rows, times)

    monkeypatch.setattr(Runtime, "submit", noted_submit)
    monkeypatch.setattr(Runtime, "compute", noted_compute)
    list(measure(Runtime(bundle, device="cpu", batch_size=8, threads=1), [8, 2], seconds=0.001))
    assert [call for call, _ in groupby(calls)] == ["submit 8", "compute 8", "submit 2", "compute 2"]


def test_base_takes_as_many_operations_as_its_last_layer_leaves_of_the_design() -> None:
    assert flops_per_sample(random_bundle("base").network) == pytest.approx(16.8e9 - 2.3e9, rel=0.02)


def test_more_rows_than_the_batch_size_are_refused(bundle: Bundle) -> None:
    with pytest.raises(ValueError, match="9 rows are more than the batch size 8"):
        Runtime(bundle, device="cpu", batch_size=8).compute(9, 1)
