import pytest
import torch

from pipeline.digits.calibration import accuracy, best_temperature, calibration_error


def test_accuracy_counts_right_answers() -> None:
    assert accuracy(torch.eye(4), torch.tensor([0, 1, 2, 0])) == 75.0


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_of_sampled_answers_is_found(temperature: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20_000, 10, generator=generator) * 2
    labels = torch.multinomial((logits / temperature).softmax(1), 1, generator=generator)[:, 0]
    assert best_temperature(logits, labels) == pytest.approx(temperature, rel=0.05)
    assert calibration_error(logits, labels, temperature) < 1.5


def test_overconfidence_is_the_gap_between_confidence_and_accuracy() -> None:
    logits = torch.tensor([[20.0, 0.0]] * 10)
    labels = torch.tensor([0] * 7 + [1] * 3)
    assert calibration_error(logits, labels, 1.0) == pytest.approx(30, abs=0.01)


def test_bins_do_not_cancel_each_other() -> None:
    sure, unsure = torch.tensor([[20.0, 0.0]] * 10), torch.tensor([[0.5, 0.0]] * 10)
    labels = torch.tensor([0] * 6 + [1] * 4 + [0] * 10)
    expected = (0.4 + (1 - float(torch.tensor(0.5).sigmoid()))) / 2 * 100
    assert calibration_error(torch.cat([sure, unsure]), labels, 1.0) == pytest.approx(expected, abs=0.01)
