"""Trains the network on the reference task and calibrates it."""

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  (PyTorch's own name for it)
from torch import Generator, Tensor

from pipeline.digits.calibration import fit_temperatures
from pipeline.digits.clips import LABELS
from pipeline.digits.data import Material, Sampler
from pipeline.digits.pen_corruption import corrupt_pen
from pipeline.digits.picture_corruption import TRAINING, corrupt_picture, frame
from pipeline.digits.protocol import Batch, Protocol
from pipeline.digits.speech_corruption import make_babble
from pipeline.digits.speech_variation import vary_speech
from pipeline.digits.voices import TRAIN_SHARES, VALIDATION_SHARES, Split
from pipeline.model.config import PRESETS
from pipeline.model.features import Features, InputFeatures
from pipeline.model.network import FusionNetwork, Output
from pipeline.model.specs import InputSpecs

SUBSET_WEIGHTS = (0.0, 0.20, 0.10, 0.11, 0.10, 0.11, 0.10, 0.28)
"""How often training sees each presence subset, by its index; speech alone is the hardest."""

BABBLES = 512
VALIDATION_SEED = 77


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train.

    Attributes:
        preset: Which network of `pipeline.model.network.PRESETS`.
        cpu_seconds: When to stop, seconds of processor time of the whole process.
        batch: Triples a step.
        learning_rate: Of AdamW, at its peak.
        weight_decay: Of AdamW.
        auxiliary: Weight of the unimodal heads' losses.
        validation_triples: How many triples the temperatures are fitted on.
        seed: Of initialisation and of everything drawn.
    """

    preset: str = "small"
    cpu_seconds: float = 950.0
    batch: int = 96
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    auxiliary: float = 0.4
    validation_triples: int = 4_000
    seed: int = 0


class Step(NamedTuple):
    """Progress: the number of the step, its loss, and how much of the budget is used, 0..1."""

    number: int
    loss: float
    share: float


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained network and what its logits are divided by in each presence subset, by the subset's index."""

    network: FusionNetwork
    temperatures: tuple[float, ...]
    steps: int


def train(
    material: dict[Split, Material],
    recipe: Recipe,
    progress: Callable[[Step], None],
    clock: Callable[[], float] = time.process_time,
) -> Trained:
    """Trains on the training split and fits the temperatures on the validation split.

    The weights are an exponential moving average over the steps. With a clock that counts steps a run is repeatable
    to the bit on one machine; with processor time the number of steps depends on the machine.

    Args:
        material: All splits; the test is not touched.
        recipe: How to train.
        progress: Called after every step.
        clock: Seconds used so far.
    """
    torch.manual_seed(recipe.seed)
    network = FusionNetwork(PRESETS[recipe.preset], InputSpecs())
    averaged = FusionNetwork(PRESETS[recipe.preset], InputSpecs())
    averaged.load_state_dict(network.state_dict())
    lesson = Lesson(material[Split.TRAIN], network.features, recipe.seed)
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=recipe.weight_decay, betas=(0.9, 0.98))
    start, number = clock(), 0
    with ThreadPoolExecutor(max_workers=1) as ahead:
        upcoming = ahead.submit(lesson.task, recipe.batch)
        while (share := (clock() - start) / recipe.cpu_seconds) < 1:
            number += 1
            task, upcoming = upcoming.result(), ahead.submit(lesson.task, recipe.batch)
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(recipe.learning_rate, number, share)
            loss = learn(network, optimiser, task, recipe.auxiliary)
            follow(averaged, network, number)
            progress(Step(number, loss, share))
    averaged.eval()
    validation = Protocol(material[Split.VALIDATION], VALIDATION_SHARES)
    triples = validation.noisy(recipe.validation_triples, VALIDATION_SEED)
    return Trained(averaged, fit_temperatures(averaged, triples), number)


class Task(NamedTuple):
    """One step's inputs: features, labels int64 [batch], and which modalities are there, bool [batch, 3]."""

    features: Features
    labels: Tensor
    present: Tensor


class Lesson:
    """Draws training batches, every one new.

    Args:
        material: The training split.
        features: Of the network; they have no parameters to train.
        seed: Of everything drawn.
    """

    def __init__(self, material: Material, features: InputFeatures, seed: int) -> None:
        self.features = features
        self.generator = Generator().manual_seed(seed)
        self._sampler = Sampler(material, TRAIN_SHARES)
        self._babble = make_babble(self._sampler.clips, BABBLES, self.generator)

    @torch.no_grad()
    def task(self, count: int) -> Task:
        """The next step's inputs."""
        batch = self.batch(count)
        features: Features = self.features(batch.speech, batch.image, batch.sensor)
        masked = features._replace(log_mel=mask_stripes(features.log_mel, self.generator))
        return Task(masked, batch.labels, self.present(count))

    def batch(self, count: int) -> Batch:
        """Triples under conditions wider than the noisy protocol's."""
        generator = self.generator
        draw = self._sampler.draw(torch.randint(len(LABELS), (count,), generator=generator), generator)
        speech = vary_speech(draw.clips, draw.lengths, self._babble, generator)
        image = corrupt_picture(frame(draw.images), generator, TRAINING)
        sensor = corrupt_pen(draw.points, generator, smoothed=0.5)
        return Batch(draw.labels, draw.rows, speech, image, sensor)

    def present(self, count: int) -> Tensor:
        """Modality dropout: bool [count, 3]."""
        subset = torch.multinomial(torch.tensor(SUBSET_WEIGHTS), count, replacement=True, generator=self.generator)
        return (subset[:, None] & torch.tensor([1, 2, 4])) > 0


def learn(network: FusionNetwork, optimiser: torch.optim.Optimizer, task: Task, auxiliary: float) -> float:
    """One step of gradient descent; returns its loss."""
    network.train()
    loss = fusion_loss(network.transformer(task.features, task.present), task.labels, task.present, auxiliary)
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()
    return loss.item()


def fusion_loss(output: Output, labels: Tensor, present: Tensor, auxiliary: float) -> Tensor:
    """Cross entropy of the fused answer plus a share of the unimodal heads', each over the samples that have it."""
    total = F.cross_entropy(output.logits, labels)
    for place in range(present.shape[1]):
        there = present[:, place]
        alone = F.cross_entropy(output.auxiliary[:, place], labels, reduction="none")
        total = total + auxiliary * (alone * there).sum() / there.sum().clamp(min=1)
    return total


def mask_stripes(log_mel: Tensor, generator: Generator) -> Tensor:
    """Sets a stripe of bands (up to 8) and one of frames (up to 16) to the mean (SpecAugment, Park et al. 2019)."""
    count, frames, bands = log_mel.shape
    kept = torch.ones_like(log_mel, dtype=torch.bool)
    for axis, size, widest in ((1, frames, 16), (2, bands, 8)):
        first = torch.randint(size, (count, 1), generator=generator)
        width = torch.randint(widest + 1, (count, 1), generator=generator)
        place = torch.arange(size)[None]
        stripe = (place >= first) & (place < first + width)
        kept &= ~stripe.unsqueeze(3 - axis)
    return log_mel * kept


def learning_rate(peak: float, number: int, share: float) -> float:
    """A hundred steps of warm-up, then a cosine down to 2 % of the peak."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
    return peak * min(1.0, number / 100) * (0.98 * cosine + 0.02)


@torch.no_grad()
def follow(averaged: FusionNetwork, network: FusionNetwork, number: int) -> None:
    """Moves the average towards the network: by 1/10 at first, by 0.5 % a step later."""
    weight = 1 - min(0.995, (number + 1) / (number + 10))
    for name, value in network.state_dict().items():
        mean = averaged.state_dict()[name]
        if value.is_floating_point():
            mean.lerp_(value, weight)
        else:
            mean.copy_(value)
