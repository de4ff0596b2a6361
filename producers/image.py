"""Image events from pictures."""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.events.errors import RecordError
from pipeline.events.records import ImageEncoding, ImageEvent
from pipeline.model.media import decode_image
from pipeline.model.specs import ImageSpec
from producers import files
from producers.errors import InvalidInput

_CONTRACT = ImageSpec()
_SIGNATURES = {ImageEncoding.JPEG: b"\xff\xd8\xff", ImageEncoding.PNG: b"\x89PNG\r\n\x1a\n"}
_CHANNELS = {3, 4}


def from_file(file: Path, event_time_ms: int, source: str = "") -> ImageEvent:
    """Builds an event of a JPEG or PNG file, which travels as it is.

    Args:
        file: a picture of at most 40 million pixels.
        event_time_ms: when it was taken, milliseconds since the epoch.
        source: who took it; without it the file's name.

    Raises:
        InvalidInput: it cannot be read or decoded, or is too large.
    """
    image = files.read(file)
    encoding = next((e for e, start in _SIGNATURES.items() if image.startswith(start)), None)
    if encoding is None:
        raise InvalidInput(f"{file} is not a JPEG or PNG file: convert it to one of them.")
    event = ImageEvent(event_time_ms, source or file.name, encoding, image)
    try:
        decode_image(event, _CONTRACT)
    except RecordError as error:
        raise InvalidInput(f"{file}: {error}") from error
    return event


def from_array(
    pixels: npt.NDArray[np.uint8],
    event_time_ms: int,
    source: str = "",
    encoding: ImageEncoding = ImageEncoding.PNG,
    quality: int = 90,
) -> ImageEvent:
    """Builds an event of pixels.

    Args:
        pixels: uint8 [rows, columns] of greys, or [rows, columns, 3 or 4] of RGB or RGBA.
        event_time_ms: when it was taken, milliseconds since the epoch.
        source: who took it.
        encoding: how it travels; PNG loses nothing, JPEG has no transparency.
        quality: of a JPEG, 1 to 95.

    Raises:
        InvalidInput: the array is not of that kind, or is empty or too large.
    """
    grey = pixels.ndim == 2
    if pixels.dtype != np.uint8 or not (grey or (pixels.ndim == 3 and pixels.shape[2] in _CHANNELS)):
        raise InvalidInput(
            f"The pixels are {pixels.dtype} {list(pixels.shape)}: give uint8 [rows, columns] or "
            "[rows, columns, 3 or 4]."
        )
    count = pixels.shape[0] * pixels.shape[1]
    if not 0 < count <= _CONTRACT.max_pixels:
        raise InvalidInput(f"The picture has {count} pixels: give between 1 and {_CONTRACT.max_pixels}.")
    picture = Image.fromarray(pixels)
    if encoding is ImageEncoding.JPEG and picture.mode == "RGBA":
        raise InvalidInput("The picture has transparency, which JPEG has not: send it as PNG, or drop the channel.")
    file = io.BytesIO()
    picture.save(file, encoding.value, **({"quality": quality} if encoding is ImageEncoding.JPEG else {}))
    return ImageEvent(event_time_ms, source, encoding, file.getvalue())
