"""Pictures of any usual kind to greyscale ink: the part of `pipeline.model.media` that uses Pillow."""

import io
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from pipeline.events.errors import Invalid, TooLarge
from pipeline.events.records import ImageEncoding
from pipeline.model.specs import ImageSpec

Grey = npt.NDArray[np.uint8]
_Decoded = TypeVar("_Decoded")

# Pictures with less contrast than this show only their ground.
_BLANK = 32

# Damaged EXIF data makes Pillow warn; the picture is fine without it. A filter, since catch_warnings is not
# thread-safe.
warnings.filterwarnings("ignore", module=r"PIL\.")

# The file classes themselves, not Image.open: that warns of large pictures by a process-wide limit, and tries
# every format it knows on bytes from outside.
_FORMATS: Final[dict[ImageEncoding, tuple[type[ImageFile], bytes]]] = {
    ImageEncoding.JPEG: (JpegImageFile, b"\xff\xd8\xff"),
    ImageEncoding.PNG: (PngImageFile, b"\x89PNG\r\n\x1a\n"),
}


def read_picture(data: bytes, encoding: ImageEncoding, spec: ImageSpec) -> Grey:
    """Decodes a JPEG or PNG file to greyscale, uint8 [rows, columns] of its own size or, of a JPEG, a fraction.

    Raises:
        Invalid: Empty, not a picture, damaged, or not of the format that `encoding` says.
        TooLarge: More than spec.max_pixels, by the header alone.
    """
    return _read(data, encoding, lambda picture: _decode(picture, spec))


def thumbnail(data: bytes, encoding: ImageEncoding, spec: ImageSpec, side: int) -> bytes:
    """Returns a PNG file of a picture, upright and in its colours, at most `side` pixels wide and high.

    Raises:
        Invalid: Empty, not a picture, damaged, or not of the format that `encoding` says.
        TooLarge: More than spec.max_pixels, by the header alone.
    """
    return _read(data, encoding, lambda picture: _shrunk(picture, spec, side))


def to_ink(grey: Grey, spec: ImageSpec) -> Grey:
    """Scales a picture to fit the spec, pads it with its ground and turns it to bright ink on dark ground.

    The ground is what the border mostly shows; where it is nearer the bright end of the picture than the dark one,
    the picture is dark on bright and is inverted.

    Returns:
        uint8 [spec.height, spec.width].
    """
    rows, columns = grey.shape
    scale = min(spec.height / rows, spec.width / columns)
    size = max(1, round(columns * scale)), max(1, round(rows * scale))
    scaled = grey
    if size != (columns, rows):
        scaled = np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BILINEAR))
    border = np.sort(np.concatenate((scaled[0], scaled[-1], scaled[:, 0], scaled[:, -1])), kind="stable")
    ground = _quantile(border, 0.5)
    levels = np.sort(scaled, axis=None, kind="stable")
    dark, bright = _quantile(levels, 0.02), _quantile(levels, 0.98)
    above, left = (spec.height - size[1]) // 2, (spec.width - size[0]) // 2
    ink = np.full((spec.height, spec.width), round(ground), dtype=np.uint8)
    ink[above : above + size[1], left : left + size[0]] = scaled
    middle = (dark + bright) / 2 if bright - dark > _BLANK else 127.5
    return 255 - ink if ground > middle else ink


def _read(data: bytes, encoding: ImageEncoding, decode: Callable[[ImageFile], _Decoded]) -> _Decoded:
    file_class, signature = _FORMATS[encoding]
    if not data:
        raise Invalid("The image event's image is empty; publish a whole JPEG or PNG file.")
    if not data.startswith(signature):
        raise Invalid(f"The image event's image is no {encoding} file; publish whole files and name their encoding.")
    try:
        with file_class(io.BytesIO(data)) as picture:
            return decode(picture)
    except TooLarge:
        raise
    # Hostile bytes can make a decoder raise anything; none of it may reach the rest of the batch.
    except Exception as error:
        raise Invalid(
            f"The image event's {encoding} image cannot be decoded: {error}. Publish it whole and undamaged."
        ) from error


def _quantile(ordered: Grey, share: float) -> float:
    """Returns what `np.quantile` does of sorted levels, which for so few costs it more than the sorting."""
    place = (len(ordered) - 1) * share
    below = int(place)
    low, high = int(ordered[below]), int(ordered[min(below + 1, len(ordered) - 1)])
    return low + (high - low) * (place - below)


def _decode(picture: ImageFile, spec: ImageSpec) -> Grey:
    _check_size(picture, spec)
    # Lets the JPEG decoder skip detail that scaling would drop; other formats ignore it.
    side = 2 * max(spec.height, spec.width)
    picture.draft("L", (side, side))
    picture.load()
    return _grey(_upright(picture))


def _shrunk(picture: ImageFile, spec: ImageSpec, side: int) -> bytes:
    _check_size(picture, spec)
    picture.draft("RGB", (side, side))
    picture.load()
    upright = _upright(picture)
    if upright.mode.startswith("I"):
        upright = Image.fromarray(_grey(upright))
    small = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    small.thumbnail((side, side))
    file = io.BytesIO()
    small.save(file, "PNG")
    return file.getvalue()


def _check_size(picture: ImageFile, spec: ImageSpec) -> None:
    width, height = picture.size
    if width * height > spec.max_pixels:
        raise TooLarge(
            f"The image event's picture is {width} x {height} pixels; scale it to at most {spec.max_pixels} in all."
        )


def _upright(picture: Image.Image) -> Image.Image:
    # Orientation is a courtesy: damaged EXIF data is no reason to refuse a picture.
    with suppress(Exception):
        ImageOps.exif_transpose(picture, in_place=True)
    return picture


def _grey(picture: Image.Image) -> Grey:
    if picture.has_transparency_data:
        return _without_alpha(picture.convert("RGBA"))
    if picture.mode.startswith("I"):
        return (np.asarray(picture, dtype=np.int64) >> 8).clip(0, 255).astype(np.uint8)
    return np.asarray(picture if picture.mode == "L" else picture.convert("L"))


def _without_alpha(picture: Image.Image) -> Grey:
    opacity = np.asarray(picture.getchannel("A"), dtype=np.float32) / 255
    shade = np.asarray(picture.convert("RGB").convert("L"), dtype=np.float32)
    mean = float((shade * opacity).sum()) / max(1.0, float(opacity.sum()))
    paper = 255 if mean < 128 else 0
    return (shade * opacity + paper * (1 - opacity)).round().astype(np.uint8)
