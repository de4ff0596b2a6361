import io
import wave
from pathlib import Path
from random import Random

import numpy as np
import pytest

from pipeline.digits import synthesis
from pipeline.digits.engines import Engine, Recordings, Sound, decode
from pipeline.digits.neural_engines import MIXTURES, PRONUNCIATIONS, Kokoro
from pipeline.digits.voices import KOKORO_TEST


class Whistle:
    """Says digit d as a whistle; its voices are there or not as the test wants."""

    name = "whistle"
    takes = 2
    install = "whistle into PACKAGES"

    def __init__(self, *, there: bool = True, seconds: float = 0.5) -> None:
        self.there, self.seconds, self.spoken = there, seconds, 0

    def found(self) -> bool:
        return self.there

    def voices(self) -> list[str]:
        return ["high", "low"]

    def speak(self, voice: str, digit: int, rng: Random) -> Sound:
        self.spoken += 1
        rate = 8_000 if voice == "low" else 24_000
        time = np.arange(int(rate * self.seconds)) / rate
        sound = np.sin(2 * np.pi * (300 + 100 * digit) * time) * rng.uniform(0.1, 0.5)
        silence = np.zeros(rate // 4)
        return Sound(np.concatenate([silence, sound, silence]).astype(np.float32), rate)


def use(monkeypatch: pytest.MonkeyPatch, *engines: Engine) -> None:
    monkeypatch.setattr(synthesis, "engines", lambda packages: list(engines))


def test_every_voice_says_every_digit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Whistle())
    heard: list[synthesis.Spoken] = []
    synthesis.synthesise(tmp_path, tmp_path, 0, heard.append)
    clips = synthesis.load(tmp_path)
    assert [(clip.voice, clip.label) for clip in clips] == [
        (f"whistle/{voice}", digit) for voice in ("high", "low") for digit in range(10) for _ in range(2)
    ]
    assert [(spoken.done, spoken.total) for spoken in heard] == [(1, 2), (2, 2)]
    for clip in clips:
        assert 8_000 <= len(clip.samples) <= 8_000 + 2 * synthesis.MARGIN + 200
        assert int(np.abs(clip.samples).max()) == pytest.approx(0.8 * 32_767, abs=2)


def test_a_run_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whistle = Whistle()
    use(monkeypatch, whistle)
    synthesis.synthesise(tmp_path, tmp_path, 0, lambda spoken: None)
    (tmp_path / "whistle" / "low.npz").unlink()
    whistle.spoken = 0
    synthesis.synthesise(tmp_path, tmp_path, 0, lambda spoken: None)
    assert whistle.spoken == 20


def test_takes_that_are_too_long_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whistle = Whistle(seconds=1.2)
    assert synthesis.speak_voice(whistle, "high", 0) == []
    assert whistle.spoken == 2 * 10 * synthesis.ATTEMPTS


def test_missing_engines_say_how_to_install_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Whistle(there=False), Whistle())
    assert synthesis.missing(tmp_path) == [synthesis.Missing("whistle", f"whistle into {tmp_path}")]
    synthesis.synthesise(tmp_path / "speech", tmp_path, 0, lambda spoken: None)
    assert len(synthesis.load(tmp_path / "speech")) == 40


def test_silence_is_not_a_clip() -> None:
    assert len(synthesis.normalise(Sound(np.zeros(9_000, np.float32), 16_000))) == 0


def wav(samples: int, *, promised: int) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(22_050)
        writer.writeframes(np.full(samples, 16_384, "<i2").tobytes())
    data = bytearray(file.getvalue())
    data[40:44] = (2 * promised).to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize("promised", [100, 1 << 30])
def test_streamed_headers_are_read(promised: int) -> None:
    sound = decode(wav(100, promised=promised))
    assert sound.rate == 22_050
    assert sound.samples.tolist() == [0.5] * 100


def test_kokoro_mixes_training_voices_only(tmp_path: Path) -> None:
    folder = tmp_path / "kokoro-js" / "voices"
    folder.mkdir(parents=True)
    for number, name in enumerate(["af_heart", "af_bella", "am_eric", "bm_lewis"]):
        np.full((510, 256), number, np.float32).tofile(folder / f"{name}.bin")
    kokoro = Kokoro(tmp_path, KOKORO_TEST)
    assert kokoro.voices()[:5] == ["af_heart", "af_bella", "am_eric", "bm_lewis", "mix-00"]
    levels = [float(kokoro.styles(voice).mean()) for voice in kokoro.voices() if voice.startswith("mix-")]
    # af_heart is 0: were it in a mixture, some would be nearer to it than any mixture of 1, 2 and 3 can be.
    assert min(levels) > 1
    assert len(set(levels)) > 0.9 * MIXTURES


def test_every_digit_has_pronunciations() -> None:
    assert len(PRONUNCIATIONS) == 10
    assert all(len(ways) >= 3 for ways in PRONUNCIATIONS)


def test_recordings_are_found_by_their_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recordings, "prompts", tmp_path / "absent")
    assert not Recordings(tmp_path).found()
    (tmp_path / "captcha-0.7.1-py3-none-any.whl").touch()
    assert Recordings(tmp_path).voices() == ["captcha"]
