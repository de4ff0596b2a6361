"""Batches of raw inputs as four tensors, filled from samples; page-locked for CUDA's copy engine."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.model.samples import Sample
from pipeline.model.specs import InputSpecs


class WrongShape(Exception):
    """A sample's array is not as the input specs say. The message says which and how."""


class Buffers(NamedTuple):
    """The network's arguments for up to `capacity` samples.

    Attributes:
        speech: int16 [capacity, samples].
        image: uint8 [capacity, height, width].
        sensor: float32 [capacity, frames, channels].
        present: bool [capacity, 3].
    """

    speech: Tensor
    image: Tensor
    sensor: Tensor
    present: Tensor

    def first(self, rows: int) -> "Buffers":
        """Returns views of the first rows."""
        return Buffers(*(tensor[:rows] for tensor in self))


def allocate(capacity: int, specs: InputSpecs, device: torch.device, *, pinned: bool = False) -> Buffers:
    """Returns zeroed buffers on a device; `pinned` page-locks those on the host."""
    shapes = (
        ((specs.speech.samples,), torch.int16),
        ((specs.image.height, specs.image.width), torch.uint8),
        ((specs.sensor.frames, len(specs.sensor.channels)), torch.float32),
        ((3,), torch.bool),
    )
    return Buffers(
        *(torch.zeros((capacity, *shape), dtype=dtype, device=device, pin_memory=pinned) for shape, dtype in shapes)
    )


def fill(buffers: Buffers, samples: Sequence[Sample]) -> None:
    """Writes samples into the first rows of host buffers and marks the other rows empty.

    What stands in a missing input's place is left as it is: the network never looks there.

    Raises:
        WrongShape: A sample does not fit the buffers.
    """
    arrays = [tensor.numpy() for tensor in buffers]
    arrays[3][len(samples) :] = False
    for row, sample in enumerate(samples):
        arrays[3][row] = sample.present
        contents = {"speech": sample.speech, "image": sample.image, "sensor": sample.sensor}
        for array, (name, content) in zip(arrays[:3], contents.items(), strict=True):
            if content is None:
                continue
            if content.shape != array.shape[1:] or content.dtype != array.dtype:
                raise WrongShape(
                    f"The sample's {name} is {content.dtype} {list(content.shape)}; "
                    f"the model takes {array.dtype} {list(array.shape[1:])}."
                )
            array[row] = content
