"""Usual media become arrays as the spec says; anything else ends in Invalid or TooLarge with a sentence."""

import io
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.events.errors import Invalid, RecordError, TooLarge
from pipeline.events.records import SensorEvent, SpeechEncoding, SpeechEvent
from pipeline.model.media import decode, decode_sensor, decode_speech
from pipeline.model.specs import InputSpecs, SensorSpec, SpeechSpec

Wave = npt.NDArray[np.float32]
SPEECH, SENSOR = SpeechSpec(), SensorSpec()
SUBTYPES = {SpeechEncoding.WAV: "PCM_16", SpeechEncoding.FLAC: "PCM_16", SpeechEncoding.OGG: "VORBIS"}


def tone(rate: int, seconds: float = 1.0, hertz: float = 440.0, level: float = 0.5) -> Wave:
    time = np.arange(round(rate * seconds)) / rate
    return (level * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def file_bytes(wave: npt.NDArray[np.generic], rate: int, encoding: SpeechEncoding, subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format=encoding.value, subtype=subtype or SUBTYPES[encoding])
    return file.getvalue()


def speech(audio: bytes, rate: int = 16_000, encoding: SpeechEncoding = SpeechEncoding.PCM_S16LE) -> SpeechEvent:
    return SpeechEvent(event_time_ms=0, source="test", sample_rate=rate, encoding=encoding, audio=audio)


def pcm(wave: Wave, rate: int = 16_000) -> SpeechEvent:
    return speech((wave * 32_767).astype("<i2").tobytes(), rate)


def recording(
    wave: npt.NDArray[np.generic], rate: int, encoding: SpeechEncoding, subtype: str | None = None
) -> SpeechEvent:
    return speech(file_bytes(wave, rate, encoding, subtype), rate, encoding)


def pitch(samples: npt.NDArray[np.int16]) -> int:
    return int(np.abs(np.fft.rfft(samples.astype(float) * np.hanning(len(samples)))).argmax())


@pytest.mark.parametrize("rate", [16_000, 8_000])
def test_a_plain_wav_file_is_read_as_libsndfile_would(rate: int) -> None:
    audio = file_bytes(np.random.default_rng(0).integers(-32_768, 32_768, rate, np.int16), rate, SpeechEncoding.WAV)
    # A chunk that nobody knows before the samples: the same file, but not a plain one.
    odd = audio[:4] + struct.pack("<I", len(audio)) + audio[8:36] + b"note" + struct.pack("<I", 0) + audio[36:]
    plain, read = (decode_speech(speech(data, rate, SpeechEncoding.WAV), SPEECH) for data in (audio, odd))
    assert np.array_equal(plain, read)


def test_a_damaged_file_is_refused_in_the_same_words_each_time() -> None:
    """A replay writes the same dead letter again, so no address of an object may be in it."""
    with pytest.raises(
        Invalid, match=r"FLAC audio cannot be decoded: File contains data in an unimplemented format\. Publish"
    ):
        decode_speech(speech(b"fLaC" + bytes(50), 16_000, SpeechEncoding.FLAC), SPEECH)


def test_a_wav_file_of_another_rate_than_the_event_says_is_refused() -> None:
    audio = file_bytes(tone(8_000), 8_000, SpeechEncoding.WAV)
    with pytest.raises(Invalid, match="sample_rate is 16000 but its file's is 8000"):
        decode_speech(speech(audio, 16_000, SpeechEncoding.WAV), SPEECH)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("encoding", list(SpeechEncoding))
def test_a_tone_survives_every_rate_and_encoding(rate: int, encoding: SpeechEncoding) -> None:
    wave = tone(rate)
    event = pcm(wave, rate) if encoding is SpeechEncoding.PCM_S16LE else recording(wave, rate, encoding)
    samples = decode_speech(event, SPEECH)
    assert samples.dtype == np.int16
    assert samples.shape == (16_000,)
    assert pitch(samples) == pytest.approx(440, abs=1)
    assert np.abs(samples[2_000:-2_000]).max() == pytest.approx(16_384, rel=0.08)


def test_pcm_of_the_right_rate_and_length_is_left_alone() -> None:
    wave = tone(16_000)
    expected = (wave * 32_767).astype(np.int16)
    assert np.abs(decode_speech(pcm(wave), SPEECH).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"])
def test_wav_files_of_other_sample_types_are_taken(subtype: str) -> None:
    assert pitch(decode_speech(recording(tone(16_000), 16_000, SpeechEncoding.WAV, subtype), SPEECH)) == 440


def test_opus_in_ogg_is_taken() -> None:
    assert pitch(decode_speech(recording(tone(48_000), 48_000, SpeechEncoding.OGG, "OPUS"), SPEECH)) == 440


def test_a_short_recording_is_centred_between_zeros() -> None:
    samples = decode_speech(pcm(tone(16_000, 0.25) + np.float32(0.1)), SPEECH)
    assert not samples[:6_000].any()
    assert not samples[10_000:].any()
    assert np.count_nonzero(samples[6_000:10_000]) > 3_900


@pytest.mark.parametrize("noise", [0.0, 0.005])
@pytest.mark.parametrize("start", [0.0, 1.7, 8.0, 28.5])
def test_of_a_long_recording_the_spoken_second_is_kept(start: float, noise: float) -> None:
    wave = np.random.default_rng(0).normal(0, noise, 30 * 16_000).astype(np.float32)
    word = tone(16_000, 0.5)
    at = round(start * 16_000)
    wave[at : at + len(word)] += word
    samples = decode_speech(pcm(wave), SPEECH).astype(float)
    assert (samples**2).sum() >= 0.97 * ((word * 32_767) ** 2).sum()
    centre = (np.arange(16_000) * samples**2).sum() / (samples**2).sum()
    assert centre == pytest.approx(min(8_000, at + len(word) / 2), abs=2_500)


def test_a_wav_louder_than_full_scale_is_not_clipped() -> None:
    event = recording(tone(16_000, level=20_000.0), 16_000, SpeechEncoding.WAV, "FLOAT")
    samples = decode_speech(event, SPEECH).astype(float)
    assert np.abs(samples).max() == pytest.approx(32_767, rel=0.01)
    assert (samples**2).mean() == pytest.approx(32_767**2 / 2, rel=0.02)


def test_silence_is_a_recording() -> None:
    assert not decode_speech(pcm(np.zeros(16_000, np.float32)), SPEECH).any()


def test_a_streamed_wav_that_does_not_know_its_length_is_taken() -> None:
    audio = bytearray(file_bytes(tone(16_000), 16_000, SpeechEncoding.WAV))
    audio[4:8] = audio[40:44] = b"\xff\xff\xff\xff"
    assert pitch(decode_speech(speech(bytes(audio), 16_000, SpeechEncoding.WAV), SPEECH)) == 440


WAV = file_bytes(tone(16_000), 16_000, SpeechEncoding.WAV)
FLAC = file_bytes(tone(16_000), 16_000, SpeechEncoding.FLAC)
STEREO = np.stack([tone(16_000), tone(16_000)], axis=1)
BAD_SPEECH = [
    # what,                                   event,                                                   error, says
    ("empty", speech(b""), Invalid, "is empty"),
    ("half a sample", speech(b"\0" * 3), Invalid, "not a whole number of 16-bit samples"),
    ("rate too low", speech(b"\0\0", 7_999), Invalid, "sample_rate is 7999"),
    ("rate too high", speech(b"\0\0", 48_001), Invalid, "sample_rate is 48001"),
    ("rate of zero", speech(b"\0\0", 0), Invalid, "sample_rate is 0"),
    ("too short to resample", speech(b"\0\0", 48_000), Invalid, "shorter than one sample"),
    ("too long", speech(b"\0\0" * (30 * 8_000 + 1), 8_000), TooLarge, "longer than 30 s"),
    ("too long a file", recording(tone(8_000, 30.01), 8_000, SpeechEncoding.FLAC), TooLarge, "longer than 30 s"),
    ("stereo", recording(STEREO, 16_000, SpeechEncoding.WAV), Invalid, "2 channels"),
    ("another rate in the file", speech(WAV, 44_100, SpeechEncoding.WAV), Invalid, "its file's is 16000"),
    ("no frames", recording(tone(16_000, 0), 16_000, SpeechEncoding.WAV), Invalid, "no frames"),
    ("NaN", recording(np.full(9, np.nan), 16_000, SpeechEncoding.WAV, "FLOAT"), Invalid, "NaN"),
    ("infinite", recording(np.full(9, np.inf), 16_000, SpeechEncoding.WAV, "FLOAT"), Invalid, "NaN"),
    ("FLAC called WAV", speech(FLAC, 16_000, SpeechEncoding.WAV), Invalid, "no WAV file"),
    ("WAV called OGG", speech(WAV, 16_000, SpeechEncoding.OGG), Invalid, "no OGG file"),
    ("WAV called FLAC", speech(WAV, 16_000, SpeechEncoding.FLAC), Invalid, "no FLAC file"),
    ("text called WAV", speech(b"hello, world", 16_000, SpeechEncoding.WAV), Invalid, "no WAV file"),
    (
        "a RIFF that is no WAVE",
        speech(b"RIFF\0\0\0\0AVI LIST", 16_000, SpeechEncoding.WAV),
        Invalid,
        "no WAV file",
    ),
    ("only a WAV's start", speech(WAV[:20], 16_000, SpeechEncoding.WAV), Invalid, "cannot be decoded"),
    ("only a FLAC's start", speech(FLAC[:30], 16_000, SpeechEncoding.FLAC), Invalid, "FLAC"),
    ("a FLAC cut in the middle", speech(FLAC[: len(FLAC) // 2], 16_000, SpeechEncoding.FLAC), Invalid, "damaged"),
    ("only an OGG's start", speech(b"OggS" + bytes(40), 16_000, SpeechEncoding.OGG), Invalid, "cannot be decoded"),
]


@pytest.mark.parametrize(
    ("event", "error", "says"), [case[1:] for case in BAD_SPEECH], ids=[case[0] for case in BAD_SPEECH]
)
def test_bad_speech_is_refused_with_a_sentence(event: SpeechEvent, error: type[RecordError], says: str) -> None:
    with pytest.raises(error, match=says) as raised:
        decode_speech(event, SPEECH)
    assert str(raised.value).endswith(".")


def sensor(values: npt.ArrayLike, channels: tuple[str, ...] = ("x", "y"), rate: float = 100.0) -> SensorEvent:
    return SensorEvent(
        event_time_ms=0,
        source="test",
        sample_rate=rate,
        channels=channels,
        values=np.asarray(values, "<f4").tobytes(),
    )


@pytest.mark.parametrize("frames", [1, 2, 63, 64, 65, 1_000])
def test_a_line_survives_any_number_of_frames(frames: int) -> None:
    values = np.stack([np.linspace(0, 1, frames), np.linspace(5, -5, frames)], axis=1)
    stretch = decode_sensor(sensor(values), SENSOR)
    assert stretch.dtype == np.float32
    assert stretch.shape == (64, 2)
    expected = np.linspace(0, 1 if frames > 1 else 0, 64)
    np.testing.assert_allclose(stretch, np.stack([expected, 5 - 10 * expected], axis=1), atol=1e-5)


def test_a_stretch_of_the_right_length_is_left_alone() -> None:
    values = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)
    np.testing.assert_array_equal(decode_sensor(sensor(values), SENSOR), values)


def test_channels_may_come_in_any_order() -> None:
    values = np.arange(128, dtype=np.float32).reshape(64, 2)
    swapped = decode_sensor(sensor(values[:, ::-1], ("y", "x")), SENSOR)
    np.testing.assert_array_equal(swapped, values)


NAN, INFINITE = [[0.0, float("nan")]], [[float("inf"), 0.0]]
BAD_SENSOR = [
    # what,                event,                                        error,    says
    ("empty", sensor([]), Invalid, "are 0 bytes"),
    ("half a frame", sensor([0.0]), Invalid, "whole frames"),
    ("half a value", replace(sensor([[0.0, 0.0]]), values=b"\0" * 9), Invalid, "are 9 bytes"),
    ("no channels", sensor([[0.0, 0.0]], ()), Invalid, "channels are none"),
    ("a channel too few", sensor([[0.0]], ("x",)), Invalid, "publish exactly x, y"),
    ("a channel too many", sensor([[0.0] * 3], ("x", "y", "z")), Invalid, "publish exactly x, y"),
    ("a channel twice", sensor([[0.0] * 2], ("x", "x")), Invalid, "publish exactly x, y"),
    ("NaN", sensor(NAN), Invalid, "NaN"),
    ("infinite", sensor(INFINITE), Invalid, "infinite"),
    ("too large a value", sensor([[0.0, 2e6]]), Invalid, "beyond ±1e\\+06"),
    ("no rate", sensor([[0.0, 0.0]], rate=0.0), Invalid, "sample_rate is 0"),
    ("a rate of NaN", sensor([[0.0, 0.0]], rate=float("nan")), Invalid, "sample_rate is nan"),
    ("too long", sensor(np.zeros((1_000_001, 2))), TooLarge, "1000001 frames"),
]


@pytest.mark.parametrize(
    ("event", "error", "says"), [case[1:] for case in BAD_SENSOR], ids=[case[0] for case in BAD_SENSOR]
)
def test_bad_sensor_streams_are_refused_with_a_sentence(
    event: SensorEvent, error: type[RecordError], says: str
) -> None:
    with pytest.raises(error, match=says) as raised:
        decode_sensor(event, SENSOR)
    assert str(raised.value).endswith(".")


@settings(max_examples=200, deadline=None)
@given(
    encoding=st.sampled_from([SpeechEncoding.WAV, SpeechEncoding.FLAC, SpeechEncoding.OGG]),
    edits=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.floats(0, 1),
)
def test_a_damaged_file_gives_samples_or_a_record_error(
    encoding: SpeechEncoding, edits: list[tuple[int, int]], cut: float
) -> None:
    audio = bytearray(file_bytes(tone(16_000, 0.2), 16_000, encoding))
    for place, value in edits:
        audio[place % len(audio)] = value
    try:
        samples = decode_speech(speech(bytes(audio[: round(len(audio) * cut)]), 16_000, encoding), SPEECH)
    except RecordError:
        return
    assert samples.shape == (16_000,)


@given(values=st.binary(min_size=8, max_size=64))
def test_any_values_give_a_finite_stretch_or_a_record_error(values: bytes) -> None:
    try:
        stretch = decode_sensor(replace(sensor([[0.0, 0.0]]), values=values), SENSOR)
    except RecordError:
        return
    assert np.isfinite(stretch).all()


def test_a_signalling_nan_is_refused_like_any_other() -> None:
    with pytest.raises(Invalid, match="NaN"):
        decode_sensor(replace(sensor([[0.0, 0.0]]), values=bytes.fromhex("0100a07f") * 2), SENSOR)


def test_threads_decode_what_one_thread_decodes() -> None:
    events = [recording(tone(rate), rate, encoding) for rate in (8_000, 44_100) for encoding in SUBTYPES]
    specs = InputSpecs()
    alone = [decode(event, specs) for event in events]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda event: decode(event, specs), events * 8))
    for expected, got in zip(alone * 8, together, strict=True):
        np.testing.assert_array_equal(got, expected)
