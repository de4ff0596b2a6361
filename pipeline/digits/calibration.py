"""Logits of every presence subset, temperatures, and the expected calibration error."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  (PyTorch's own name for it)
from torch import Tensor

from pipeline.digits.protocol import Batch
from pipeline.model.network import FusionNetwork, Output
from pipeline.model.samples import SUBSETS

TEMPERATURES = torch.logspace(-1, 1, 401)
BINS = 15


@dataclass(frozen=True, slots=True)
class Answers:
    """What a network says of some triples.

    Attributes:
        labels: The truth, int64 [triples].
        clips: Which clip was spoken, int64 [triples].
        logits: [8, triples, classes], by presence subset; zeros where it was not asked.
        auxiliary: [triples, 3, classes], each modality's own head.
    """

    labels: Tensor
    clips: Tensor
    logits: Tensor
    auxiliary: Tensor


@torch.inference_mode()
def answer(network: FusionNetwork, batches: Iterable[Batch], subsets: Sequence[int] = range(1, SUBSETS)) -> Answers:
    """Asks the network about presence subsets of every triple.

    Args:
        network: In evaluation mode.
        batches: The triples.
        subsets: Which to ask about; the last one's unimodal heads are kept.
    """
    labels, clips, logits, auxiliary = [], [], [], []
    for batch in batches:
        features = network.features(batch.speech, batch.image, batch.sensor)
        said = torch.zeros(SUBSETS, len(batch.labels), network.config.classes)
        for subset in subsets:
            present = torch.tensor([subset & 1, subset & 2, subset & 4]) > 0
            output: Output = network.transformer(features, present.expand(len(batch.labels), 3))
            said[subset] = output.logits
        labels.append(batch.labels)
        clips.append(batch.clips)
        logits.append(said)
        auxiliary.append(output.auxiliary)
    return Answers(torch.cat(labels), torch.cat(clips), torch.cat(logits, 1), torch.cat(auxiliary))


def fit_temperatures(network: FusionNetwork, batches: Iterable[Batch]) -> tuple[float, ...]:
    """The divisor of the logits that makes the answers likeliest, for each presence subset (Guo et al. 2017)."""
    answers = answer(network, batches)
    return 1.0, *(best_temperature(logits, answers.labels) for logits in answers.logits[1:])


def best_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature between 0.1 and 10 with the smallest cross entropy."""
    losses = torch.stack([F.cross_entropy(logits / temperature, labels) for temperature in TEMPERATURES])
    return float(TEMPERATURES[losses.argmin()])


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of right answers, percent."""
    return float((logits.argmax(-1) == labels).double().mean()) * 100


def calibration_error(logits: Tensor, labels: Tensor, temperature: float) -> float:
    """Expected calibration error over 15 even bins of confidence (Naeini et al. 2015), percent."""
    confidence, answers = (logits.double() / temperature).softmax(1).max(1)
    right = (answers == labels).double()
    bins = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    gaps = torch.zeros(BINS, dtype=torch.float64).index_add(0, bins, right - confidence)
    return float(gaps.abs().sum() / len(labels)) * 100
