"""Speech events from recordings."""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from pipeline.events.errors import RecordError
from pipeline.events.records import SpeechEncoding, SpeechEvent
from pipeline.model.media import decode_speech
from pipeline.model.specs import SpeechSpec
from producers import files
from producers.errors import InvalidInput

_CONTRACT = SpeechSpec()
_SIGNATURES = {
    SpeechEncoding.WAV: (b"RIFF", b"WAVE"),
    SpeechEncoding.FLAC: (b"fLaC", b""),
    SpeechEncoding.OGG: (b"OggS", b""),
}


def from_file(file: Path, event_time_ms: int, source: str = "") -> SpeechEvent:
    """Builds an event of a WAV, FLAC or OGG file, which travels as it is.

    Args:
        file: mono, 8 to 48 kHz, at most 30 s.
        event_time_ms: when it was spoken, milliseconds since the epoch.
        source: who recorded it; without it the file's name.

    Raises:
        InvalidInput: it cannot be read or decoded, or is outside those limits.
    """
    audio = files.read(file)
    found = (e for e, (start, kind) in _SIGNATURES.items() if audio.startswith(start) and audio.startswith(kind, 8))
    encoding = next(found, None)
    if encoding is None:
        raise InvalidInput(f"{file} is not a WAV, FLAC or OGG file: convert it to one of them.")
    try:
        rate = soundfile.info(io.BytesIO(audio)).samplerate
    except soundfile.SoundFileError as error:
        raise InvalidInput(f"{file} cannot be decoded: {error} Record or convert it again.") from error
    event = SpeechEvent(event_time_ms, source or file.name, rate, encoding, audio)
    try:
        decode_speech(event, _CONTRACT)
    except RecordError as error:
        raise InvalidInput(f"{file}: {error}") from error
    return event


def from_samples(
    samples: npt.NDArray[np.int16],
    sample_rate: int,
    event_time_ms: int,
    source: str = "",
    encoding: SpeechEncoding = SpeechEncoding.PCM_S16LE,
) -> SpeechEvent:
    """Builds an event of samples.

    Args:
        samples: int16 [samples], mono.
        sample_rate: samples per second, 8,000 to 48,000.
        event_time_ms: when it was spoken, milliseconds since the epoch.
        source: who recorded it.
        encoding: how they travel; OGG loses detail, the others do not.

    Raises:
        InvalidInput: the array is not of that kind or outside the limits.
    """
    if samples.dtype != np.int16 or samples.ndim != 1:
        raise InvalidInput(
            f"The samples are {samples.dtype} {list(samples.shape)}: give mono int16 [samples], "
            "floats of ±1 times 32767 and rounded."
        )
    if not len(samples) or len(samples) > _CONTRACT.max_seconds * sample_rate:
        raise InvalidInput(
            f"There are {len(samples)} samples at {sample_rate} Hz: give between one and "
            f"{_CONTRACT.max_seconds:g} s of them."
        )
    if not _CONTRACT.min_rate <= sample_rate <= _CONTRACT.max_rate:
        raise InvalidInput(
            f"The sample rate is {sample_rate}: resample to between {_CONTRACT.min_rate} and {_CONTRACT.max_rate}."
        )
    audio = _encoded(samples, sample_rate, encoding)
    return SpeechEvent(event_time_ms, source, sample_rate, encoding, audio)


def _encoded(samples: npt.NDArray[np.int16], sample_rate: int, encoding: SpeechEncoding) -> bytes:
    if encoding is SpeechEncoding.PCM_S16LE:
        return samples.astype("<i2").tobytes()
    file = io.BytesIO()
    subtype = "VORBIS" if encoding is SpeechEncoding.OGG else "PCM_16"
    soundfile.write(file, samples, sample_rate, format=encoding.value, subtype=subtype)
    return file.getvalue()
