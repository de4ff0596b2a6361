from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.digits import heldout
from pipeline.digits.clips import LABELS
from pipeline.digits.data import Material, Sampler
from pipeline.digits.protocol import BATCH, Protocol
from pipeline.digits.replay import Triple, triples
from pipeline.digits.voices import TEST_SHARES, Split, split_of
from pipeline.events.records import SensorEvent, SpeechEncoding, SpeechEvent
from pipeline.model import media
from pipeline.model.specs import InputSpecs
from producers import image as pictures

MEBIBYTE = 1 << 20


def test_the_heldout_folder_is_small_and_whole() -> None:
    assert sum(path.stat().st_size for path in heldout.FOLDER.iterdir()) < 12 * MEBIBYTE
    material = heldout.load()
    assert {clip.family for clip in material.clips} == {*TEST_SHARES, "recorded"}
    assert (len(material.images), len(material.pens)) == (1_000, 3_498)
    for family in TEST_SHARES:
        assert {clip.label for clip in material.clips if clip.family == family} == set(range(10))


def test_heldout_voices_are_test_voices() -> None:
    voices = {clip.voice for clip in heldout.load().clips if clip.family != "espeak"}
    assert {split_of(voice, []) for voice in voices} == {Split.TEST}


def test_heldout_digits_come_back_as_they_were_saved(tmp_path: Path, make_material: Callable[..., Material]) -> None:
    material = make_material(["kokoro/af_heart", "flite/awb"])
    doubled = Material(material.clips * 3, *(getattr(material, name) for name in Material.__slots__[1:]))
    heldout.save(tmp_path, doubled)
    back = heldout.load(tmp_path)
    counts = Counter((clip.family, clip.label) for clip in back.clips)
    assert set(counts.items()) == {(("kokoro", d), 2) for d in range(10)} | {(("flite", d), 3) for d in range(10)}
    assert np.array_equal(back.clips[0].samples, material.clips[0].samples)
    assert np.array_equal(back.pens, material.pens)


def test_an_incomplete_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"lacks speech.flac, digits.npz; restore"):
        heldout.load(tmp_path)


def same(left: Triple, right: Triple) -> bool:
    pairs = (left.speech, right.speech), (left.image, right.image), (left.pen, right.pen)
    return left.label == right.label and all(np.array_equal(one, other) for one, other in pairs)


def test_triples_are_repeatable() -> None:
    first, again, other = (list(triples(20, seed)) for seed in (1, 1, 2))
    assert all(same(one, two) for one, two in zip(first, again, strict=True))
    assert not any(same(one, two) for one, two in zip(first, other, strict=True))


def test_a_prefix_of_whole_batches_does_not_depend_on_the_count() -> None:
    long = list(triples(BATCH + 1, 5))
    assert len(long) == BATCH + 1
    assert all(same(one, two) for one, two in zip(islice(triples(BATCH + 99, 5), BATCH), long, strict=False))


def test_triples_have_the_shapes_of_the_specs() -> None:
    found = list(triples(400, 3))
    specs = InputSpecs()
    for triple in found[:5]:
        assert triple.speech.shape == (specs.speech.samples,)
        assert triple.speech.dtype == np.int16
        assert triple.image.shape == (specs.image.height, specs.image.width)
        assert triple.image.dtype == np.uint8
        assert triple.pen.shape == (specs.sensor.frames, len(specs.sensor.channels))
        assert triple.pen.dtype == np.float32
    counts = Counter(triple.label for triple in found)
    assert set(counts) == set(LABELS)
    assert max(counts.values()) < 80


def test_serving_sees_what_evaluation_measures() -> None:
    """Through events and decoding nothing is lost: what is replayed is what the figures were measured on."""
    specs = InputSpecs()
    for triple in triples(60, 11):
        speech = SpeechEvent(0, "t", 16_000, SpeechEncoding.PCM_S16LE, triple.speech.astype("<i2").tobytes())
        sensor = SensorEvent(0, "t", 100.0, ("x", "y"), triple.pen.astype("<f4").tobytes())
        image = pictures.from_array(triple.image, 0)
        assert np.abs(media.decode_speech(speech, specs.speech).astype(int) - triple.speech).max() <= 1
        assert np.array_equal(media.decode_image(image, specs.image), triple.image)
        assert np.allclose(media.decode_sensor(sensor, specs.sensor), triple.pen, atol=1e-5)


def test_families_get_their_shares(make_material: Callable[..., Material]) -> None:
    material = make_material(["kokoro/a", "kokoro/b", "flite/awb", "pico/en-GB"])
    sampler = Sampler(material, {"kokoro": 0.75, "flite": 0.25})
    labels = torch.arange(2_000) % 10
    draw = sampler.draw(labels, torch.Generator().manual_seed(0))
    families = Counter(material.clips[row].family for row in draw.rows.tolist())
    assert families["pico"] == 0
    assert families["kokoro"] / 2_000 == pytest.approx(0.75, abs=0.04)
    assert [material.clips[row].label for row in draw.rows.tolist()] == labels.tolist()
    assert torch.equal(draw.lengths, torch.full((2_000,), 6_000))


def test_clean_triples_are_not_corrupted(make_material: Callable[..., Material]) -> None:
    material = make_material(["kokoro/a"])
    batch = next(Protocol(material, {"kokoro": 1.0}).clean(30, 0))
    assert batch.speech.abs().amax(1).tolist() == [int(np.abs(c.samples).max()) for c in
                                                   (material.clips[row] for row in batch.clips.tolist())]  # fmt: skip
    assert set(batch.image.flatten().tolist()) == {0, 255}
