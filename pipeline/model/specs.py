"""What shape a model's inputs have. A bundle's manifest carries these, so producers, training and serving agree."""

import math
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SpeechSpec:
    """The stretch of mono speech that the network looks at, and the recordings it may be cut from.

    Attributes:
        sample_rate: Samples per second that the network expects; recordings are resampled to it.
        samples: Length of the stretch, int16 samples at `sample_rate`.
        min_rate: Lowest accepted rate of a recording, samples per second.
        max_rate: Highest accepted rate of a recording, samples per second.
        max_seconds: Longest accepted recording, seconds.
    """

    sample_rate: int = 16_000
    samples: int = 16_000
    min_rate: int = 8_000
    max_rate: int = 48_000
    max_seconds: float = 30.0

    def __post_init__(self) -> None:
        _positive("speech", sample_rate=self.sample_rate, samples=self.samples, min_rate=self.min_rate)
        _positive("speech", max_seconds=self.max_seconds)
        if self.max_rate < self.min_rate:
            raise ValueError(f"speech.max_rate {self.max_rate} is below speech.min_rate {self.min_rate}")


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """The greyscale picture that the network looks at: bright ink on dark ground, uint8 [height, width].

    Attributes:
        height: Rows, pixels.
        width: Columns, pixels.
        max_pixels: Largest accepted picture before scaling, width times height.
    """

    height: int = 32
    width: int = 32
    max_pixels: int = 40_000_000

    def __post_init__(self) -> None:
        _positive("image", height=self.height, width=self.width, max_pixels=self.max_pixels)


@dataclass(frozen=True, slots=True)
class SensorSpec:
    """The stretch of sampled channels that the network looks at: float32 [frames, channels].

    The network centres and scales each stretch by itself, so units do not matter.

    Attributes:
        channels: Names, in the network's order; an event may have them in any order.
        frames: Length of the stretch; streams of other lengths are resampled to it.
        max_absolute: Largest accepted absolute value, in the stream's own unit.
        max_frames: Longest accepted stream.
    """

    channels: tuple[str, ...] = ("x", "y")
    frames: int = 64
    max_absolute: float = 1e6
    max_frames: int = 1_000_000

    def __post_init__(self) -> None:
        _positive("sensor", frames=self.frames, max_absolute=self.max_absolute, max_frames=self.max_frames)
        if not self.channels or len(set(self.channels)) != len(self.channels):
            raise ValueError(f"sensor.channels {list(self.channels)} must be at least one name, none twice")


@dataclass(frozen=True, slots=True)
class InputSpecs:
    """The input specs of one model, one a modality."""

    speech: SpeechSpec = field(default_factory=SpeechSpec)
    image: ImageSpec = field(default_factory=ImageSpec)
    sensor: SensorSpec = field(default_factory=SensorSpec)


def _positive(section: str, **values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{section}.{name} is {value}; it must be a finite number above 0")
