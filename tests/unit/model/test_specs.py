import pytest

from pipeline.model.samples import Sample
from pipeline.model.specs import ImageSpec, InputSpecs, SensorSpec, SpeechSpec


def test_the_defaults_are_the_reference_tasks() -> None:
    specs = InputSpecs()
    assert (specs.speech.sample_rate, specs.speech.samples) == (16_000, 16_000)
    assert (specs.image.height, specs.image.width) == (32, 32)
    assert (specs.sensor.channels, specs.sensor.frames) == (("x", "y"), 64)


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        (lambda: SpeechSpec(samples=0), "speech.samples is 0"),
        (lambda: SpeechSpec(max_seconds=float("nan")), "speech.max_seconds is nan"),
        (lambda: SpeechSpec(min_rate=9_000, max_rate=8_000), "speech.max_rate 8000 is below"),
        (lambda: ImageSpec(width=-1), "image.width is -1"),
        (lambda: SensorSpec(frames=0), "sensor.frames is 0"),
        (lambda: SensorSpec(channels=()), "sensor.channels"),
        (lambda: SensorSpec(channels=("x", "x")), "none twice"),
    ],
)
def test_a_wrong_spec_is_refused_by_name(wrong, names) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=names):
        wrong()


def test_an_empty_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="without any input"):
        Sample()
