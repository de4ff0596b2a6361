"""What happens to a handwritten digit between paper and network, at severity 1 (the noisy protocol) and wider."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  (PyTorch's own name for it)
from torch import Generator, Tensor

from pipeline.digits.speech_corruption import chance, uniform

SIDE = 32


@dataclass(frozen=True, slots=True)
class PictureRange:
    """How far pictures are bent.

    Attributes:
        zoom: Smallest and largest side of what is seen, of the picture's own (below 1 enlarges the digit).
        stretch: Largest ratio between height and width that is put on.
        degrees: Largest turn.
        shear: Largest shear.
        shift: Largest shift, of half the picture's side.
    """

    zoom: tuple[float, float] = (0.8, 1.25)
    stretch: float = 1.0
    degrees: float = 25.0
    shear: float = 0.25
    shift: float = 0.2


PROTOCOL = PictureRange()
TRAINING = PictureRange(zoom=(0.64, 1.35), stretch=1.25, degrees=27.0, shear=0.28, shift=0.24)


def frame(digits: Tensor) -> Tensor:
    """Puts uint8 [batch, 20, 20] digits in the middle of 32 x 32 pixels."""
    margin = (SIDE - digits.shape[1]) // 2
    return F.pad(digits, (margin, margin, margin, margin))


def corrupt_picture(pictures: Tensor, generator: Generator, bounds: PictureRange = PROTOCOL) -> Tensor:
    """Turns, shears, shifts, blurs, fades, lights from one side, half of the time covers a spot, and adds grain.

    Args:
        pictures: uint8 [batch, 32, 32].
        generator: Source of all randomness.
        bounds: How far to bend; the default is the noisy protocol.

    Returns:
        uint8 [batch, 32, 32].
    """
    ink = pictures.float()[:, None] / 255
    ink = blur(bend(ink, bounds, generator), generator)
    ink = cover(light(ink, generator), generator)
    grain = uniform(generator, 0.02, 0.20, len(ink), 1, 1, 1)
    ink = ink + torch.randn(ink.shape, generator=generator) * grain
    return (ink.clamp(0, 1) * 255).round().to(torch.uint8)[:, 0]


def bend(ink: Tensor, bounds: PictureRange, generator: Generator) -> Tensor:
    """A random affine map of float32 [batch, 1, side, side]."""
    count = len(ink)
    angle = uniform(generator, -bounds.degrees, bounds.degrees, count) * math.pi / 180
    zoom = uniform(generator, *bounds.zoom, count)
    ratio = bounds.stretch ** uniform(generator, -0.5, 0.5, count)
    shear = uniform(generator, -bounds.shear, bounds.shear, count)
    shift = uniform(generator, -bounds.shift, bounds.shift, 2, count)
    wide, high = zoom * ratio, zoom / ratio
    across = torch.stack([wide * angle.cos(), wide * (shear - angle.sin()), shift[0]], 1)
    down = torch.stack([high * angle.sin(), high * angle.cos(), shift[1]], 1)
    size = list(ink.shape)
    grid = F.affine_grid(torch.stack([across, down], 1), size, align_corners=False)
    return F.grid_sample(ink, grid, align_corners=False)


def blur(ink: Tensor, generator: Generator) -> Tensor:
    """Gaussian blur with a standard deviation of 0.2 to 1.2 pixels."""
    sigma = uniform(generator, 0.2, 1.2, len(ink), 1)
    tap = torch.arange(-3, 4).float()
    weights = torch.exp(-(tap**2) / (2 * sigma**2))
    weights = weights / weights.sum(1, keepdim=True)
    channels = ink.transpose(0, 1)
    rows = F.pad(channels, (3, 3, 0, 0), mode="replicate")
    channels = F.conv2d(rows, weights[:, None, None, :], groups=len(ink))
    columns = F.pad(channels, (0, 0, 3, 3), mode="replicate")
    return F.conv2d(columns, weights[:, None, :, None], groups=len(ink)).transpose(0, 1)


def light(ink: Tensor, generator: Generator) -> Tensor:
    """Fades the contrast, raises the ground and lights the picture from the left or the right."""
    count = len(ink)
    contrast = uniform(generator, 0.5, 1.0, count, 1, 1, 1)
    ground = uniform(generator, 0.0, 0.4, count, 1, 1, 1)
    slope = uniform(generator, -0.15, 0.15, count, 1, 1, 1)
    return ink * contrast + ground * (1 - contrast) + slope * torch.linspace(-1, 1, ink.shape[3])


def cover(ink: Tensor, generator: Generator) -> Tensor:
    """Half of the pictures get a rectangle of 3 to 9 pixels a side, of one random grey."""
    count, side = len(ink), ink.shape[3]
    centre = uniform(generator, 6, side - 6, 2, count, 1, 1)
    half = uniform(generator, 1.5, 4.5, 2, count, 1, 1)
    pixel = torch.arange(float(side))
    inside = (pixel[None, :, None] - centre[0]).abs() < half[0]
    inside = inside & ((pixel[None, None, :] - centre[1]).abs() < half[1])
    covered = inside & chance(generator, 0.5, count)[:, None, None]
    grey = torch.rand(count, 1, 1, 1, generator=generator)
    return torch.where(covered[:, None], grey, ink)
