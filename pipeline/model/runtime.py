"""Answers batches of samples with calibrated probabilities, on a CPU or a GPU."""

import gc
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import torch

from pipeline.model.buffers import WrongShape
from pipeline.model.bundle import Bundle
from pipeline.model.contract import Probabilities
from pipeline.model.cores import cores
from pipeline.model.cuda import CudaEngine
from pipeline.model.engines import CpuEngine, Engine, Flight, Logits
from pipeline.model.errors import DeviceUnavailable, InferenceFailed
from pipeline.model.samples import Sample
from pipeline.telemetry.logs import logger

_log = logger(__name__)


class Pending:
    """Samples on their way through the model."""

    def __init__(self, runtime: "Runtime", samples: Sequence[Sample], flights: Sequence[Flight] | None) -> None:
        self._runtime, self._samples, self._flights = runtime, samples, flights

    def result(self) -> Probabilities:
        """Waits for the answer and returns it; see `Runtime.predict` for what it is and what is raised."""
        return self._runtime._conclude(self._samples, self._flights)


class Runtime:
    """A loaded model that answers batches. One thread at a time may use it and what it has pending.

    On a GPU up to `pipeline.model.cuda.SLOTS` batches are on their way at a time: `submit` the next before asking for
    the `result` of the last, and its copy overlaps with that one's computation.

    Attributes:
        bundle: The model.
        device: Where it runs.
        precision: "float16" or "float32"; the features are FP32 in any case.
        batch_size: Samples that go through the network at once; halved when memory runs out.
        threads: On a CPU, threads that a batch is split among.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        device: str = "auto",
        half_precision: bool = True,
        batch_size: int = 64,
        threads: int | None = None,
        compile_network: bool = False,
    ) -> None:
        """Chooses the device; `warm_up` or the first batch prepares it.

        Args:
            bundle: The model.
            device: "auto" (a GPU if there is one), "cpu", "cuda" or "cuda:N".
            half_precision: FP16 on a GPU; a CPU always computes in FP32.
            batch_size: Most samples at once.
            threads: On a CPU, parts of a batch that are worked on at a time, by one thread each; None is one a core.
            compile_network: Runs the network through `torch.compile`, which takes a minute or so to start.

        Raises:
            DeviceUnavailable: The device is not there.
            ValueError: The batch size is below 1.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
        self.bundle, self.batch_size = bundle, batch_size
        self.device = choose_device(device)
        self.threads = threads or cores()
        self.precision = "float16" if half_precision and self.device.type == "cuda" else "float32"
        self._compile_network = compile_network
        self._engine: Engine | None = None
        self._temperatures = np.asarray(bundle.manifest.temperatures, dtype=np.float32)

    def warm_up(self) -> None:
        """Prepares the device and answers silence in every way that is prepared for, so that no real batch is slow.

        Raises:
            CompilationFailed: `torch.compile` does not work here.
            InferenceFailed: The model cannot even answer silence.
        """
        specs = self.bundle.manifest.specs
        speech = np.zeros(specs.speech.samples, np.int16)
        image = np.zeros((specs.image.height, specs.image.width), np.uint8)
        sensor = np.zeros((specs.sensor.frames, len(specs.sensor.channels)), np.float32)
        for silence in (Sample(speech, image, sensor), Sample(speech, image)):
            self.predict([silence])
            self.predict([silence] * self.batch_size)

    def predict(self, samples: Sequence[Sample]) -> Probabilities:
        """Answers samples; more than `batch_size` go through in several batches.

        Returns:
            float32 [samples, classes], each row adding up to 1: softmax of the logits over the temperature of the
            sample's presence subset (Guo et al. 2017).

        Raises:
            InferenceFailed: The model cannot answer these samples together; `isolate` finds the culprits.
            DeviceUnavailable: The GPU is lost to this process.
            CompilationFailed: `torch.compile` does not work here.
        """
        return self.submit(samples).result()

    def submit(self, samples: Sequence[Sample]) -> Pending:
        """Starts on samples without waiting for the answer; whatever goes wrong is raised by its `result`."""
        try:
            return Pending(self, samples, self._launch(samples))
        except (WrongShape, RuntimeError):
            return Pending(self, samples, None)

    def compute(self, rows: int, times: int) -> None:
        """Takes `rows` samples of anything through the network so many times, without copying. For measuring.

        Raises:
            ValueError: More rows than the batch size.
            InferenceFailed: The model cannot answer.
        """
        if rows > self.batch_size:
            raise ValueError(f"{rows} rows are more than the batch size {self.batch_size}")
        if self._engine is None:
            self.warm_up()
        assert self._engine is not None
        self._engine.compute(rows, times)

    def _conclude(self, samples: Sequence[Sample], flights: Sequence[Flight] | None) -> Probabilities:
        if not samples:
            return np.empty((0, len(self.bundle.manifest.labels)), np.float32)
        logits: Logits | None = None
        with suppress(WrongShape, RuntimeError):
            logits = _collected(flights or self._launch(samples))
        if logits is None:
            logits = self._with_care(samples)
        broken = int((~np.isfinite(logits)).any(axis=1).sum())
        if broken:
            raise InferenceFailed(f"The model's answer is not a number for {broken} of {len(samples)} samples.")
        calibrated = logits / self._temperatures[[sample.subset for sample in samples], None]
        exponentials = np.exp(calibrated - calibrated.max(axis=1, keepdims=True))
        probabilities: Probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
        return probabilities

    def _launch(self, samples: Sequence[Sample]) -> list[Flight]:
        if self._engine is None:
            self._engine = self._start_engine()
        starts = range(0, len(samples), self.batch_size)
        return [self._engine.launch(samples[start : start + self.batch_size]) for start in starts]

    def _with_care(self, samples: Sequence[Sample]) -> Logits:
        """Tries again, with half the batch size as often as memory runs out."""
        while True:
            try:
                return _collected(self._launch(samples))
            except WrongShape as error:
                raise InferenceFailed(str(error)) from error
            except RuntimeError as error:
                if not _out_of_memory(error):
                    raise _translated(error, self.device) from error
                if self.batch_size == 1:
                    raise InferenceFailed(f"{self.device} has too little memory for one sample: {error}") from error
            # Outside the handler: the exception's frames would keep the engine's memory.
            self._halve()

    def _halve(self) -> None:
        if self._engine is not None:
            self._engine.land()
        self._engine = None
        self.batch_size //= 2
        _log.warning("out of memory: batch halved", device=str(self.device), batch_size=self.batch_size)
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _start_engine(self) -> Engine:
        if self.device.type == "cpu":
            # For the whole process: the engine's own threads would otherwise each ask for all cores.
            torch.set_num_threads(1)
            return CpuEngine(self.bundle, self.batch_size, self.threads, compile_network=self._compile_network)
        return CudaEngine(
            self.bundle,
            self.batch_size,
            self.device,
            half_precision=self.precision == "float16",
            compile_network=self._compile_network,
        )


def choose_device(name: str) -> torch.device:
    """Returns the device that a setting names; "auto" is the first GPU if there is one.

    Raises:
        DeviceUnavailable: No such device, or PyTorch cannot use it.
    """
    # The count alone asks the driver's library, which knows GPUs whose driver is too old for PyTorch's CUDA.
    gpus = torch.cuda.device_count() if name != "cpu" and torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda:0" if gpus else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceUnavailable(f"There is no device {name!r}; use auto, cpu, cuda or cuda:N.") from error
    if device.type not in {"cpu", "cuda"}:
        raise DeviceUnavailable(f"The device {name!r} is not supported; use auto, cpu, cuda or cuda:N.")
    if device.type == "cuda" and (device.index or 0) >= gpus:
        raise DeviceUnavailable(
            f"The device {name!r} is not there: PyTorch can use {gpus} CUDA devices. Use auto or cpu."
        )
    return torch.device("cuda", device.index or 0) if device.type == "cuda" else device


def _collected(flights: Sequence[Flight]) -> Logits:
    return np.concatenate([flight.collect() for flight in flights])


def _out_of_memory(error: RuntimeError) -> bool:
    # Page-locked memory, cuBLAS, cuDNN and the CPU's allocator run out with a plain RuntimeError.
    signs = ("out of memory", "alloc_failed", "allocation_failed", "can't allocate memory")
    if isinstance(error, torch.OutOfMemoryError) or any(sign in str(error).lower() for sign in signs):
        return True
    # A graph's capture that ran out of memory may end with an error of its own.
    return isinstance(error.__context__, RuntimeError) and _out_of_memory(error.__context__)


def _translated(error: RuntimeError, device: torch.device) -> Exception:
    # After a CUDA error every later call fails too; blaming the samples would dead-letter everything.
    if isinstance(error, torch.AcceleratorError):
        return DeviceUnavailable(f"{device} is lost to this process ({error}); start a new one.")
    return InferenceFailed(f"The model cannot answer: {error}")
