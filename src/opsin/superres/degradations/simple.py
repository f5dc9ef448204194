"""The bicubic filter of the benchmarks, and blur, noise and JPEG around it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from opsin.checks import choice, whole
from opsin.functional.resample import KINDS, downscale
from opsin.superres.degradations.base import Degradation
from opsin.superres.degradations.kernels import blurred, gaussian
from opsin.superres.degradations.noise import gaussian_noise, jpeg

Range = tuple[float, float]


@dataclass(frozen=True)
class Bicubic(Degradation):
    """The field's benchmark: the bicubic filter and nothing else.

    Args:
        scale: how many times smaller.
        kind: "matlab" or "pillow", see `opsin.functional.resample.downscale`.

    Raises:
        InputError: a scale below 1.
        ChoiceError: another kind.
    """

    scale: int
    kind: str = "matlab"

    def __post_init__(self) -> None:
        """Check the arguments."""
        whole("scale", self.scale)
        choice("kind", self.kind, KINDS)

    @property
    def margin(self) -> int:  # type: ignore[override] (what a plain attribute is elsewhere)
        """The filter reaches one and a half small pixels beyond the outermost ones."""
        return 2 * self.scale if self.scale > 1 else 0

    def __call__(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """See `Degradation`."""
        del rng
        return downscale(image[None], self.scale, self.kind)[0].clamp(0, 1)


@dataclass(frozen=True)
class BlurNoiseJpeg(Degradation):
    """Gaussian blur, the bicubic filter, Gaussian noise and JPEG, each with a strength drawn anew.

    Args:
        scale: how many times smaller.
        kind: see `Bicubic`.
        sigma: of the blur, in pixels of the large image; from zero on.
        noise: standard deviation of the noise, in levels of 255.
        quality: of JPEG.
        noise_probability: how often there is noise.
        jpeg_probability: how often there is JPEG.

    Raises:
        InputError: a scale below 1.
        ChoiceError: another kind.
    """

    scale: int
    kind: str = "matlab"
    sigma: Range = (0.0, 2.0)
    noise: Range = (0.0, 10.0)
    quality: Range = (60.0, 95.0)
    noise_probability: float = 0.5
    jpeg_probability: float = 0.5
    margin = None

    def __post_init__(self) -> None:
        """Check the arguments."""
        whole("scale", self.scale)
        choice("kind", self.kind, KINDS)

    def __call__(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """See `Degradation`."""
        sigma = rng.uniform(*self.sigma)
        if sigma > 0.1:  # a narrower kernel is a single pixel
            image = blurred(image, gaussian(2 * int(3 * sigma + 1) + 1, sigma))
        small = downscale(image[None], self.scale, self.kind)[0].clamp(0, 1)
        if rng.random() < self.noise_probability:
            small = gaussian_noise(small, rng.uniform(*self.noise) / 255, rng)
        if rng.random() < self.jpeg_probability:
            small = jpeg(small, rng.uniform(*self.quality))
        return small
