import math

import pytest
import torch
from torch import Generator, Tensor

from pipeline.digits.pen_corruption import clean_pen, corrupt_pen, lose_frames, trace
from pipeline.digits.picture_corruption import TRAINING, corrupt_picture, cover, frame
from pipeline.digits.speech_corruption import (
    add_noise,
    band,
    coloured_noise,
    corrupt_speech,
    level,
    make_babble,
    place,
    reverberate,
    to_int16,
)


def seeded(seed: int = 3) -> Generator:
    return Generator().manual_seed(seed)


def test_a_clip_is_moved_whole(tones: Tensor, tone_lengths: Tensor) -> None:
    waves = tones.float()
    moved = place(waves, tone_lengths, seeded())
    for row, length in enumerate(tone_lengths.tolist()):
        # A sine starts with a sample of 0, so the first that is not 0 is its second.
        start = int(moved[row].nonzero()[0]) - 1
        assert torch.equal(moved[row, start : start + length], waves[row, :length])
        assert float(moved[row].abs().sum()) == float(waves[row].abs().sum())
    assert not torch.equal(moved, waves)


def test_a_clip_as_long_as_the_second_stays(generator: Generator) -> None:
    waves = torch.randn(3, 16_000, generator=generator)
    assert torch.equal(place(waves, torch.full((3,), 16_000), generator), waves)


@pytest.mark.parametrize("decibels", [-3.0, 10.0])
def test_noise_has_the_asked_distance(decibels: float, tones: Tensor, tone_lengths: Tensor) -> None:
    waves = tones.float() / 32_768
    noise = coloured_noise(waves, (0.0, 1.0), seeded())
    noisy = add_noise(waves, noise, tone_lengths, torch.full((4,), decibels))
    clip_power = waves.square().sum(1) / tone_lengths
    found = 10 * torch.log10(clip_power / (noisy - waves).square().mean(1))
    assert found.tolist() == pytest.approx([decibels] * 4, abs=0.05)


@pytest.mark.parametrize(("slope", "ratio"), [(0.0, 1.0), (1.0, 1 / 16)])
def test_the_slope_of_noise(slope: float, ratio: float) -> None:
    noise = coloured_noise(torch.zeros(50, 16_000), (slope, slope), seeded())
    power = torch.fft.rfft(noise).abs().square().mean(0)
    assert float(power[4_000:6_000].mean() / power[1_000:1_500].mean()) == pytest.approx(ratio, rel=0.05)


def test_only_the_chosen_lose_what_is_outside_the_band(tones: Tensor) -> None:
    waves = tones.float() / 32_768
    kept = band(waves, torch.tensor([True, False, True, False]), 1_000, 3_400)
    assert float(kept[0].abs().max()) < 0.35 * float(waves[0].abs().max())
    assert torch.equal(kept[1], waves[1])


def test_an_echo_follows_its_sound() -> None:
    waves = torch.zeros(2, 16_000)
    waves[:, 5_000] = 1
    echoed = reverberate(waves, torch.tensor([True, False]), (0.3, 0.3), 0.06, seeded())
    assert float(echoed[0, :5_000].abs().max()) < 1e-5
    assert float(echoed[0, 5_000]) == pytest.approx(1, abs=1e-4)
    assert float(echoed[0, 5_001:9_000].abs().max()) > 0.05
    assert torch.equal(echoed[1], waves[1])


def test_nobody_chosen_means_no_echo(tones: Tensor) -> None:
    waves = tones.float()
    assert torch.equal(reverberate(waves, torch.zeros(4, dtype=torch.bool), (0.1, 0.2), 0.1, seeded()), waves)


def test_level_and_rounding() -> None:
    waves = level(torch.tensor([[0.1, -0.2], [0.0, 0.0]]), torch.tensor([-6.0, 0.0]))
    assert to_int16(waves).tolist() == [[8_211, -16_422], [0, 0]]
    assert to_int16(torch.tensor([[2.0, -2.0]])).tolist() == [[32_767, -32_768]]


def test_the_speech_protocol_is_repeatable(tones: Tensor, tone_lengths: Tensor) -> None:
    babble = make_babble(tones, 5, seeded(1))
    assert babble.std(1).tolist() == pytest.approx([1] * 5, abs=1e-3)
    first, again, other = (corrupt_speech(tones, tone_lengths, babble, seeded(seed)) for seed in (7, 7, 8))
    assert first.shape == (4, 16_000)
    assert first.dtype is torch.int16
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_speech_protocol_does_not_change_its_input(tones: Tensor, tone_lengths: Tensor) -> None:
    before = tones.clone()
    corrupt_speech(tones, tone_lengths, make_babble(tones, 5, seeded()), seeded())
    assert torch.equal(tones, before)


def test_pictures_keep_their_ink_in_the_middle() -> None:
    digits = torch.zeros(400, 20, 20, dtype=torch.uint8)
    digits[:, 2:18, 8:12] = 255
    framed = frame(digits)
    assert framed.shape == (400, 32, 32)
    assert torch.equal(framed[:, 6:26, 6:26], digits)
    for bounds in (None, TRAINING):
        noisy = corrupt_picture(framed, seeded()) if bounds is None else corrupt_picture(framed, seeded(), bounds)
        assert noisy.dtype is torch.uint8
        mean = noisy.float().mean(0)
        assert float(mean[12:20, 14:18].mean()) > float(mean[:, :3].mean()) + 40


def test_half_of_the_pictures_are_covered() -> None:
    covered = cover(torch.full((2_000, 1, 32, 32), 2.0), seeded())
    touched = (covered != 2).flatten(1).any(1).float().mean()
    assert float(touched) == pytest.approx(0.5, abs=0.05)


def test_a_path_goes_through_its_points() -> None:
    points = torch.rand(5, 8, 2, generator=seeded())
    moments = torch.linspace(0, 1, 8).expand(5, -1)
    for smooth in (torch.ones(5, dtype=torch.bool), torch.zeros(5, dtype=torch.bool)):
        assert torch.allclose(trace(points, moments, smooth=smooth), points, atol=1e-5)
    middle = trace(points, torch.full((5, 1), 1 / 14))
    assert torch.allclose(middle[:, 0], (points[:, 0] + points[:, 1]) / 2, atol=1e-5)


def test_a_straight_line_stays_straight_when_smoothed() -> None:
    line = torch.linspace(0, 1, 8)[None, :, None].expand(1, -1, 2)
    moments = torch.linspace(0.2, 0.8, 9)[None]
    smooth = trace(line, moments, smooth=torch.ones(1, dtype=torch.bool))
    assert torch.allclose(smooth, trace(line, moments), atol=1e-5)


def test_a_clean_pen_is_centred() -> None:
    points = torch.stack([torch.zeros(8, 2), torch.ones(8, 2)])
    assert clean_pen(points)[:, 0].tolist() == [[-1, -1], [1, 1]]


def test_pens_lose_frames_in_half_of_the_streams() -> None:
    lost = lose_frames(torch.ones(2_000, 64, 2), seeded())
    counts = (lost[..., 0] == 0).sum(1)
    assert int(counts.max()) <= 23
    assert float((counts > 0).float().mean()) == pytest.approx(0.5, abs=0.05)


def test_the_pen_protocol_is_repeatable_and_finite() -> None:
    points = torch.rand(6, 8, 2, generator=seeded())
    first, again = (corrupt_pen(points, seeded()) for _ in range(2))
    assert first.shape == (6, 64, 2)
    assert torch.equal(first, again)
    assert math.isfinite(float(first.sum()))
