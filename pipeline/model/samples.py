"""What the model looks at: decoded inputs in the fixed shapes of the input specs."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SUBSETS = 8
"""Number of presence subsets, the empty one included; temperatures are kept one a subset."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The decoded inputs of one moment; None is a missing input, at least one is there.

    Attributes:
        speech: int16 [samples].
        image: uint8 [height, width].
        sensor: float32 [frames, channels].
    """

    speech: npt.NDArray[np.int16] | None = None
    image: npt.NDArray[np.uint8] | None = None
    sensor: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.subset == 0:
            raise ValueError("a sample without any input cannot be classified; give speech, image or sensor")

    @property
    def present(self) -> tuple[bool, bool, bool]:
        """Which of speech, image and sensor are there."""
        return self.speech is not None, self.image is not None, self.sensor is not None

    @property
    def is_complete(self) -> bool:
        """Whether all three are there."""
        return self.speech is not None and self.image is not None and self.sensor is not None

    @property
    def subset(self) -> int:
        """Index of the presence subset: speech is 1, image 2, sensor 4, added up."""
        return sum(1 << place for place, there in enumerate(self.present) if there)
