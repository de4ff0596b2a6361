"""Batches of triples as the network meets them: the noisy protocol of every published figure, and the clean one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from pipeline.digits.clips import LABELS
from pipeline.digits.data import Draw, Material, Sampler
from pipeline.digits.pen_corruption import clean_pen, corrupt_pen
from pipeline.digits.picture_corruption import corrupt_picture, frame
from pipeline.digits.speech_corruption import corrupt_speech, make_babble, place, to_int16

BATCH = 250
BABBLES = 128
BABBLE_SEED = 5


@dataclass(frozen=True, slots=True)
class Batch:
    """Triples in the shapes that the network takes.

    Attributes:
        labels: int64 [batch].
        clips: Which clip of the material was spoken, int64 [batch].
        speech: int16 [batch, 16000].
        image: uint8 [batch, 32, 32].
        sensor: float32 [batch, 64, 2].
    """

    labels: Tensor
    clips: Tensor
    speech: Tensor
    image: Tensor
    sensor: Tensor


class Protocol:
    """Turns a material into triples. The same material, count and seed give the same triples.

    Args:
        material: Clean digits of one split.
        shares: How often each family of voices is heard.
        babble: Voices in the background; those of the material without.
    """

    def __init__(self, material: Material, shares: Mapping[str, float], babble: Tensor | None = None) -> None:
        self.sampler = Sampler(material, shares)
        heard = self.sampler.clips[self.sampler.heard]
        generator = Generator().manual_seed(BABBLE_SEED)
        self.babble = make_babble(heard, BABBLES, generator) if babble is None else babble

    def noisy(self, count: int, seed: int) -> Iterator[Batch]:
        """Triples corrupted at severity 1."""
        for draw, generator in self._draws(count, seed):
            yield corrupt(draw, self.babble, generator)

    def clean(self, count: int, seed: int) -> Iterator[Batch]:
        """Triples without any corruption: speech anywhere in its second, images and pens as they are."""
        for draw, generator in self._draws(count, seed):
            speech = to_int16(place(draw.clips.float() / 32_768, draw.lengths, generator))
            yield Batch(draw.labels, draw.rows, speech, frame(draw.images), clean_pen(draw.points))

    def _draws(self, count: int, seed: int) -> Iterator[tuple[Draw, Generator]]:
        generator = Generator().manual_seed(seed)
        for start in range(0, count, BATCH):
            labels = torch.randint(len(LABELS), (min(BATCH, count - start),), generator=generator)
            yield self.sampler.draw(labels, generator), generator


def corrupt(draw: Draw, babble: Tensor, generator: Generator) -> Batch:
    """The noisy protocol for all three modalities."""
    speech = corrupt_speech(draw.clips, draw.lengths, babble, generator)
    image = corrupt_picture(frame(draw.images), generator)
    return Batch(draw.labels, draw.rows, speech, image, corrupt_pen(draw.points, generator))
