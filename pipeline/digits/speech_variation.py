"""Speech as training hears it: more kinds of people, rooms, microphones and lines than the noisy protocol has.

The protocol's conditions are inside this range. The network is meant for recordings of people it never heard,
made with equipment it never met.
"""

import math

import torch
from torch import Generator, Tensor

from pipeline.digits.speech_corruption import (
    SAMPLE_RATE,
    add_noise,
    chance,
    coloured_noise,
    level,
    mix_in_babble,
    place,
    reverberate,
    to_int16,
    uniform,
)

GAP = 2_000


def vary_speech(clips: Tensor, lengths: Tensor, babble: Tensor, generator: Generator) -> Tensor:
    """One training version of each clip.

    Args:
        clips: int16 [batch, samples], each clip at the left.
        lengths: Samples of each clip, int64 [batch].
        babble: Other voices of the training split, unit variance, float32 [any, samples].
        generator: Source of all randomness.

    Returns:
        int16 [batch, samples].
    """
    count = len(clips)
    waves, lengths = vary_speaker(clips.float() / 32_768, lengths, generator)
    waves = place(waves, lengths, generator)
    extent = spoken_extent(waves, generator)
    waves = reverberate(waves, chance(generator, 0.5, count), (0.05, 0.6), 0.07, generator)
    noise = coloured_noise(waves, (0.0, 1.1), generator)
    noise = hum(mix_in_babble(noise, babble, 0.35, generator), chance(generator, 0.1, count), generator)
    waves = add_noise(waves, noise, lengths, uniform(generator, -3, 20, count) + 20 * chance(generator, 0.2, count))
    waves = filter_channel(waves, generator)
    # Short recordings are padded with digital silence when they are served, noise and all.
    waves = torch.where(chance(generator, 0.4, count)[:, None], waves * extent, waves)
    waves = distort(level(waves, uniform(generator, -18, 0, count)), generator)
    return to_int16(waves)


def vary_speaker(waves: Tensor, lengths: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Plays clips faster or slower, which moves pitch and formants too, with a pace that wavers; trims some ends.

    Returns:
        The waves, clips at the left, and their new lengths.
    """
    count, samples = waves.shape
    fastest = uniform(generator, math.log(0.8), math.log(1.25), count).exp()
    speed = torch.maximum(fastest, lengths / (samples - 1))[:, None]
    waver = uniform(generator, 0, 0.06, count, 1) * SAMPLE_RATE / (2 * math.pi)
    rate, phase = uniform(generator, 0.8, 4.0, count, 1), uniform(generator, 0, 2 * math.pi, count, 1)
    trimmed = chance(generator, 0.3, count)[:, None]
    start = uniform(generator, 300, 1_100, count, 1) * trimmed
    end = lengths[:, None] - uniform(generator, 300, 1_300, count, 1) * trimmed
    time = torch.arange(samples)[None].float()
    swing = torch.sin(2 * math.pi * rate * time / SAMPLE_RATE + phase) - torch.sin(phase)
    source = start + time * speed + swing * waver / rate
    below = source.long().clamp(0, samples - 2)
    part = source - below
    played = waves.gather(1, below) * (1 - part) + waves.gather(1, below + 1) * part
    inside = (source >= start) & (source < end)
    return played * inside, inside.sum(1).clamp(min=1)


def spoken_extent(waves: Tensor, generator: Generator) -> Tensor:
    """Where a recording that was cut around its clip would be: float32 [batch, samples], 1 inside."""
    spoken = waves != 0
    samples = waves.shape[1]
    first = spoken.float().argmax(1)
    last = samples - spoken.flip(1).float().argmax(1)
    before, after = uniform(generator, 0, GAP, 2, len(waves))
    sample = torch.arange(samples)[None]
    extent: Tensor = (sample >= (first - before)[:, None]) & (sample < (last + after)[:, None])
    return extent.float()


def hum(noise: Tensor, chosen: Tensor, generator: Generator) -> Tensor:
    """Puts mains hum, a tone of 45 to 65 Hz with falling harmonics, in the place of the chosen noise."""
    count = int(chosen.sum())
    if count == 0:
        return noise
    turns = 2 * math.pi * uniform(generator, 45, 65, count, 1) * torch.arange(noise.shape[1])[None] / SAMPLE_RATE
    phases = uniform(generator, 0, 2 * math.pi, 6, count, 1)
    tones = [torch.sin((number + 1) * turns + phase) / (number + 1) for number, phase in enumerate(phases)]
    tone = torch.stack(tones).sum(0) + 0.1 * noise[chosen]
    noise = noise.clone()
    noise[chosen] = tone / tone.std(1, keepdim=True)
    return noise


def filter_channel(waves: Tensor, generator: Generator) -> Tensor:
    """Colours the sound as a microphone would and, for half of the waves, keeps only a line's band."""
    count = len(waves)
    spectrum = torch.fft.rfft(waves)
    hertz = torch.linspace(0, SAMPLE_RATE / 2, spectrum.shape[1])[None]
    octave = torch.log2(hertz.clamp(min=60) / 1_000)
    tilt = uniform(generator, -4, 4, count, 1)
    ripple = uniform(generator, -5, 5, 3, count, 1)
    centre = uniform(generator, -3, 3, 3, count, 1)
    decibels = tilt * octave + sum(
        (ripple[bump] * torch.exp(-((octave - centre[bump]) ** 2)) for bump in range(3)), torch.zeros(count, 1)
    )
    kind = torch.rand(count, 1, generator=generator)
    # 0.30 telephone, 0.15 plain 8 kHz, 0.15 any other low-pass; the rest hears everything
    low = torch.where(kind < 0.30, uniform(generator, 200, 350, count, 1), uniform(generator, 0, 120, count, 1))
    high = torch.full((count, 1), 8_001.0)
    high = torch.where(kind < 0.60, uniform(generator, 2_800, 7_500, count, 1), high)
    high = torch.where(kind < 0.45, uniform(generator, 3_700, 4_000, count, 1), high)
    high = torch.where(kind < 0.30, uniform(generator, 3_000, 3_700, count, 1), high)
    gain = 10 ** (decibels / 20) * ((hertz >= low) & (hertz < high))
    filtered: Tensor = torch.fft.irfft(spectrum * gain, waves.shape[1])
    return filtered


def distort(waves: Tensor, generator: Generator) -> Tensor:
    """Some waves are clipped, some compressed, some go through 8-bit mu-law (ITU-T G.711), some lose bits."""
    peak = waves.abs().amax(1, keepdim=True).clamp(min=1e-4)
    waves = waves / peak
    kind = torch.rand(len(waves), generator=generator)
    for low, high, effect in ((0.0, 0.1, clip), (0.1, 0.2, compress), (0.2, 0.35, mu_law), (0.35, 0.4, lose_bits)):
        chosen = (kind >= low) & (kind < high)
        waves[chosen] = effect(waves[chosen], generator)
    return waves * peak


def clip(waves: Tensor, generator: Generator) -> Tensor:
    """Cuts the peaks off at 15 to 70 % of their height."""
    ceiling = uniform(generator, 0.15, 0.7, len(waves), 1)
    return waves.clamp(-ceiling, ceiling) / ceiling


def compress(waves: Tensor, generator: Generator) -> Tensor:
    """Raises what is quiet, as automatic gain does."""
    return waves.sign() * waves.abs() ** uniform(generator, 0.6, 0.95, len(waves), 1)


def mu_law(waves: Tensor, generator: Generator) -> Tensor:  # noqa: ARG001  (an effect among others)
    """8-bit companding, mu 255."""
    companded = waves.sign() * torch.log1p(255 * waves.abs()) / math.log(256)
    coarse = (companded * 127).round() / 127
    return coarse.sign() * torch.expm1(coarse.abs() * math.log(256)) / 255


def lose_bits(waves: Tensor, generator: Generator) -> Tensor:
    """Keeps 20 to 200 steps on each side of zero."""
    steps = uniform(generator, 20, 200, len(waves), 1)
    return (waves * steps).round() / steps
