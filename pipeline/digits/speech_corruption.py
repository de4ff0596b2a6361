"""What happens to speech between a mouth and the network, at severity 1: the noisy protocol.

Every function takes and returns a batch of waves, float32 [batch, samples], full scale 1.
"""

import torch
from torch import Generator, Tensor

SAMPLE_RATE = 16_000
ECHO = 4_000


def uniform(generator: Generator, low: float, high: float, *shape: int) -> Tensor:
    """Numbers drawn evenly between `low` and `high`, float32 of the given shape."""
    return torch.rand(*shape, generator=generator) * (high - low) + low


def chance(generator: Generator, probability: float, count: int) -> Tensor:
    """Which of `count` samples something happens to: bool [count]."""
    return torch.rand(count, generator=generator) < probability


def corrupt_speech(clips: Tensor, lengths: Tensor, babble: Tensor, generator: Generator) -> Tensor:
    """The noisy protocol for speech.

    A clip starts anywhere in the second; half of them echo; coloured noise (or babble, in 4 of 10) comes on top at
    -3 to 18 dB; 3 of 10 go through a telephone's band; the level varies by 18 dB.

    Args:
        clips: int16 [batch, samples], each clip at the left.
        lengths: Samples of each clip, int64 [batch].
        babble: Other voices of the same split, unit variance, float32 [any, samples].
        generator: Source of all randomness.

    Returns:
        int16 [batch, samples].
    """
    count = len(clips)
    waves = place(clips.float() / 32_768, lengths, generator)
    waves = reverberate(waves, chance(generator, 0.5, count), (0.05, 0.45), 0.06, generator)
    noise = coloured_noise(waves, (0.0, 1.0), generator)
    noise = mix_in_babble(noise, babble, 0.4, generator)
    waves = add_noise(waves, noise, lengths, uniform(generator, -3, 18, count))
    waves = band(waves, chance(generator, 0.3, count), 300, 3_400)
    return to_int16(level(waves, uniform(generator, -18, 0, count)))


def place(waves: Tensor, lengths: Tensor, generator: Generator) -> Tensor:
    """Moves each clip from the left to anywhere that it fits."""
    room = (waves.shape[1] - lengths).clamp(min=0) + 1
    offset = (torch.rand(len(waves), generator=generator) * room).long()
    source = torch.arange(waves.shape[1])[None] - offset[:, None]
    return waves.gather(1, source.clamp(min=0)) * (source >= 0)


def reverberate(
    waves: Tensor, chosen: Tensor, decay: tuple[float, float], loudness: float, generator: Generator
) -> Tensor:
    """Convolves the chosen waves with exponentially decaying noise (Polack's model of a room).

    Args:
        waves: The waves.
        chosen: bool [batch], which of them.
        decay: Shortest and longest RT60, seconds.
        loudness: Standard deviation of the reflections at time 0, beside a direct sound of 1.
        generator: Source of all randomness.
    """
    picked = waves[chosen]
    if len(picked) == 0:
        return waves
    time = torch.arange(ECHO) / SAMPLE_RATE
    rt60 = uniform(generator, *decay, len(picked), 1)
    room = torch.randn(len(picked), ECHO, generator=generator) * torch.exp(-6.9 * time / rt60) * loudness
    room[:, 0] = 1
    size = -(-(waves.shape[1] + ECHO) // 4_096) * 4_096
    echoed = torch.fft.irfft(torch.fft.rfft(picked, size) * torch.fft.rfft(room, size), size)
    waves = waves.clone()
    waves[chosen] = echoed[:, : waves.shape[1]]
    return waves


def coloured_noise(waves: Tensor, slope: tuple[float, float], generator: Generator) -> Tensor:
    """Unit-variance noise; its amplitude falls with frequency to the power of a random slope (0 white, 1 red)."""
    count, samples = waves.shape
    bins = samples // 2 + 1
    frequency: Tensor = torch.arange(bins).clamp(min=1).float()
    spectrum = torch.view_as_complex(torch.randn(count, bins, 2, generator=generator))
    colour = torch.pow(frequency, -uniform(generator, *slope, count, 1))
    colour[:, 0] = 0
    noise: Tensor = torch.fft.irfft(spectrum * colour, samples)
    return noise / noise.std(1, keepdim=True)


def mix_in_babble(noise: Tensor, babble: Tensor, probability: float, generator: Generator) -> Tensor:
    """Puts babble in the place of some of the noise."""
    row = torch.randint(len(babble), (len(noise),), generator=generator)
    return torch.where(chance(generator, probability, len(noise))[:, None], babble[row], noise)


def make_babble(clips: Tensor, count: int, generator: Generator, speakers: int = 4) -> Tensor:
    """Several clips at once, each shifted around the second at random: unit variance, [count, samples]."""
    samples = clips.shape[1]
    total = torch.zeros(count, samples)
    for _ in range(speakers):
        row = torch.randint(len(clips), (count,), generator=generator)
        shift = torch.randint(samples, (count, 1), generator=generator)
        total += clips[row].float().gather(1, (torch.arange(samples)[None] + shift) % samples)
    return total / total.std(1, keepdim=True).clamp(min=1e-3)


def add_noise(waves: Tensor, noise: Tensor, lengths: Tensor, decibels: Tensor) -> Tensor:
    """Adds unit-variance noise so that the clip, over its own length, stands `decibels` [batch] above it."""
    power = waves.square().sum(1) / lengths.clamp(min=1)
    loudness = power.sqrt().clamp(min=1e-4) * 10 ** (-decibels / 20)
    return waves + noise * loudness[:, None]


def band(waves: Tensor, chosen: Tensor, low: float, high: float) -> Tensor:
    """Keeps only the frequencies between `low` and `high` Hz of the chosen waves."""
    spectrum = torch.fft.rfft(waves[chosen])
    hertz = torch.linspace(0, SAMPLE_RATE / 2, spectrum.shape[1])
    waves = waves.clone()
    waves[chosen] = torch.fft.irfft(spectrum * ((hertz > low) & (hertz < high)), waves.shape[1])
    return waves


def level(waves: Tensor, decibels: Tensor) -> Tensor:
    """Scales each wave so that its peak stands at `decibels` [batch] of full scale."""
    return waves / waves.abs().amax(1, keepdim=True).clamp(min=1e-4) * 10 ** (decibels / 20)[:, None]


def to_int16(waves: Tensor) -> Tensor:
    """Rounds to samples as they travel; what is over full scale clips."""
    return (waves * 32_767).round().clamp(-32_768, 32_767).to(torch.int16)
