"""How large a network is. Apart from the network, so that reading a manifest needs no PyTorch."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StemConfig:
    """Convolutions of one stem: `widths` of all but the last, which ends in d_model; one stride each."""

    widths: tuple[int, ...]
    strides: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.strides) != len(self.widths) + 1 or min((*self.widths, *self.strides)) < 1:
            raise ValueError(f"a stem of widths {self.widths} needs {len(self.widths) + 1} strides, all above 0")

    @property
    def stride(self) -> int:
        """Input steps (frames, or pixels a side) per token."""
        return math.prod(self.strides)


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Sizes of the network.

    Attributes:
        d_model: Width of a token.
        layers: Transformer layers; the first is intra-modal, the others cross-modal.
        heads: Attention heads; divides d_model.
        d_feedforward: Hidden width of the feed-forward layers.
        speech: Stem over log-mel frames.
        image: Stem over pixels.
        sensor: Stem over sensor frames.
        classes: Number of labels.
        mels: Mel bands of the speech features.
        registers: Learned tokens that look at everything; the first carries the answer.
    """

    d_model: int
    layers: int
    heads: int
    d_feedforward: int
    speech: StemConfig
    image: StemConfig
    sensor: StemConfig
    classes: int = 10
    mels: int = 40
    registers: int = 4

    def __post_init__(self) -> None:
        sizes = (self.d_model, self.heads, self.d_feedforward, self.classes, self.mels, self.registers)
        if min(sizes) < 1 or self.layers < 2 or self.d_model % self.heads:
            raise ValueError(
                f"layers {self.layers} must be at least 2, heads {self.heads} must divide d_model {self.d_model}, "
                "and all other sizes must be above 0"
            )


PRESETS = {
    "small": NetworkConfig(
        d_model=96,
        layers=3,
        heads=4,
        d_feedforward=192,
        speech=StemConfig(widths=(96,), strides=(2, 2)),
        image=StemConfig(widths=(32, 64), strides=(2, 2, 2)),
        sensor=StemConfig(widths=(64,), strides=(2, 2)),
    ),
    "base": NetworkConfig(
        d_model=512,
        layers=6,
        heads=8,
        d_feedforward=2048,
        speech=StemConfig(widths=(128,), strides=(1, 1)),
        image=StemConfig(widths=(64,), strides=(2, 1)),
        sensor=StemConfig(widths=(128,), strides=(2, 1)),
    ),
}
"""`small` answers in about a millisecond on a CPU; `base` is meant for a GPU in FP16."""
