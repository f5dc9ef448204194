"""What every degradation is."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from torch import Tensor


class Degradation(ABC):
    """Makes a small image of a large one; all that is random in it is drawn from a generator that it is given.

    Attributes:
        scale: how many times smaller.
        margin: pixels of the large image around a crop that have an influence on its small one; None if that cannot be
            told, or is drawn.
    """

    scale: int
    margin: int | None

    @abstractmethod
    def __call__(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """The small image.

        Shape: (3,H,W), sides multiples of the scale, -> (3,H/s,W/s).

        Range: [0,1] -> [0,1].
        """
