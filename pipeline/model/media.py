"""From a source event to an array the network takes: decoded, checked, resampled, scaled, cropped or padded.

Thread-safe, for a pool of decoding threads. Whatever the bytes are, the outcome is an array as the spec says,
or `Invalid` or `TooLarge` with a sentence for the dead letter.
"""

import io
import struct
from typing import Final

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from pipeline.events.errors import Invalid, TooLarge
from pipeline.events.records import Event, ImageEvent, SensorEvent, SpeechEncoding, SpeechEvent
from pipeline.model.pictures import read_picture, to_ink
from pipeline.model.specs import ImageSpec, InputSpecs, SensorSpec, SpeechSpec

Pcm = npt.NDArray[np.int16]
Ink = npt.NDArray[np.uint8]
Stretch = npt.NDArray[np.float32]

_FULL_SCALE = 32_768
# RIFF and its size, WAVE; fmt, its size, PCM, channels, rate, bytes a second and a frame, bits; data and its size.
_PLAIN_WAV = struct.Struct("<4sI4s4sIHHIIHH4sI")
# Windows of a long recording that hold this much of the loudest one's energy count as equally good.
_AS_GOOD = 0.98


def decode(event: Event, specs: InputSpecs) -> Pcm | Ink | Stretch:
    """Decodes an event of any modality; see `decode_speech`, `decode_image` and `decode_sensor`."""
    match event:
        case SpeechEvent():
            return decode_speech(event, specs.speech)
        case ImageEvent():
            return decode_image(event, specs.image)
        case SensorEvent():
            return decode_sensor(event, specs.sensor)


def decode_speech(event: SpeechEvent, spec: SpeechSpec) -> Pcm:
    """Decodes a recording and resamples it.

    Of a longer recording the most energetic stretch is kept, of several as good the middle one; a shorter one is
    centred between zeros.

    Returns:
        int16 [spec.samples] at spec.sample_rate.

    Raises:
        Invalid: Not audio, not what the event says it is, not mono, empty, not finite, or a rate outside the spec.
        TooLarge: Longer than spec.max_seconds.
    """
    if not spec.min_rate <= event.sample_rate <= spec.max_rate:
        raise Invalid(
            f"The speech event's sample_rate is {event.sample_rate}; "
            f"resample to between {spec.min_rate} and {spec.max_rate} per second."
        )
    if not event.audio:
        raise Invalid("The speech event's audio is empty; publish a recording with at least one sample.")
    if (samples := _sixteen_bits(event)) is not None:
        _check_length(len(samples), event, spec)
        wave = samples.astype(np.float32) / np.float32(_FULL_SCALE)
    else:
        wave = _read_file(event, spec)
        if not np.isfinite(wave).all():
            raise Invalid("The speech event's audio holds NaN or infinite samples; clean them before publishing.")
        wave /= max(1.0, float(np.abs(wave).max()))
    if event.sample_rate != spec.sample_rate:
        wave = soxr.resample(wave, event.sample_rate, spec.sample_rate)
    if not len(wave):
        raise Invalid(
            f"The speech event's audio is shorter than one sample at {spec.sample_rate} per second; "
            "publish a longer recording."
        )
    stretch: Stretch = _fit(wave, spec.samples) * np.float32(_FULL_SCALE - 1)
    return stretch.round(out=stretch).clip(-_FULL_SCALE, _FULL_SCALE - 1, out=stretch).astype(np.int16)


def decode_image(event: ImageEvent, spec: ImageSpec) -> Ink:
    """Decodes a picture to greyscale ink, bright on dark, scaled to fit and padded with its own ground.

    Transparent pictures are laid on whatever contrasts with their ink; EXIF orientation is followed.

    Returns:
        uint8 [spec.height, spec.width].

    Raises:
        Invalid: Not a picture, or not of the format that the event says.
        TooLarge: More than spec.max_pixels.
    """
    return to_ink(read_picture(event.image, event.encoding, spec), spec)


def decode_sensor(event: SensorEvent, spec: SensorSpec) -> Stretch:
    """Decodes a stream of sampled channels and resamples it linearly to the spec's length, whatever its rate.

    Returns:
        float32 [spec.frames, channels] in the spec's order of channels.

    Raises:
        Invalid: Other channels than the spec's, no whole frames, or values that are not finite or too large.
        TooLarge: More than spec.max_frames.
    """
    order = _channel_order(event.channels, spec)
    if not (np.isfinite(event.sample_rate) and event.sample_rate > 0):
        raise Invalid(f"The sensor event's sample_rate is {event.sample_rate}; give frames per second above 0.")
    frame_bytes = 4 * len(event.channels)
    frames, rest = divmod(len(event.values), frame_bytes)
    if rest or not frames:
        raise Invalid(
            f"The sensor event's values are {len(event.values)} bytes; publish whole frames, at least one, of "
            f"{frame_bytes} bytes ({len(event.channels)} channels of float32)."
        )
    if frames > spec.max_frames:
        raise TooLarge(f"The sensor event has {frames} frames; publish at most {spec.max_frames}.")
    values = np.frombuffer(event.values, dtype="<f4").reshape(frames, -1)[:, order]
    # NaN compares as false, so this refuses it too.
    if not (np.abs(values) <= spec.max_absolute).all():
        raise Invalid(
            f"The sensor event holds values that are NaN, infinite or beyond ±{spec.max_absolute:g}; "
            "clean or rescale them before publishing."
        )
    at = np.linspace(0, frames - 1, spec.frames)
    stretch = np.empty((spec.frames, len(order)), dtype=np.float32)
    for place, column in enumerate(values.T):
        stretch[:, place] = np.interp(at, np.arange(frames), column)
    return stretch


def _sixteen_bits(event: SpeechEvent) -> npt.NDArray[np.int16] | None:
    """Returns the samples of 16-bit PCM, bare or in a plain WAV file, without the cost of opening a file."""
    audio = event.audio
    if event.encoding is SpeechEncoding.PCM_S16LE:
        if len(audio) % 2:
            raise Invalid(
                f"The speech event's audio is {len(audio)} bytes, not a whole number of 16-bit samples; "
                "publish signed 16-bit little-endian mono, or name the file's encoding."
            )
        return np.frombuffer(audio, dtype="<i2")
    data = len(audio) - _PLAIN_WAV.size
    if event.encoding is SpeechEncoding.WAV and data > 0 and data % 2 == 0:
        rate, sizes = event.sample_rate, (len(audio) - 8, data)
        plain = (b"RIFF", sizes[0], b"WAVE", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16, b"data", sizes[1])
        if _PLAIN_WAV.unpack_from(audio) == plain:
            return np.frombuffer(audio, dtype="<i2", offset=_PLAIN_WAV.size)
    return None


_SIGNATURES: Final = {
    SpeechEncoding.WAV: (b"RIFF", b"WAVE"),
    SpeechEncoding.FLAC: (b"fLaC", b""),
    SpeechEncoding.OGG: (b"OggS", b""),
}


def _read_file(event: SpeechEvent, spec: SpeechSpec) -> Stretch:
    start, kind = _SIGNATURES[event.encoding]
    if not (event.audio.startswith(start) and event.audio.startswith(kind, 8)):
        raise Invalid(
            f"The speech event's audio is no {event.encoding} file; publish whole files and name their encoding."
        )
    source = io.BytesIO(event.audio)
    try:
        with soundfile.SoundFile(source) as file:
            _check_header(file, event, spec)
            wave: Stretch = file.read(_frame_limit(event, spec) + 1, dtype="float32", always_2d=True)[:, 0]
    except soundfile.SoundFileError as error:
        problem = str(error).replace(f"Error opening {source!r}: ", "")  # its address differs between replays
        raise Invalid(
            f"The speech event's {event.encoding} audio cannot be decoded: {problem} Publish it whole and undamaged."
        ) from error
    if not len(wave):
        raise Invalid("The speech event's audio has no frames; publish a recording with at least one sample.")
    _check_length(len(wave), event, spec)
    return wave


def _check_header(file: soundfile.SoundFile, event: SpeechEvent, spec: SpeechSpec) -> None:
    if file.channels != 1:
        raise Invalid(
            f"The speech event's audio has {file.channels} channels; its channel count is outside the spec, "
            "which takes mono: mix it down."
        )
    if file.samplerate != event.sample_rate:
        raise Invalid(
            f"The speech event's sample_rate is {event.sample_rate} but its file's is {file.samplerate}; "
            "publish the file's own."
        )
    # Streamed files do not know their length; libsndfile then reports its largest count.
    if file.frames < 1 << 60:
        _check_length(file.frames, event, spec)


def _frame_limit(event: SpeechEvent, spec: SpeechSpec) -> int:
    return int(spec.max_seconds * event.sample_rate)


def _check_length(frames: int, event: SpeechEvent, spec: SpeechSpec) -> None:
    if frames > _frame_limit(event, spec):
        raise TooLarge(
            f"The speech event's audio is longer than {spec.max_seconds:g} s ({frames} samples or more at "
            f"{event.sample_rate} per second); cut it before publishing."
        )


def _fit(wave: Stretch, samples: int) -> Stretch:
    spare = len(wave) - samples
    if spare == 0:
        return wave
    if spare < 0:
        return np.pad(wave, (-spare // 2, -spare - -spare // 2))
    energy = np.concatenate(([0.0], np.cumsum((wave - wave.mean()).astype(np.float64) ** 2)))
    windows = energy[samples:] - energy[:-samples]
    as_good = np.flatnonzero(windows >= _AS_GOOD * windows.max())
    start = as_good[np.abs(as_good - as_good.mean()).argmin()]
    return wave[start : start + samples]


def _channel_order(channels: tuple[str, ...], spec: SensorSpec) -> list[int]:
    if sorted(channels) != sorted(spec.channels):
        raise Invalid(
            f"The sensor event's channels are {', '.join(channels) or 'none'}; "
            f"publish exactly {', '.join(spec.channels)}, in any order."
        )
    return [channels.index(name) for name in spec.channels]
