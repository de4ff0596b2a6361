"""Measures a bundle on the held-out digits. The same bundle and repository give the same figures."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.digits.calibration import Answers, accuracy, answer, calibration_error
from pipeline.digits.clips import LONGEST, Clip, stack
from pipeline.digits.data import Material
from pipeline.digits.protocol import Batch, Protocol
from pipeline.digits.voices import TEST_SHARES
from pipeline.model.bundle import Bundle
from pipeline.model.network import FusionNetwork
from pipeline.model.samples import SUBSETS

SUBSET_NAMES = ("nothing", "speech", "image", "speech+image", "pen", "speech+pen", "image+pen", "all")
"""Names of the presence subsets, by their index."""

ALL = SUBSETS - 1
SPEECH = 1
SEED = 1_234
TRIPLES = 4_000

ACCURACY_BARS = {
    "speech": 77.0, "image": 74.0, "pen": 90.0,
    "speech+image": 92.0, "speech+pen": 96.5, "image+pen": 96.5,
    "all": 98.5,
}  # fmt: skip
CALIBRATION_BARS = {1: 4.0, 2: 2.0, 3: 1.0}
"""Largest calibration error by the number of modalities, percent."""
LEAST_GAIN = 6.0
MOST_BEHIND_LATE_FUSION = 0.5


@dataclass(frozen=True, slots=True)
class SubsetFigures:
    """One presence subset: accuracy on noisy and on clean triples and calibration error (noisy), percent."""

    name: str
    modalities: int
    accuracy: float
    clean_accuracy: float
    calibration_error: float


@dataclass(frozen=True, slots=True)
class FamilyFigures:
    """Speech alone for one family of voices, percent: noisy, and each clip as it is.

    Attributes:
        family: The engine, or `recorded` for people.
        voices: How many test voices it has.
        clips: How many clips they have.
        accuracy: Under the noisy protocol.
        clean_accuracy: Every clip once, in the middle of its second, nothing added.
    """

    family: str
    voices: int
    clips: int
    accuracy: float
    clean_accuracy: float


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure that the shipped model must reach; with `at_most` it is an upper limit."""

    name: str
    value: float
    limit: float
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Whether the figure is good enough."""
        return self.value <= self.limit if self.at_most else self.value >= self.limit


@dataclass(frozen=True, slots=True)
class Report:
    """Everything measured, percent.

    Attributes:
        triples: Number of noisy triples.
        subsets: One a presence subset.
        families: Speech alone, one a family of voices.
        late_fusion: Accuracy of all three with the sum of the unimodal heads' log-probabilities instead.
        fp16_agreement: Noisy triples whose answer stays with weights and tokens in FP16.
        bf16_agreement: The same in BF16.
    """

    triples: int
    subsets: tuple[SubsetFigures, ...]
    families: tuple[FamilyFigures, ...]
    late_fusion: float
    fp16_agreement: float
    bf16_agreement: float

    def bars(self) -> list[Bar]:
        """Every bar with the figure that stands against it."""
        by_name = {figures.name: figures for figures in self.subsets}
        together = by_name["all"].accuracy
        best = max(figures.accuracy for figures in self.subsets if figures.modalities == 1)
        return [
            *(Bar(f"accuracy {name}", by_name[name].accuracy, limit) for name, limit in ACCURACY_BARS.items()),
            *(
                Bar(f"ECE {each.name}", each.calibration_error, CALIBRATION_BARS[each.modalities], at_most=True)
                for each in self.subsets
            ),
            Bar("all minus best single", together - best, LEAST_GAIN),
            Bar("late fusion minus all", self.late_fusion - together, MOST_BEHIND_LATE_FUSION, at_most=True),
        ]

    def metrics(self) -> dict[str, float]:
        """The figures by name, for a bundle's manifest."""
        figures = {"noisy_triples": float(self.triples), "late_fusion_accuracy": self.late_fusion}
        for each in self.subsets:
            figures[f"{each.name}_accuracy"] = each.accuracy
            figures[f"{each.name}_ece"] = each.calibration_error
            figures[f"{each.name}_clean_accuracy"] = each.clean_accuracy
        for family in self.families:
            figures[f"speech_{family.family}_accuracy"] = family.accuracy
            figures[f"speech_{family.family}_clean_accuracy"] = family.clean_accuracy
        figures |= {"fp16_agreement": self.fp16_agreement, "bf16_agreement": self.bf16_agreement}
        return {name: round(value, 2) for name, value in figures.items()}


def evaluate(bundle: Bundle, material: Material, triples: int = TRIPLES, seed: int = SEED) -> Report:
    """Measures a bundle.

    Args:
        bundle: The model; its specs must be those of the reference task.
        material: Held-out digits.
        triples: How many noisy triples to draw; half as many clean ones, an eighth of them for each family of
            voices and a quarter for FP16 and BF16.
        seed: Of the drawing and the corruption.
    """
    network, protocol = bundle.network, Protocol(material, TEST_SHARES)
    noisy = answer(network, protocol.noisy(triples, seed))
    clean = answer(network, protocol.clean(triples // 2, seed))
    fp16, bf16 = (
        agreement(network, protocol, triples // 4, seed, precision) for precision in (torch.float16, torch.bfloat16)
    )
    return Report(
        triples=triples,
        subsets=subset_figures(noisy, clean, bundle.manifest.temperatures),
        families=family_figures(network, material, Noise(protocol.babble, triples // 8, seed)),
        late_fusion=accuracy(noisy.auxiliary.log_softmax(2).sum(1), noisy.labels),
        fp16_agreement=fp16,
        bf16_agreement=bf16,
    )


class Noise(NamedTuple):
    """What each family of voices is tried with: the same babble, number of triples and seed."""

    babble: Tensor
    triples: int
    seed: int


def subset_figures(noisy: Answers, clean: Answers, temperatures: Sequence[float]) -> tuple[SubsetFigures, ...]:
    """Accuracy and calibration of each presence subset, singles first."""
    order = [sum(1 << place for place in places) for count in (1, 2, 3) for places in combinations(range(3), count)]
    return tuple(
        SubsetFigures(
            name=SUBSET_NAMES[subset],
            modalities=subset.bit_count(),
            accuracy=accuracy(noisy.logits[subset], noisy.labels),
            clean_accuracy=accuracy(clean.logits[subset], clean.labels),
            calibration_error=calibration_error(noisy.logits[subset], noisy.labels, temperatures[subset]),
        )
        for subset in order
    )


def family_figures(network: FusionNetwork, material: Material, noise: Noise) -> tuple[FamilyFigures, ...]:
    """Speech alone, for each family of voices in the material."""
    families = []
    for family in sorted({clip.family for clip in material.clips}):
        clips = [clip for clip in material.clips if clip.family == family]
        batches = Protocol(material, {family: 1.0}, noise.babble).noisy(noise.triples, noise.seed)
        noisy, clean = answer(network, batches, [SPEECH]), answer(network, [as_recorded(clips)], [SPEECH])
        families.append(
            FamilyFigures(
                family=family,
                voices=len({clip.voice for clip in clips}),
                clips=len(clips),
                accuracy=accuracy(noisy.logits[SPEECH], noisy.labels),
                clean_accuracy=accuracy(clean.logits[SPEECH], clean.labels),
            )
        )
    return tuple(families)


def as_recorded(clips: Sequence[Clip]) -> Batch:
    """Every clip in the middle of its second, as serving places a short recording; no image and no pen."""
    rows, lengths = stack(clips)
    shifts = (LONGEST - lengths) // 2
    speech = torch.stack([torch.from_numpy(row).roll(int(shift)) for row, shift in zip(rows, shifts, strict=True)])
    count = len(clips)
    labels = torch.tensor([clip.label for clip in clips])
    blank, still = torch.zeros(count, 32, 32, dtype=torch.uint8), torch.zeros(count, 64, 2)
    return Batch(labels, torch.arange(count), speech, blank, still)


def agreement(network: FusionNetwork, protocol: Protocol, triples: int, seed: int, precision: torch.dtype) -> float:
    """Share of noisy triples whose answer from all three is the same in FP32 and in another precision, percent."""
    lower = copy.deepcopy(network)
    lower.transformer.to(precision)
    full, half = (answer(each, protocol.noisy(triples, seed), [ALL]) for each in (network, lower))
    return accuracy(half.logits[ALL], full.logits[ALL].argmax(1))
