"""What happens to a pen's path between hand and network: eight points become a noisy stream of 64 frames."""

import math

import torch
import torch.nn.functional as F  # noqa: N812  (PyTorch's own name for it)
from torch import Generator, Tensor

from pipeline.digits.speech_corruption import chance, uniform

FRAMES = 64


def trace(points: Tensor, moments: Tensor, *, smooth: Tensor | None = None) -> Tensor:
    """Where the pen is at the given moments.

    Args:
        points: float32 [batch, 8, 2], evenly spaced along the path.
        moments: float32 [batch, frames], 0 at the first point and 1 at the last.
        smooth: bool [batch], whose path is a Catmull-Rom spline; straight pieces without.

    Returns:
        float32 [batch, frames, 2].
    """
    last = points.shape[1] - 1
    place = moments * last
    piece = place.long().clamp(max=last - 1)
    part = (place - piece)[..., None]

    def point(number: Tensor) -> Tensor:
        return points.gather(1, number.clamp(0, last)[..., None].expand(-1, -1, 2))

    start, end = point(piece), point(piece + 1)
    straight = start + part * (end - start)
    if smooth is None:
        return straight
    before, after = point(piece - 1), point(piece + 2)
    bow = 2 * before - 5 * start + 4 * end - after + part * (3 * (start - end) + after - before)
    curved = start + 0.5 * part * (end - before + part * bow)
    return torch.where(smooth[:, None, None], curved, straight)


def clean_pen(points: Tensor) -> Tensor:
    """The path at an even pace: float32 [batch, 8, 2] in 0..1 becomes [batch, 64, 2] in -1..1."""
    moments = torch.linspace(0, 1, FRAMES).expand(len(points), -1)
    return trace((points - 0.5) * 2, moments)


def corrupt_pen(points: Tensor, generator: Generator, *, smoothed: float = 0.0) -> Tensor:
    """Turns, stretches and shifts the path, cuts its ends, varies the pace, adds noise, loses frames.

    Args:
        points: float32 [batch, 8, 2] in 0..1.
        generator: Source of all randomness.
        smoothed: Share of the paths drawn as smooth curves; 0 is the noisy protocol.

    Returns:
        float32 [batch, 64, 2]; half of the streams have up to 22 frames in a row that read 0.
    """
    count = len(points)
    smooth = chance(generator, smoothed, count)
    path = trace(turn((points - 0.5) * 2, generator), pace(count, generator), smooth=smooth)
    drift = torch.randn(count, 1, 2, generator=generator) * 0.25 * torch.linspace(-1, 1, FRAMES)[None, :, None]
    tremor = torch.randn(path.shape, generator=generator).cumsum(1) * uniform(generator, 0.005, 0.03, count, 1, 1)
    noise = torch.randn(path.shape, generator=generator) * uniform(generator, 0.01, 0.09, count, 1, 1)
    return lose_frames(path + drift + tremor + noise, generator)


def turn(path: Tensor, generator: Generator) -> Tensor:
    """Turns by up to 25 degrees, stretches each axis by 0.6 to 1.2 and shifts by up to 0.3."""
    count = len(path)
    angle = uniform(generator, -25, 25, count) * math.pi / 180
    across = torch.stack([angle.cos(), -angle.sin()], 1)
    down = torch.stack([angle.sin(), angle.cos()], 1)
    turned = torch.einsum("bnc,bdc->bnd", path, torch.stack([across, down], 1))
    return turned * uniform(generator, 0.6, 1.2, count, 1, 2) + uniform(generator, -0.3, 0.3, count, 1, 2)


def pace(count: int, generator: Generator) -> Tensor:
    """Moments 0..1 [count, 64] of an uneven pace that misses up to 12 % of the start and 18 % of the end."""
    steps = torch.rand(count, 1, FRAMES, generator=generator) + 0.15
    steps = F.avg_pool1d(F.pad(steps, (4, 4), mode="replicate"), 9, 1)[:, 0]
    moments = steps.cumsum(1)
    moments = (moments - moments[:, :1]) / (moments[:, -1:] - moments[:, :1])
    start = uniform(generator, 0, 0.12, count, 1)
    end = 1 - uniform(generator, 0, 0.18, count, 1)
    return start + moments * (end - start)


def lose_frames(stream: Tensor, generator: Generator) -> Tensor:
    """Sets a stretch of up to 22 frames to 0 in half of the streams."""
    count = len(stream)
    start = torch.randint(FRAMES, (count, 1), generator=generator)
    length = uniform(generator, 0, 22, count, 1) * chance(generator, 0.5, count)[:, None]
    frame = torch.arange(FRAMES)[None]
    lost = (frame >= start) & (frame < start + length)
    return stream * ~lost[..., None]
