"""Speech events from files and arrays."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.events.records import SpeechEncoding
from pipeline.model.media import decode_speech
from pipeline.model.specs import SpeechSpec
from producers import speech
from producers.errors import InvalidInput

TONE = (np.sin(np.arange(8_000) / 5) * 20_000).astype(np.int16)


def written(folder: Path, name: str, samples: np.ndarray = TONE, rate: int = 16_000, **options: str) -> Path:
    file = folder / name
    soundfile.write(file, samples, rate, **options)
    return file


@pytest.mark.parametrize(
    ("name", "encoding", "rate"),
    [("a.wav", "WAV", 16_000), ("a.flac", "FLAC", 44_100), ("a.ogg", "OGG", 8_000), ("a.wav", "WAV", 22_050)],
)
def test_a_file_travels_as_it_is(tmp_path: Path, name: str, encoding: str, rate: int) -> None:
    file = written(tmp_path, name, rate=rate)
    event = speech.from_file(file, 123)
    assert (event.event_time_ms, event.source, event.sample_rate) == (123, name, rate)
    assert event.encoding == SpeechEncoding(encoding)
    assert event.audio == file.read_bytes()


def test_the_name_of_a_file_says_nothing_of_its_kind(tmp_path: Path) -> None:
    renamed = written(tmp_path, "a.flac").rename(tmp_path / "a.wav")
    assert speech.from_file(renamed, 0).encoding == SpeechEncoding.FLAC


@pytest.mark.parametrize("encoding", [SpeechEncoding.PCM_S16LE, SpeechEncoding.WAV, SpeechEncoding.FLAC])
def test_samples_come_out_as_they_went_in(encoding: SpeechEncoding) -> None:
    tone = np.tile(TONE, 2)
    event = speech.from_samples(tone, 16_000, 5, "device", encoding)
    decoded = decode_speech(event, SpeechSpec())
    # The consumer scales by 1/32768 and 32767.
    assert np.abs(decoded.astype(int) - tone).max() <= 1


def test_bare_samples_are_little_endian() -> None:
    event = speech.from_samples(np.array([1, -2], dtype=">i2").astype(np.int16), 8_000, 0)
    assert event.audio == b"\x01\x00\xfe\xff"


def test_ogg_is_smaller_and_still_speech() -> None:
    event = speech.from_samples(TONE, 16_000, 0, encoding=SpeechEncoding.OGG)
    assert len(event.audio) < TONE.nbytes
    assert decode_speech(event, SpeechSpec()).any()


@pytest.mark.parametrize(
    ("samples", "rate", "options", "wrong"),
    [
        (np.zeros((800, 2), np.int16), 16_000, {}, "2 channels"),
        (TONE, 4_000, {}, "sample_rate is 4000"),
        (TONE, 96_000, {}, "sample_rate is 96000"),
        (np.zeros(8_000 * 31, np.int16), 8_000, {}, "longer than 30 s"),
        (np.zeros(0, np.int16), 16_000, {}, "no frames"),
        (np.full(800, np.nan), 16_000, {"subtype": "FLOAT"}, "NaN"),
    ],
)
def test_a_file_outside_the_contract_is_refused(
    tmp_path: Path,
    samples: np.ndarray,
    rate: int,
    options: dict[str, str],
    wrong: str,
) -> None:
    file = written(tmp_path, "a.wav", samples, rate, **options)
    with pytest.raises(InvalidInput, match=wrong) as caught:
        speech.from_file(file, 0)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"text", b"\xff\xfb\x90\x00 like an MP3"])
def test_what_is_no_recording_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(content)
    with pytest.raises(InvalidInput, match="not a WAV, FLAC or OGG file"):
        speech.from_file(file, 0)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, "a.flac")
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(InvalidInput, match="cannot be decoded"):
        speech.from_file(file, 0)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"none\.wav cannot be read: No such file"):
        speech.from_file(tmp_path / "none.wav", 0)
    with pytest.raises(InvalidInput, match="cannot be read: Is a directory"):
        speech.from_file(tmp_path, 0)


@pytest.mark.parametrize(
    ("samples", "rate", "wrong"),
    [
        (TONE.astype(np.float32), 16_000, "float32"),
        (TONE.reshape(2, -1), 16_000, r"\[2, 4000\]"),
        (TONE[:0], 16_000, "0 samples"),
        (TONE, 7_999, "sample rate is 7999"),
        (np.tile(TONE, 40), 8_000, "320000 samples"),
    ],
)
def test_samples_outside_the_contract_are_refused(samples: np.ndarray, rate: int, wrong: str) -> None:
    with pytest.raises(InvalidInput, match=wrong):
        speech.from_samples(samples, rate, 0)
