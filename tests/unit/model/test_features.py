import math

import pytest
import torch

from pipeline.model.features import InputFeatures, LogMel, frames, mel_filters, sensor_motion
from pipeline.model.specs import InputSpecs, SpeechSpec


def tone(hertz: float, level: float = 0.3) -> torch.Tensor:
    time = torch.arange(16_000) / 16_000
    return (torch.sin(2 * math.pi * hertz * time) * level * 32_767).to(torch.int16)[None]


def test_each_mel_filter_peaks_at_one_and_the_last_ends_below_nyquist() -> None:
    filters = mel_filters(40, 4096, 16_000)
    assert filters.shape == (2049, 40)
    assert filters.max(dim=0).values.min() > 0.9
    assert torch.all(filters.argmax(dim=0).diff() > 0)
    assert filters[round(7_700 / 8_000 * 2048) :].sum() == 0


def test_a_higher_tone_lights_a_higher_band() -> None:
    log_mel = LogMel(SpeechSpec(), 40)
    bands = [int(log_mel(tone(hertz))[0].mean(dim=0).argmax()) for hertz in (200, 1_000, 3_000, 7_000)]
    assert bands == sorted(set(bands))


def test_speech_is_standardised_whatever_its_level() -> None:
    log_mel = LogMel(SpeechSpec(), 40)
    loud, quiet = log_mel(tone(440, 0.9)), log_mel(tone(440, 0.01))
    assert loud.shape == (1, 96, 40)
    assert abs(loud.mean()) < 1e-5
    assert loud.std() == pytest.approx(1, abs=0.01)
    # What differs is the rounding of the quiet one to 16 bits.
    torch.testing.assert_close(loud, quiet, atol=0.35, rtol=0)


def test_silence_stays_silent_and_finite() -> None:
    log_mel = LogMel(SpeechSpec(), 40)
    assert torch.count_nonzero(log_mel(torch.zeros(1, 16_000, dtype=torch.int16)).abs() > 1e-2) == 0


@pytest.mark.parametrize(
    ("rate", "samples", "expected"), [(16_000, 16_000, 96), (8_000, 16_000, 200), (48_000, 48_000, 96)]
)
def test_frames_follow_the_spec(rate: int, samples: int, expected: int) -> None:
    spec = SpeechSpec(sample_rate=rate, samples=samples)
    assert frames(spec) == expected
    assert LogMel(spec, 20)(torch.zeros(2, samples, dtype=torch.int16)).shape == (2, expected, 20)


@pytest.mark.parametrize(("rate", "samples"), [(16_000, 16_000), (8_000, 16_000), (16_000, 16_079), (44_100, 30_000)])
def test_the_spectrum_is_that_of_a_centred_stft(rate: int, samples: int) -> None:
    log_mel = LogMel(SpeechSpec(sample_rate=rate, samples=samples), 40)
    speech = torch.randint(-9_000, 9_000, (2, samples), generator=torch.Generator().manual_seed(1)).to(torch.int16)
    wave = speech.double() / 32_768
    wave = wave - wave.mean(dim=1, keepdim=True)
    wave = wave / wave.square().mean(dim=1, keepdim=True).sqrt()
    window = log_mel.window.double()
    spectrum = torch.stft(wave, log_mel.fft, log_mel.hop, len(window), window, center=True, return_complex=True)
    first = (spectrum.shape[2] - log_mel.frames) // 2
    power = spectrum[:, :, first : first + log_mel.frames].abs().square().transpose(1, 2)
    energies = torch.log(power @ log_mel.filters.double() + 1e-2)
    deviation, mean = torch.std_mean(energies, dim=(1, 2), keepdim=True)
    expected = ((energies - mean) / (deviation + 1e-3)).float()
    torch.testing.assert_close(log_mel(speech), expected, atol=1e-4, rtol=1e-4)


def test_a_recording_is_seen_alike_in_every_place_of_a_large_batch() -> None:
    log_mel = LogMel(SpeechSpec(), 40)
    speech = torch.randint(-9_000, 9_000, (19, 16_000), generator=torch.Generator().manual_seed(1)).to(torch.int16)
    alone = torch.cat([log_mel(recording[None]) for recording in speech])
    torch.testing.assert_close(log_mel(speech), alone)


def test_sensor_units_and_origin_do_not_matter() -> None:
    sensor = torch.randn(4, 64, 2)
    torch.testing.assert_close(sensor_motion(sensor * 250 + 1_000), sensor_motion(sensor), atol=1e-3, rtol=1e-3)


def test_sensor_differences_are_those_of_the_positions() -> None:
    position, velocity, acceleration = torch.split(sensor_motion(torch.randn(3, 64, 2)), 2, dim=2)
    torch.testing.assert_close(velocity[:, 1:], (position[:, 1:] - position[:, :-1]) * 4)
    torch.testing.assert_close(acceleration[:, 1:], (velocity[:, 1:] - velocity[:, :-1]) / 2)
    assert torch.count_nonzero(velocity[:, 0]) == 0


def test_a_still_sensor_is_zero() -> None:
    assert torch.count_nonzero(sensor_motion(torch.full((1, 64, 2), 7.0))) == 0


def test_pixels_span_minus_one_to_one() -> None:
    image = torch.tensor([[[0, 255]]], dtype=torch.uint8)
    speech = torch.zeros(1, 16_000, dtype=torch.int16)
    features = InputFeatures(InputSpecs(), 40)(speech, image, torch.zeros(1, 64, 2))
    assert features.image.tolist() == [[[[-1.0, 1.0]]]]
