"""Image events from files and arrays."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.events.records import ImageEncoding
from producers import image
from producers.errors import InvalidInput

GREY = np.arange(32 * 24, dtype=np.uint32).reshape(32, 24).astype(np.uint8)


@pytest.mark.parametrize(("name", "encoding"), [("a.png", "PNG"), ("a.jpg", "JPEG")])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_file_travels_as_it_is(tmp_path: Path, name: str, encoding: str, mode: str) -> None:
    file = tmp_path / name
    Image.fromarray(GREY).convert(mode).save(file)
    event = image.from_file(file, 7)
    assert (event.event_time_ms, event.source, event.encoding) == (7, name, ImageEncoding(encoding))
    assert event.image == file.read_bytes()


@pytest.mark.parametrize("shape", [(8, 9), (8, 9, 3), (8, 9, 4)])
def test_pixels_come_out_as_they_went_in(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    event = image.from_array(pixels, 7, "camera")
    assert event.encoding == ImageEncoding.PNG
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(event.image))), pixels)


def test_quality_is_the_jpegs() -> None:
    poor, good = (image.from_array(GREY, 0, "", ImageEncoding.JPEG, quality) for quality in (10, 90))
    assert len(poor.image) < len(good.image)
    assert np.abs(np.asarray(Image.open(io.BytesIO(good.image))).astype(int) - GREY).mean() < 5


@pytest.mark.parametrize(
    ("pixels", "wrong"),
    [
        (GREY.astype(np.float32), "float32"),
        (GREY[0], r"\[24\]"),
        (np.zeros((4, 4, 2), np.uint8), r"\[4, 4, 2\]"),
        (np.zeros((0, 4), np.uint8), "0 pixels"),
    ],
)
def test_pixels_of_another_kind_are_refused(pixels: np.ndarray, wrong: str) -> None:
    with pytest.raises(InvalidInput, match=wrong):
        image.from_array(pixels, 0)


def test_transparency_needs_png() -> None:
    with pytest.raises(InvalidInput, match="transparency"):
        image.from_array(np.zeros((4, 4, 4), np.uint8), 0, encoding=ImageEncoding.JPEG)


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89PNG", b"text"])
def test_what_is_no_picture_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"a\.png is not a JPEG or PNG file"):
        image.from_file(file, 0)


def test_a_damaged_picture_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    Image.fromarray(GREY).save(file)
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(InvalidInput, match=r"a\.png.*cannot be decoded"):
        image.from_file(file, 0)
