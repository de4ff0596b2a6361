from collections.abc import Callable

import pytest
import torch

from pipeline.digits.data import Material
from pipeline.digits.training import (
    SUBSET_WEIGHTS,
    Lesson,
    Recipe,
    Step,
    Trained,
    fusion_loss,
    learning_rate,
    mask_stripes,
    train,
)
from pipeline.digits.voices import Split
from pipeline.model.features import InputFeatures
from pipeline.model.network import Output
from pipeline.model.samples import SUBSETS
from pipeline.model.specs import InputSpecs

VOICES = ["kokoro/a", "espeak/b", "flite/c", "festival/d"]


class StepClock:
    """Every look at it is one second."""

    def __init__(self) -> None:
        self.seconds = -1.0

    def __call__(self) -> float:
        self.seconds += 1
        return self.seconds


@pytest.fixture
def material(make_material: Callable[..., Material]) -> dict[Split, Material]:
    return {split: make_material(VOICES) for split in Split}


def run(material: dict[Split, Material], seconds: float, seed: int = 0) -> tuple[Trained, list[Step]]:
    steps: list[Step] = []
    recipe = Recipe(cpu_seconds=seconds, batch=16, validation_triples=60, seed=seed)
    return train(material, recipe, steps.append, StepClock()), steps


def test_training_is_repeatable_to_the_bit(material: dict[Split, Material]) -> None:
    (first, steps), (again, _), (other, _) = run(material, 4), run(material, 4), run(material, 4, seed=1)
    assert [step.number for step in steps] == [1, 2, 3]
    assert [step.share for step in steps] == [0.25, 0.5, 0.75]
    assert first.temperatures == again.temperatures
    weights, same, different = (each.network.state_dict() for each in (first, again, other))
    assert all(torch.equal(weights[name], same[name]) for name in weights)
    assert not torch.equal(weights["transformer.head.weight"], different["transformer.head.weight"])


def test_training_learns(material: dict[Split, Material]) -> None:
    trained, steps = run(material, 40)
    assert sum(step.loss for step in steps[-5:]) < 0.95 * sum(step.loss for step in steps[:5])
    assert len(trained.temperatures) == SUBSETS
    assert not trained.network.training


def test_every_subset_with_something_in_it_is_seen(material: dict[Split, Material]) -> None:
    assert len(SUBSET_WEIGHTS) == SUBSETS
    assert sum(SUBSET_WEIGHTS) == pytest.approx(1)
    present = Lesson(material[Split.TRAIN], InputFeatures(InputSpecs(), 40), 0).present(4_000)
    subsets = (present * torch.tensor([1, 2, 4])).sum(1)
    shares = torch.bincount(subsets, minlength=SUBSETS) / 4_000
    assert shares.tolist() == pytest.approx(SUBSET_WEIGHTS, abs=0.03)


def test_missing_modalities_have_no_auxiliary_loss() -> None:
    logits, labels = torch.zeros(2, 10), torch.tensor([3, 4])
    auxiliary = torch.zeros(2, 3, 10)
    auxiliary[0, 1] = torch.nan_to_num(torch.full((10,), float("inf")), posinf=50.0)
    auxiliary[0, 1, 3] = 0
    absent = torch.tensor([[True, False, True], [True, True, True]])
    flat = float(torch.log(torch.tensor(10.0)))
    loss = fusion_loss(Output(logits, auxiliary), labels, absent, 1.0)
    assert float(loss) == pytest.approx(4 * flat, rel=1e-5)
    present = torch.ones(2, 3, dtype=torch.bool)
    assert float(fusion_loss(Output(logits, auxiliary), labels, present, 1.0)) > 4 * flat + 10


def test_stripes_are_masked() -> None:
    masked = mask_stripes(torch.ones(300, 96, 40), torch.Generator().manual_seed(0))
    frames, bands = (masked == 0).all(2).sum(1), (masked == 0).all(1).sum(1)
    assert int(frames.max()) <= 16
    assert int(bands.max()) <= 8
    assert float(masked.mean()) == pytest.approx((1 - 7.2 / 96) * (1 - 3.7 / 40), abs=0.02)


def test_the_learning_rate_rises_and_falls() -> None:
    assert learning_rate(1.0, 50, 0.0) == 0.5
    assert learning_rate(1.0, 200, 0.0) == 1.0
    assert learning_rate(1.0, 200, 0.5) == pytest.approx(0.51)
    assert learning_rate(1.0, 200, 1.2) == pytest.approx(0.02)
