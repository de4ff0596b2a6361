"""Usual pictures become bright ink on dark ground; anything else ends in Invalid or TooLarge with a sentence."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from pipeline.events.errors import Invalid, RecordError, TooLarge
from pipeline.events.records import ImageEncoding, ImageEvent
from pipeline.model.media import decode_image
from pipeline.model.pictures import _quantile
from pipeline.model.specs import ImageSpec

SPEC = ImageSpec()
JPEG, PNG = ImageEncoding.JPEG, ImageEncoding.PNG


def drawing(width: int = 200, height: int = 200, ink: int = 255, ground: int = 0) -> Image.Image:
    """A bar, left of the middle and in the upper half."""
    picture = Image.new("L", (width, height), ground)
    box = [width * 0.25, height * 0.125, width * 0.5, height * 0.5]
    ImageDraw.Draw(picture).rectangle(box, fill=ink)
    return picture


@given(levels=st.lists(st.integers(0, 255), min_size=1, max_size=200), share=st.sampled_from([0.02, 0.5, 0.98]))
def test_levels_have_the_quantiles_that_numpy_finds(levels: list[int], share: float) -> None:
    ordered = np.sort(np.array(levels, np.uint8))
    assert _quantile(ordered, share) == pytest.approx(float(np.quantile(ordered, share)), abs=1e-9)


def event(picture: Image.Image, encoding: ImageEncoding = PNG, **options: object) -> ImageEvent:
    file = io.BytesIO()
    picture.save(file, format=encoding.value, **options)
    return raw(file.getvalue(), encoding)


def raw(image: bytes, encoding: ImageEncoding = PNG) -> ImageEvent:
    return ImageEvent(event_time_ms=0, source="test", encoding=encoding, image=image)


def assert_shows_the_drawing(ink: npt.NDArray[np.uint8], tolerance: int = 40) -> None:
    assert ink.dtype == np.uint8
    assert ink.shape == (32, 32)
    assert ink[5:15, 9:15].min() >= 255 - tolerance
    assert max(ink[:, :6].max(), ink[:, 18:].max(), ink[18:].max(), ink[:2].max()) <= tolerance


@pytest.mark.parametrize("size", [8, 28, 32, 33, 200, 1_500])
@pytest.mark.parametrize("encoding", [JPEG, PNG])
def test_any_size_is_scaled(size: int, encoding: ImageEncoding) -> None:
    ink = decode_image(event(drawing(size, size), encoding), SPEC)
    assert ink.shape == (32, 32)
    assert ink[6:14, 10:14].min() > 180
    assert ink[20:, 20:].max() < 60


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "LA", "RGBA", "I;16"])
def test_any_colour_mode_of_png_is_taken(mode: str) -> None:
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(drawing(), dtype=np.uint16) * 257)
        assert picture.mode == "I;16"
    else:
        picture = drawing().convert(mode)
    assert_shows_the_drawing(decode_image(event(picture), SPEC))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_any_colour_mode_of_jpeg_is_taken(mode: str) -> None:
    assert_shows_the_drawing(decode_image(event(drawing().convert(mode), JPEG), SPEC))


def test_progressive_jpeg_is_taken() -> None:
    assert_shows_the_drawing(decode_image(event(drawing(800, 800), JPEG, progressive=True), SPEC))


@pytest.mark.parametrize(("ink", "ground"), [(255, 0), (0, 255), (30, 230), (20, 110), (230, 60)])
def test_dark_ink_on_bright_ground_is_turned_over(ink: int, ground: int) -> None:
    got = decode_image(event(drawing(ink=ink, ground=ground)), SPEC).astype(int)
    assert got[5:15, 9:15].min() - got[18:, 18:].max() > 0.8 * abs(ink - ground)


@pytest.mark.parametrize("stroke", [0, 255])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_a_drawing_on_a_transparent_canvas_shows_its_ink(stroke: int, mode: str) -> None:
    picture = Image.new("LA", (200, 200), (stroke, 0))
    picture.putalpha(drawing())
    assert_shows_the_drawing(decode_image(event(picture.convert(mode)), SPEC))


def test_a_palette_with_transparency_is_taken_without_a_warning() -> None:
    picture = drawing().convert("P")
    assert_shows_the_drawing(decode_image(event(picture, transparency=bytes([0] + [255] * 255)), SPEC))


@pytest.mark.parametrize(("size", "columns", "rows"), [((200, 100), (0, 32), (8, 24)), ((100, 200), (8, 24), (0, 32))])
def test_the_longer_side_fits_and_the_rest_is_padded(
    size: tuple[int, int], columns: tuple[int, int], rows: tuple[int, int]
) -> None:
    picture = Image.new("L", size, 255)
    ImageDraw.Draw(picture).rectangle([20, 20, size[0] - 20, size[1] - 20], fill=0)
    ink = decode_image(event(picture), SPEC)
    where = np.argwhere(ink > 128)
    assert (where.min(axis=0) >= [rows[0], columns[0]]).all()
    assert (where.max(axis=0) < [rows[1], columns[1]]).all()
    assert len(where) > 100


@pytest.mark.parametrize("size", [(1, 1), (1, 4_000), (4_000, 1)])
def test_extreme_shapes_are_taken(size: tuple[int, int]) -> None:
    assert decode_image(event(Image.new("L", size)), SPEC).shape == (32, 32)


@pytest.mark.parametrize("paper", [0, 100, 255])
def test_an_empty_page_is_dark(paper: int) -> None:
    assert decode_image(event(Image.new("L", (64, 64), paper)), SPEC).max() <= 127


@pytest.mark.parametrize("encoding", [JPEG, PNG])
def test_exif_orientation_is_followed(encoding: ImageEncoding) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise
    turned = drawing().transpose(Image.Transpose.ROTATE_90)
    assert_shows_the_drawing(decode_image(event(turned, encoding, exif=exif), SPEC))


DAMAGED_EXIF = b"Exif\0\0II*\0\x08\0\0\0\x40\0\x12\x01\x03\0\xff\xff\xff\xff"


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # pytest's own filters stand before the module's
def test_damaged_exif_data_is_passed_over() -> None:
    assert_shows_the_drawing(decode_image(event(drawing(), JPEG, exif=DAMAGED_EXIF), SPEC))


def test_pillows_warnings_do_not_leak(tmp_path: Path) -> None:
    (tmp_path / "damaged.jpg").write_bytes(event(drawing(), JPEG, exif=DAMAGED_EXIF).image)
    program = (
        "import sys; from pathlib import Path\n"
        "from pipeline.events.records import ImageEncoding\n"
        "from pipeline.model.pictures import read_picture\n"
        "from pipeline.model.specs import ImageSpec\n"
        "print(read_picture(Path(sys.argv[1]).read_bytes(), ImageEncoding.JPEG, ImageSpec()).shape)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "damaged.jpg")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("(")
    assert done.stderr == ""


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes that claims to be large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(1_000)))
        + chunk(b"IEND", b"")
    )


PNG_BYTES, JPEG_BYTES = event(drawing()).image, event(drawing(), JPEG).image
BAD_IMAGES = [
    # what,             event,                                     error,    says
    ("empty", raw(b""), Invalid, "is empty"),
    ("text", raw(b"hello, world"), Invalid, "no PNG file"),
    ("a GIF", raw(b"GIF89a" + bytes(100)), Invalid, "no PNG file"),
    ("PNG called JPEG", raw(PNG_BYTES, JPEG), Invalid, "no JPEG file"),
    ("JPEG called PNG", raw(JPEG_BYTES, PNG), Invalid, "no PNG file"),
    ("only a PNG's start", raw(PNG_BYTES[:20]), Invalid, "cannot be decoded"),
    ("a PNG cut in the middle", raw(PNG_BYTES[:-40]), Invalid, "cannot be decoded"),
    ("only a JPEG's start", raw(JPEG_BYTES[:20], JPEG), Invalid, "cannot be decoded"),
    ("a JPEG cut in the middle", raw(JPEG_BYTES[: len(JPEG_BYTES) // 2], JPEG), Invalid, "cannot be decoded"),
    ("a bomb", raw(bomb(60_000, 60_000)), TooLarge, "60000 x 60000"),
    ("just too large", raw(bomb(8_000, 5_001)), TooLarge, "at most 40000000"),
    ("no width", raw(bomb(0, 100)), Invalid, "cannot be decoded"),
    ("fewer pixels than it says", raw(bomb(1_000, 1_000)), Invalid, "cannot be decoded"),
]


@pytest.mark.parametrize(
    ("bad", "error", "says"), [case[1:] for case in BAD_IMAGES], ids=[case[0] for case in BAD_IMAGES]
)
def test_bad_images_are_refused_with_a_sentence(bad: ImageEvent, error: type[RecordError], says: str) -> None:
    with pytest.raises(error, match=says) as raised:
        decode_image(bad, SPEC)
    assert str(raised.value).endswith(".")


@settings(max_examples=200, deadline=None)
@given(
    encoding=st.sampled_from([JPEG, PNG]),
    edits=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.floats(0, 1),
)
def test_a_damaged_file_gives_pixels_or_a_record_error(
    encoding: ImageEncoding, edits: list[tuple[int, int]], cut: float
) -> None:
    image = bytearray(PNG_BYTES if encoding is PNG else JPEG_BYTES)
    for place, value in edits:
        image[place % len(image)] = value
    try:
        ink = decode_image(raw(bytes(image[: round(len(image) * cut)]), encoding), SPEC)
    except RecordError:
        return
    assert ink.shape == (32, 32)
