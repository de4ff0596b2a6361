"""The model as the settings ask for it: processes on a CPU, which alone load PyTorch."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from consumers import classifier as assembled
from consumers.classifier import classifier
from pipeline.events.records import Modality
from pipeline.join.outcomes import Record
from pipeline.model.errors import BrokenBundle, DeviceUnavailable
from pipeline.model.inference import Inference
from pipeline.model.manifest import SHIPPED, read_manifest
from pipeline.model.verdicts import media_decoder
from pipeline.settings import ServingSettings, Settings
from pipeline.telemetry.health import Health
from tests.support.events import CODEC, encoded
from tests.unit.model.test_inference import WAIT_S, Asked

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = read_manifest(SHIPPED)


def on(device: str, **serving: object) -> Inference:
    settings = Settings(serving=ServingSettings.model_validate({"device": device, "workers": 2, **serving}))
    return classifier(settings, CODEC, MANIFEST, Health())


def requests(count: int) -> list[Asked]:
    return [Asked(n, [Record(m, n, b"k", 0, encoded(m, n)) for m in Modality]) for n in range(count)]


def test_processes_answer_as_the_network_does() -> None:
    from pipeline.model.bundle import load_bundle  # noqa: PLC0415  (PyTorch)
    from pipeline.model.runtime import Runtime  # noqa: PLC0415
    from pipeline.model.samples import Sample  # noqa: PLC0415

    inference = on("cpu")
    inference.submit(requests(20))
    (answers,) = inference.results(WAIT_S)
    inference.close()
    decode = media_decoder(CODEC, MANIFEST.specs)
    samples = [Sample(*(decode(one.modality, one.value) for one in asked.records)) for asked in requests(20)]
    expected = Runtime(load_bundle(), device="cpu").predict(samples)
    assert [asked.name for asked in answers.whole] == list(range(20))
    np.testing.assert_allclose(answers.probabilities, expected, atol=1e-5)


@pytest.mark.skipif(assembled._has_driver(), reason="a GPU's driver is there, so PyTorch is asked for the GPU")
def test_without_a_gpu_the_consumer_itself_does_not_load_pytorch() -> None:
    program = """
import json, sys
from consumers.assembly import fusion_consumer
from tests.unit.test_classifier import on
if __name__ == "__main__":
    inference = on("auto")
    print(json.dumps(["torch" in sys.modules, inference.has_room]))
    inference.close()
"""
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(ended.stdout.splitlines()[-1]) == [False, True]


def test_a_gpu_that_is_not_there_is_named() -> None:
    with pytest.raises(DeviceUnavailable, match="cuda:9"):
        on("cuda:9")


def test_what_is_wrong_with_the_weights_is_told_by_the_process(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes((SHIPPED / "manifest.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(BrokenBundle, match="SHA-256"):
        on("cpu", model_path=tmp_path)
