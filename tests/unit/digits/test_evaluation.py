from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline.digits import heldout
from pipeline.digits.clips import LABELS
from pipeline.digits.data import Material
from pipeline.digits.evaluation import Bar, Report, SubsetFigures, as_recorded, evaluate
from pipeline.model.bundle import Bundle, load_bundle, save_bundle
from pipeline.model.config import PRESETS
from pipeline.model.network import FusionNetwork
from pipeline.model.specs import InputSpecs

FAMILIES = ["kokoro/a", "espeak/b", "flite/c", "pico/d", "piper/e", "festival/f"]
TRIPLES = 800


@pytest.fixture(scope="module")
def shipped() -> Report:
    return evaluate(load_bundle(), heldout.load(), TRIPLES, seed=99)


@pytest.fixture
def untrained(tmp_path: Path) -> Bundle:
    torch.manual_seed(0)
    network = FusionNetwork(PRESETS["small"], InputSpecs())
    save_bundle(tmp_path, network, name="untrained", version="0", labels=LABELS, temperatures=(1.0,) * 8, metrics={})
    return load_bundle(tmp_path)


def test_the_shipped_bundle_is_as_good_as_its_manifest_says(shipped: Report) -> None:
    """Other triples than the manifest's figures were measured on, so within what chance allows (4 sigma)."""
    published = load_bundle().manifest.metrics
    for figures in shipped.subsets:
        share = published[f"{figures.name}_accuracy"] / 100
        spread = 100 * (share * (1 - share) / TRIPLES) ** 0.5
        assert figures.accuracy == pytest.approx(100 * share, abs=4 * spread + 0.1)


def test_the_shipped_bundle_reached_its_bars() -> None:
    metrics = load_bundle().manifest.metrics
    assert metrics["all_accuracy"] >= 98.5
    assert metrics["speech_accuracy"] >= 77
    assert metrics["all_ece"] <= 1


def test_precision_does_not_change_answers(shipped: Report) -> None:
    assert shipped.fp16_agreement >= 99.5
    assert shipped.bf16_agreement >= 99


def test_every_family_is_reported(shipped: Report) -> None:
    families = {figures.family: figures for figures in shipped.families}
    assert families["recorded"].voices == 2
    assert families["kokoro"].clips == 160
    assert all(figures.clean_accuracy > 50 for figures in families.values())


def test_an_untrained_network_guesses(untrained: Bundle, make_material: Callable[..., Material]) -> None:
    report = evaluate(untrained, make_material(FAMILIES), 300)
    assert all(figures.accuracy < 35 for figures in report.subsets)
    missed = {bar.name for bar in report.bars() if not bar.met}
    assert {"accuracy speech", "accuracy all", "all minus best single"} <= missed


def test_figures_are_repeatable(untrained: Bundle, make_material: Callable[..., Material]) -> None:
    material = make_material(FAMILIES)
    first, again, other = (evaluate(untrained, material, 100, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def perfect(name: str, modalities: int) -> SubsetFigures:
    return SubsetFigures(name, modalities, accuracy=99.9, clean_accuracy=100.0, calibration_error=0.0)


def test_bars() -> None:
    singles = [SubsetFigures(name, 1, 90.0, 99.0, 4.0) for name in ("speech", "image", "pen")]
    pairs = [perfect(name, 2) for name in ("speech+image", "speech+pen", "image+pen")]
    good = Report(100, (*singles, *pairs, perfect("all", 3)), (), 99.9, 100.0, 100.0)
    assert all(bar.met for bar in good.bars())
    late = replace(good, late_fusion=100.5)
    assert [bar.name for bar in late.bars() if not bar.met] == ["late fusion minus all"]
    unsure = replace(good, subsets=(*good.subsets[:-1], SubsetFigures("all", 3, 99.9, 100.0, 1.01)))
    assert [bar.name for bar in unsure.bars() if not bar.met] == ["ECE all"]
    assert good.metrics()["speech+pen_accuracy"] == 99.9


@pytest.mark.parametrize(
    ("value", "at_most", "met"), [(5, False, True), (4.9, False, False), (5, True, True), (6, True, False)]
)
def test_a_bar_includes_its_limit(value: float, *, at_most: bool, met: bool) -> None:
    assert Bar("x", value, 5, at_most=at_most).met is met


def test_recordings_stand_in_the_middle(make_material: Callable[..., Material]) -> None:
    speech = as_recorded(make_material(["kokoro/a"]).clips).speech
    assert not speech[:, :5_000].any()
    assert not speech[:, 11_000:].any()
    assert bool(speech[:, 5_000:11_000].any(1).all())
