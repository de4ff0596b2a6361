from pathlib import Path

import numpy as np

from pipeline.digits.clips import Clip, load_clips, save_clips, stack

CLIPS = [
    Clip(np.arange(3, dtype=np.int16), 3, "espeak/m1"),
    Clip(np.full(5, -7, np.int16), 0, "kokoro/af_sky"),
]


def test_clips_come_back_as_they_were_saved(tmp_path: Path) -> None:
    save_clips(tmp_path / "clips.npz", CLIPS)
    back = load_clips(tmp_path / "clips.npz")
    assert [(clip.label, clip.voice, clip.samples.tolist()) for clip in back] == [
        (clip.label, clip.voice, clip.samples.tolist()) for clip in CLIPS
    ]
    assert list(tmp_path.iterdir()) == [tmp_path / "clips.npz"]


def test_family_is_the_part_before_the_slash() -> None:
    assert [clip.family for clip in CLIPS] == ["espeak", "kokoro"]


def test_stack_puts_clips_at_the_left() -> None:
    rows, lengths = stack(CLIPS)
    assert rows.shape == (2, 16_000)
    assert lengths.tolist() == [3, 5]
    assert rows[1, :6].tolist() == [-7, -7, -7, -7, -7, 0]
