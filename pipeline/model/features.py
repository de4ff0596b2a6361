"""From raw inputs to what the stems take: log-mel, image and sensor normalisation, on the model's device.

Everything here stays in FP32 whatever the network's precision: the power spectrum spans more than FP16 holds.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  (PyTorch's own name for it)
from torch import Tensor, nn

from pipeline.model.specs import InputSpecs, SpeechSpec

# A recording's own level carries nothing. Below this RMS (full scale is 1) it is silence and not amplified.
_SILENCE_RMS = 1e-4
# Added to mel energies, some 40 dB under those of unit-RMS noise: digital silence looks like a quiet room.
_ENERGY_FLOOR = 1e-2
_SENSOR_FLOOR = 1e-6
# Differences between neighbouring frames are small beside the positions; this brings them to a like size.
_DIFFERENCE_GAIN = 4.0
# On a CPU so many recordings go through together: their windows, 150 KB each, stay in its cache.
_AT_A_TIME = 8


class Features(NamedTuple):
    """Normalised inputs of a batch, FP32.

    Attributes:
        log_mel: [batch, frames, mels].
        image: [batch, 1, height, width], -1 to 1.
        sensor: [batch, frames, 3 * channels]: positions, first and second differences.
    """

    log_mel: Tensor
    image: Tensor
    sensor: Tensor


class LogMel(nn.Module):
    """Log-mel spectrogram of speech: 25 ms Hann windows every 10 ms, standardised over the whole stretch.

    The scale is O'Shaughnessy's mel, 2595 log10(1 + f / 700), with triangular filters between 50 Hz and
    95 % of the Nyquist frequency (Davis and Mermelstein 1980). The level of the recording is divided out first.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, spec: SpeechSpec, mels: int) -> None:
        super().__init__()
        window = round(spec.sample_rate * 0.025)
        self.hop = round(spec.sample_rate * 0.010)
        self.fft = 1 << math.ceil(math.log2(window))
        self.frames = frames(spec)
        # Frames are centred on every hop, and of the 1 + samples // hop of them the middle ones are taken.
        first = (1 + spec.samples // self.hop - self.frames) // 2
        begin = first * self.hop - window // 2
        end = begin + (self.frames - 1) * self.hop + window
        self.edges = max(0, -begin), max(0, end - spec.samples)
        self.span = slice(max(0, begin), max(0, begin) + end - begin)
        self.register_buffer("window", torch.hann_window(window), persistent=False)
        self.register_buffer("filters", mel_filters(mels, self.fft, spec.sample_rate), persistent=False)

    def forward(self, speech: Tensor) -> Tensor:
        """Takes int16 [batch, samples] and returns FP32 [batch, frames, mels]."""
        if speech.device.type == "cpu" and len(speech) > _AT_A_TIME:
            return torch.cat([self(speech[at : at + _AT_A_TIME]) for at in range(0, len(speech), _AT_A_TIME)])
        wave = speech.float() / 32_768
        wave = wave - wave.mean(dim=1, keepdim=True)
        rms = wave.square().mean(dim=1, keepdim=True).sqrt()
        wave = wave / rms.clamp(min=_SILENCE_RMS)
        if any(self.edges):
            wave = F.pad(wave, self.edges, mode="reflect")
        # Not torch.stft: it pads whole and answers with the axes the other way round, which takes three times as long.
        pieces = wave[:, self.span].unfold(1, self.window.numel(), self.hop) * self.window
        spectrum = torch.fft.rfft(pieces, self.fft)
        squares = torch.view_as_real(spectrum).square()
        log_mel = torch.log((squares[..., 0] + squares[..., 1]) @ self.filters + _ENERGY_FLOOR)
        # Not torch.std_mean, nor the two parts squared one by one: half of all the time here.
        centred = log_mel - log_mel.mean(dim=(1, 2), keepdim=True)
        variance = centred.square().sum(dim=(1, 2), keepdim=True) / (log_mel[0].numel() - 1)
        return centred / (variance.sqrt() + 1e-3)


class InputFeatures(nn.Module):
    """Normalises the three inputs. Has no parameters, and keeps its buffers in FP32."""

    def __init__(self, specs: InputSpecs, mels: int) -> None:
        super().__init__()
        self.log_mel = LogMel(specs.speech, mels)

    def forward(self, speech: Tensor, image: Tensor, sensor: Tensor) -> Features:
        """Normalises a batch.

        Args:
            speech: int16 [batch, samples].
            image: uint8 [batch, height, width].
            sensor: float32 [batch, frames, channels].
        """
        return Features(self.log_mel(speech), image[:, None].float() / 127.5 - 1, sensor_motion(sensor))


def sensor_motion(sensor: Tensor) -> Tensor:
    """Centres and scales each stretch and appends its first and second differences.

    One scale for all channels keeps their proportions, so that a pen's shape survives.

    Args:
        sensor: float32 [batch, frames, channels], finite.

    Returns:
        float32 [batch, frames, 3 * channels].
    """
    centred = sensor - sensor.mean(dim=1, keepdim=True)
    scale = centred.square().mean(dim=(1, 2), keepdim=True).sqrt()
    position = centred / scale.clamp(min=_SENSOR_FLOOR)
    velocity = torch.diff(position, dim=1, prepend=position[:, :1]) * _DIFFERENCE_GAIN
    acceleration = torch.diff(velocity, dim=1, prepend=velocity[:, :1])
    return torch.cat((position, velocity, acceleration / 2), dim=2)


def frames(spec: SpeechSpec) -> int:
    """Returns the number of log-mel frames that the network sees: whole 10 ms hops, a multiple of 8."""
    return spec.samples // round(spec.sample_rate * 0.010) // 8 * 8


def mel_filters(mels: int, fft: int, sample_rate: int) -> Tensor:
    """Returns triangular mel filters as a matrix, FP32 [fft // 2 + 1, mels]."""
    low, high = (2595 * math.log10(1 + hertz / 700) for hertz in (50, 0.95 * sample_rate / 2))
    edges = 700 * (10 ** (torch.linspace(low, high, mels + 2, dtype=torch.float64) / 2595) - 1)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    hertz = torch.linspace(0, sample_rate / 2, fft // 2 + 1, dtype=torch.float64)[:, None]
    rising, falling = (hertz - left) / (centre - left), (right - hertz) / (right - centre)
    return torch.minimum(rising, falling).clamp(min=0).float()
