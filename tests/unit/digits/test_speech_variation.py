import pytest
import torch
from torch import Generator, Tensor

from pipeline.digits.speech_corruption import make_babble
from pipeline.digits.speech_variation import (
    clip,
    compress,
    distort,
    filter_channel,
    hum,
    lose_bits,
    mu_law,
    spoken_extent,
    vary_speaker,
    vary_speech,
)


def test_speakers_are_faster_or_slower_and_fit(tones: Tensor, tone_lengths: Tensor) -> None:
    many, lengths = tones.repeat(50, 1).float(), tone_lengths.repeat(50)
    waves, new = vary_speaker(many, lengths, Generator().manual_seed(0))
    ratio = new / lengths
    assert 0.4 < float(ratio.min()) < 0.9
    assert 1.1 < float(ratio.max()) < 1.4
    for wave, length in zip(waves, new.tolist(), strict=True):
        assert not wave[length:].any()


def test_a_clip_that_fills_its_second_is_never_made_longer(generator: Generator) -> None:
    waves, lengths = vary_speaker(torch.randn(40, 16_000, generator=generator), torch.full((40,), 16_000), generator)
    assert waves.shape == (40, 16_000)
    assert int(lengths.max()) <= 16_000


def test_the_extent_covers_the_clip_and_little_more(generator: Generator) -> None:
    waves = torch.zeros(20, 16_000)
    waves[:, 6_000:9_000] = 1
    extent = spoken_extent(waves, generator)
    assert bool((extent[:, 6_000:9_000] == 1).all())
    assert bool((extent[:, :3_900] == 0).all())
    assert bool((extent[:, 11_100:] == 0).all())
    assert 3_100 < float(extent.sum(1).mean()) < 6_900


def test_hum_is_low(generator: Generator) -> None:
    noise = torch.randn(3, 16_000, generator=generator)
    hummed = hum(noise, torch.tensor([True, False, False]), generator)
    power = torch.fft.rfft(hummed[0]).abs().square()
    assert float(power[:400].sum() / power.sum()) > 0.9
    assert torch.equal(hummed[1:], noise[1:])
    assert torch.equal(hum(noise, torch.zeros(3, dtype=torch.bool), generator), noise)


def test_channels_differ(generator: Generator) -> None:
    click = torch.zeros(200, 16_000)
    click[:, 8_000] = 1
    spectrum = torch.fft.rfft(filter_channel(click, generator)).abs()
    silent_above_4_khz = (spectrum[:, 4_100:] < 1e-4).all(1).float().mean()
    assert float(silent_above_4_khz) == pytest.approx(0.5, abs=0.12)


EFFECTS = [
    # effect, largest difference it makes to a wave in -1..1
    (mu_law, 0.03),
    (lose_bits, 0.03),
    (compress, 0.30),
    (clip, 0.90),
]


@pytest.mark.parametrize(("effect", "most"), EFFECTS)
def test_effects_change_a_wave_but_not_its_bounds(effect: object, most: float, generator: Generator) -> None:
    assert callable(effect)
    waves = torch.linspace(-1, 1, 999).repeat(20, 1)
    changed = effect(waves, generator)
    assert 0 < float((changed - waves).abs().max()) < most
    assert float(changed.abs().max()) < 1.03


def test_distortion_leaves_most_waves_alone(generator: Generator) -> None:
    waves = torch.randn(500, 50, generator=generator)
    same = torch.isclose(distort(waves.clone(), generator), waves, atol=1e-6).all(1).float().mean()
    assert float(same) == pytest.approx(0.6, abs=0.07)


def test_training_speech_is_repeatable(tones: Tensor, tone_lengths: Tensor) -> None:
    babble = make_babble(tones, 5, Generator().manual_seed(1))
    first, again = (vary_speech(tones, tone_lengths, babble, Generator().manual_seed(7)) for _ in range(2))
    assert first.shape == (4, 16_000)
    assert first.dtype is torch.int16
    assert torch.equal(first, again)
    assert int(first.abs().amax(1).min()) > 1_000
