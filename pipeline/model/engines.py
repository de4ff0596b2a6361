"""How batches get through the network: what every engine offers, and the plain one for a CPU."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from pipeline.model.buffers import allocate, fill
from pipeline.model.bundle import Bundle
from pipeline.model.compilation import compiled
from pipeline.model.samples import Sample

Logits = npt.NDArray[np.float32]


class Flight(Protocol):
    """One batch on its way through the network."""

    def collect(self) -> Logits:
        """Waits for the batch; returns float32 [samples, classes]. Raises as `Engine.launch` does."""
        ...


class Engine(Protocol):
    """Takes batches through the network. One thread at a time may use it and its flights."""

    def launch(self, samples: Sequence[Sample]) -> Flight:
        """Starts a batch of one sample up to the engine's batch size; does not wait for those on their way.

        Raises:
            WrongShape: A sample does not fit the input specs.
            RuntimeError: What PyTorch raises, out of memory among it.
        """
        ...

    def land(self) -> None:
        """Waits for all flights: none needs the engine's memory any more. Raises as `launch` does."""
        ...


class CpuEngine:
    """Runs the network in FP32 on batches of whatever size comes, up to `batch_size`.

    A batch is worked out when it is collected: there is no second device that could do it meanwhile.
    """

    def __init__(self, bundle: Bundle, batch_size: int, *, compile_network: bool = False) -> None:
        self._network = compiled(bundle.network) if compile_network else bundle.network
        self._buffers = allocate(batch_size, bundle.manifest.specs, torch.device("cpu"))

    def launch(self, samples: Sequence[Sample]) -> Flight:
        """Takes note of a batch; see `Engine`."""
        return _Booked(self, samples)

    def land(self) -> None:
        """Does nothing: what is not collected has not begun."""

    @torch.inference_mode()
    def logits(self, samples: Sequence[Sample]) -> Logits:
        """Returns float32 [samples, classes]; raises as `Engine.launch` does."""
        fill(self._buffers, samples)
        speech, image, sensor, present = self._buffers.first(len(samples))
        complete = all(sample.is_complete for sample in samples)
        logits: Logits = self._network(speech, image, sensor, None if complete else present).logits.numpy()
        return logits


class _Booked:
    def __init__(self, engine: CpuEngine, samples: Sequence[Sample]) -> None:
        self._engine, self._samples = engine, samples

    def collect(self) -> Logits:
        return self._engine.logits(self._samples)
