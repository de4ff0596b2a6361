import io

import numpy as np
import pytest
from PIL import Image

from pipeline.events.errors import Invalid, TooLarge
from pipeline.events.records import ImageEncoding, SensorEvent, SpeechEncoding, SpeechEvent
from pipeline.model.pictures import thumbnail
from pipeline.model.previews import BOX, LOUDEST, MAX_CURVES, Curves, PenTrace, trace, waveform
from pipeline.model.specs import ImageSpec, SpeechSpec


def speech(samples: np.ndarray) -> SpeechEvent:
    return SpeechEvent(0, "", 16_000, SpeechEncoding.PCM_S16LE, samples.astype("<i2").tobytes())


def sensor(values: list[list[float]], channels: tuple[str, ...]) -> SensorEvent:
    return SensorEvent(0, "", 100.0, channels, np.asarray(values, "<f4").tobytes())


def png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def shrunk(picture: Image.Image, side: int = 50) -> Image.Image:
    return Image.open(io.BytesIO(thumbnail(png(picture), ImageEncoding.PNG, ImageSpec(), side)))


def test_a_waveform_is_scaled_to_its_loudest_sample() -> None:
    half_loud = np.concatenate((np.zeros(8_000), 3_000 * np.sin(np.arange(8_000) / 3)))
    columns = waveform(speech(half_loud), SpeechSpec(), 10)
    assert len(columns) == 10
    assert columns[:4] == ((0, 0),) * 4
    assert max(high for _, high in columns) == pytest.approx(LOUDEST, abs=3)
    assert min(low for low, _ in columns) == pytest.approx(-LOUDEST, abs=3)


def test_near_silence_looks_silent() -> None:
    columns = waveform(speech(np.tile([1, -1], 8_000)), SpeechSpec(), 10)
    assert max(high for _, high in columns) <= 1


def test_a_pen_goes_right_and_its_up_is_up() -> None:
    way = trace(sensor([[0, 0], [1, 0], [1, 1], [2, 1]], ("x", "y")), 4)
    assert way == PenTrace(((0, 750), (500, 750), (500, 250), (1_000, 250)))


def test_a_pen_is_told_by_its_channels_in_any_order() -> None:
    assert trace(sensor([[0, 0], [0, 1]], ("y", "x")), 2) == trace(sensor([[0, 0], [1, 0]], ("x", "y")), 2)


def test_a_pen_that_rests_is_a_point() -> None:
    way = trace(sensor([[3, 4]] * 5, ("x", "y")), 3)
    assert way == PenTrace(((BOX // 2, BOX // 2),) * 3)


def test_other_channels_are_curves() -> None:
    values = [[float(row), 5.0, *[0.0] * 8] for row in range(3)]
    channels = ("speed", "still", *"abcdefgh")
    curves = trace(sensor(values, channels), 3)
    assert isinstance(curves, Curves)
    assert curves.channels == channels[:MAX_CURVES]
    assert curves.values[:2] == ((1_000, 500, 0), (0, 0, 0))


@pytest.mark.parametrize("channels", [("x", "x"), ()])
def test_unusable_channels_are_invalid(channels: tuple[str, ...]) -> None:
    with pytest.raises(Invalid):
        trace(sensor([[0.0, 0.0]], channels), 3)


def test_a_thumbnail_keeps_colours_and_proportions() -> None:
    small = shrunk(Image.new("RGB", (400, 200), (200, 30, 30)))
    assert (small.size, small.mode, small.getpixel((5, 5))) == ((50, 25), "RGB", (200, 30, 30))


def test_a_small_picture_is_not_blown_up() -> None:
    assert shrunk(Image.new("L", (20, 20), 7)).size == (20, 20)


def test_transparency_is_kept_and_sixteen_bits_become_eight() -> None:
    assert shrunk(Image.new("RGBA", (60, 60), (1, 2, 3, 0))).mode == "RGBA"
    deep = shrunk(Image.fromarray(np.full((60, 60), 0x8000, np.uint16)))
    assert deep.getpixel((0, 0)) == (128, 128, 128)


def test_a_damaged_or_huge_picture_is_refused() -> None:
    with pytest.raises(Invalid):
        thumbnail(png(Image.new("L", (9, 9)))[:40], ImageEncoding.PNG, ImageSpec(), 50)
    with pytest.raises(TooLarge):
        thumbnail(png(Image.new("L", (99, 99))), ImageEncoding.PNG, ImageSpec(max_pixels=1_000), 50)
