"""Spoken digits from every text-to-speech engine that this machine has.

The result is a folder with one file a voice; voices that are there already are kept, so a run can be resumed.
Engines draw noise of their own, so two runs give the same voices and words but not the same samples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import soxr
from numpy.typing import NDArray

from pipeline.digits.clips import LABELS, LONGEST, SAMPLE_RATE, Clip, load_clips, save_clips
from pipeline.digits.engines import Engine, Espeak, Festival, Flite, Pico, Recordings, Sound
from pipeline.digits.neural_engines import Kokoro, Piper
from pipeline.digits.voices import KOKORO_TEST, KOKORO_VALIDATION

MARGIN = 640
QUIET = 0.006
SHORTEST = 1_600
ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class Missing:
    """An engine that is not on this machine, and the commands that install it."""

    engine: str
    install: str


@dataclass(frozen=True, slots=True)
class Spoken:
    """One voice has been spoken: `done` of `total` voices are there."""

    voice: str
    done: int
    total: int


def engines(packages: Path) -> list[Engine]:
    """All engines, found or not; `packages` is where downloaded packages without an installer lie."""
    held_out = KOKORO_TEST | KOKORO_VALIDATION
    return [
        Recordings(packages), Flite(), Pico(), Espeak(), Festival(), Piper(), Kokoro(packages, held_out),
    ]  # fmt: skip


def missing(packages: Path) -> list[Missing]:
    """The engines that synthesis would go on without."""
    absent = [engine for engine in engines(packages) if not engine.found()]
    return [Missing(engine.name, engine.install.replace("PACKAGES", str(packages))) for engine in absent]


def synthesise(folder: Path, packages: Path, seed: int, progress: Callable[[Spoken], None]) -> None:
    """Speaks every digit with every voice of every engine found.

    Args:
        folder: Where the clips go, one npz file a voice.
        packages: Where packages without an installer lie, see the engines' `install`.
        seed: Of tempo, pitch, accent and intonation.
        progress: Called after each voice.
    """
    jobs = [(engine, voice) for engine in engines(packages) if engine.found() for voice in engine.voices()]
    for done, (engine, voice) in enumerate(jobs, 1):
        file = folder / engine.name / f"{voice.replace(' ', '-')}.npz"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            save_clips(file, speak_voice(engine, voice, seed))
        progress(Spoken(f"{engine.name}/{voice}", done, len(jobs)))


def load(folder: Path) -> list[Clip]:
    """All clips that `synthesise` left in a folder, in the order of their voices' names."""
    return [clip for file in sorted(folder.glob("*/*.npz")) for clip in load_clips(file)]


def speak_voice(engine: Engine, voice: str, seed: int) -> list[Clip]:
    """All takes of all digits by one voice; a take that comes out empty or too long is spoken again."""
    clips = []
    for digit in range(len(LABELS)):
        for take in range(engine.takes):
            rng = Random(f"{seed}/{engine.name}/{voice}/{digit}/{take}")
            samples = first_usable(engine, voice, digit, rng)
            if samples is not None:
                clips.append(Clip(samples, digit, f"{engine.name}/{voice}"))
    return clips


def first_usable(engine: Engine, voice: str, digit: int, rng: Random) -> NDArray[np.int16] | None:
    """The first of a few attempts that is between 0.1 and 1 second long."""
    for _ in range(ATTEMPTS):
        samples = normalise(engine.speak(voice, digit, rng))
        if SHORTEST <= len(samples) <= LONGEST:
            return samples
    return None


def normalise(sound: Sound) -> NDArray[np.int16]:
    """At 16 kHz, without the silence around it (40 ms stay on each side), peak at 0.8 of full scale."""
    samples = np.asarray(sound.samples, np.float32)
    if sound.rate != SAMPLE_RATE:
        samples = soxr.resample(samples, sound.rate, SAMPLE_RATE, quality="VHQ")
    peak = float(np.abs(samples).max(initial=0.0))
    if peak < 1e-4:
        return np.zeros(0, np.int16)
    loud: Sequence[int] = np.flatnonzero(np.abs(samples) > QUIET * peak).tolist()
    kept = samples[max(0, loud[0] - MARGIN) : loud[-1] + MARGIN]
    return np.asarray(kept * (0.8 * 32_767 / peak), np.int16)
