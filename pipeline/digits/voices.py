"""Who speaks in training, who in validation and who in the test. No person or voice is in two of them."""

from enum import StrEnum


class Split(StrEnum):
    """What a sample is for."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


KOKORO_TEST = frozenset({"af_heart", "am_adam", "bf_emma", "bm_george", "ff_siwis", "zm_yunxi", "hm_psi", "im_nicola"})
KOKORO_VALIDATION = frozenset({"af_sky", "am_liam", "bm_daniel", "hm_omega", "pf_dora"})

TEST_FAMILIES = frozenset({"pico", "piper", "recorded"})
"""Engines that are heard in the test only: they measure what the network makes of a kind of voice it never met."""

SPEAKERS = {
    "flite/awb": Split.TEST,
    "festival/ked": Split.TEST,
    "flite/rms": Split.VALIDATION,
}
"""Single speakers. `kal` and `slt` speak in flite and in festival; both are in training."""

TEST_SHARES = {"kokoro": 0.5, "espeak": 0.2, "flite": 0.1, "pico": 0.1, "piper": 0.05, "festival": 0.05}
"""How often each family is heard in the noisy test. `recorded` has 20 clips and is reported on its own."""

TRAIN_SHARES = {"kokoro": 0.72, "espeak": 0.16, "flite": 0.06, "festival": 0.06}
VALIDATION_SHARES = {"kokoro": 0.65, "espeak": 0.2, "flite": 0.15}


def split_of(voice: str, espeak_voices: list[str]) -> Split:
    """Which split a voice, written `engine/speaker`, belongs to.

    Args:
        voice: The voice.
        espeak_voices: All variants of espeak-ng, sorted; every sixth of them is for the test.
    """
    family, _, speaker = voice.partition("/")
    if family in TEST_FAMILIES or speaker in KOKORO_TEST:
        return Split.TEST
    if speaker in KOKORO_VALIDATION:
        return Split.VALIDATION
    if family == "espeak":
        place = espeak_voices.index(speaker)
        return Split.TEST if place % 6 == 0 else Split.VALIDATION if place % 12 == 3 else Split.TRAIN
    return SPEAKERS.get(voice, Split.TRAIN)
