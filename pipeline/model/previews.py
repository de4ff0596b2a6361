"""Inputs made small enough to look at: a waveform's outline, a pen's way, curves of other sensors.

The stretch of speech and the frames are those that the network is given; see `pipeline.model.media`.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.events.records import SensorEvent, SpeechEvent
from pipeline.model.media import decode_sensor, decode_speech
from pipeline.model.specs import SensorSpec, SpeechSpec

LOUDEST = 100
BOX = 1_000
PEN = ("x", "y")
MAX_CURVES = 6
# Quieter recordings than this stay small, so that silence does not look like noise.
_QUIET = 330.0

_Floats = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class PenTrace:
    """A pen's way, from 0 to `BOX` in both directions, x rightwards and y downwards, its proportions kept."""

    points: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Curves:
    """Channels over time, each from 0 (its highest value) to `BOX` (its lowest)."""

    channels: tuple[str, ...]
    values: tuple[tuple[int, ...], ...]


def waveform(event: SpeechEvent, spec: SpeechSpec, columns: int) -> tuple[tuple[int, int], ...]:
    """Returns the lowest and highest sample of each column, the loudest of all scaled to ±`LOUDEST`.

    Raises:
        Invalid, TooLarge: as `decode_speech` does.
    """
    wave = decode_speech(event, spec).astype(np.float64)
    stretches = np.array_split(wave, columns)
    scale = LOUDEST / max(_QUIET, float(np.abs(wave).max()))
    return tuple((round(part.min() * scale), round(part.max() * scale)) for part in stretches)


def trace(event: SensorEvent, frames: int) -> PenTrace | Curves:
    """Returns the way of a pen, if the event's channels are x and y, or else its first `MAX_CURVES` channels.

    Raises:
        Invalid, TooLarge: as `decode_sensor` does; any channels are taken.
    """
    channels = PEN if sorted(event.channels) == list(PEN) else event.channels
    if len(set(channels)) != len(channels) or not channels:
        channels = tuple(dict.fromkeys(channels)) or PEN  # what decode_sensor then says is the better sentence
    values = decode_sensor(event, SensorSpec(channels=channels, frames=frames)).astype(np.float64)
    if channels == PEN:
        return _pen(values)
    few = values[:, :MAX_CURVES]
    return Curves(channels[:MAX_CURVES], tuple(tuple(_inverted(column, _extent(column))) for column in few.T))


def _pen(values: _Floats) -> PenTrace:
    extent = max(_extent(values[:, 0]), _extent(values[:, 1]))
    across = (values[:, 0] - values[:, 0].min()) / extent * BOX
    aside = (BOX - across.max()) / 2
    down = _inverted(values[:, 1], extent)
    above = (BOX - max(down)) // 2
    return PenTrace(tuple((round(x + aside), y + above) for x, y in zip(across, down, strict=True)))


def _inverted(column: _Floats, extent: float) -> list[int]:
    return [round(value) for value in (column.max() - column) / extent * BOX]


def _extent(column: _Floats) -> float:
    return float(column.max() - column.min()) or 1.0
