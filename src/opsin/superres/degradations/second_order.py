"""Real-ESRGAN's degradation: blur, resizing, noise and JPEG, twice."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from opsin.checks import whole
from opsin.superres.degradations.base import Degradation
from opsin.superres.degradations.kernels import Kernel, blurred, gaussian, sinc
from opsin.superres.degradations.noise import gaussian_noise, jpeg, poisson_noise

Range = tuple[float, float]

_SIZES = tuple(range(7, 22, 2))
_MODES = ("area", "bilinear", "bicubic")


@dataclass(frozen=True)
class Pass:
    """One round of blur, resizing, noise and JPEG.

    Attributes:
        blur: how often there is a blur.
        sigma: widths of the blur's Gaussians, in pixels.
        resizes: how often the image is enlarged, made smaller, or kept.
        sizes: the smallest and the largest factor.
        gaussian: how often the noise is Gaussian; else it is Poisson's.
        noise: standard deviation of Gaussian noise, in levels of 255.
        poisson: strength of Poisson noise.
        grey: how often noise is grey.
        quality: of JPEG.
    """

    blur: float
    sigma: Range
    resizes: tuple[float, float, float]
    sizes: Range
    gaussian: float
    noise: Range
    poisson: Range
    grey: float
    quality: Range


@dataclass(frozen=True)
class SecondOrder(Degradation):
    """A small image such as the net is full of: two rounds of blur, resizing, noise and JPEG, and ringing at the end.

    The last resizing, to the small size, the last sinc filter and the last JPEG come in either order. What is drawn,
    and how often, is what the paper's x4 network was trained with.

    Args:
        scale: how many times smaller.
        first: the first round.
        second: the second one.
        sinc: how often a blur is a sinc filter, which rings.
        kinds: how often another blur is a Gaussian, round and long, a generalised one, round and long, or one with a
            plateau, round and long.
        generalised: the generalised Gaussian's β.
        plateau: the plateau's β.
        last_sinc: how often there is a sinc filter at the end.

    Raises:
        InputError: a scale below 1.

    Differs from the paper: JPEG is Pillow's, not a differentiable stand-in; what is degraded is the image itself, which
    the authors sharpen first; values are cut to [0, 1] after each resizing.

    Reference: "Real-ESRGAN: training real-world blind super-resolution with pure synthetic data", Wang, Xie, Dong and
    Shan, 2021, https://arxiv.org/abs/2107.10833, and the configuration released with it.

    Example:
        >>> import torch
        >>> SecondOrder(4)(torch.rand(3, 64, 48), np.random.default_rng(0)).shape
        torch.Size([3, 16, 12])
    """

    scale: int
    first: Pass = Pass(1.0, (0.2, 3.0), (0.2, 0.7, 0.1), (0.15, 1.5), 0.5, (1, 30), (0.05, 3.0), 0.4, (30, 95))
    second: Pass = Pass(0.8, (0.2, 1.5), (0.3, 0.4, 0.3), (0.3, 1.2), 0.5, (1, 25), (0.05, 2.5), 0.4, (30, 95))
    sinc: float = 0.1
    kinds: tuple[float, ...] = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
    generalised: Range = (0.5, 4.0)
    plateau: Range = (1.0, 2.0)
    last_sinc: float = 0.8
    margin = None

    def __post_init__(self) -> None:
        """Check the arguments."""
        whole("scale", self.scale)

    def __call__(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """See `Degradation`."""
        height, width = image.shape[-2:]
        small = (max(1, height // self.scale), max(1, width // self.scale))
        x = self._round(self.first, image, (height, width), rng)
        x = jpeg(x, rng.uniform(*self.first.quality))
        x = self._round(self.second, x, small, rng)
        quality = rng.uniform(*self.second.quality)
        kernel = _sinc(int(rng.choice(_SIZES)), math.pi / 3, rng) if rng.random() < self.last_sinc else None
        mode = _mode(rng)
        if rng.random() < 0.5:
            return jpeg(_ringing(_resized(x, small, mode), kernel), quality)
        return _ringing(_resized(jpeg(x, quality), small, mode), kernel)

    def _round(self, settings: Pass, image: Tensor, size: tuple[int, int], rng: np.random.Generator) -> Tensor:
        """Blur, resizing to a factor of `size`, and noise."""
        if rng.random() < settings.blur:
            image = blurred(image, self._kernel(settings.sigma, rng))
        way = rng.choice(3, p=settings.resizes)
        low, high = settings.sizes
        factor = (rng.uniform(1, high), rng.uniform(low, 1), 1.0)[way]
        image = _resized(image, (max(1, int(size[0] * factor)), max(1, int(size[1] * factor))), _mode(rng))
        grey = bool(rng.random() < settings.grey)
        if rng.random() < settings.gaussian:
            return gaussian_noise(image, rng.uniform(*settings.noise) / 255, rng, grey=grey)
        return poisson_noise(image, rng.uniform(*settings.poisson), rng, grey=grey)

    def _kernel(self, sigma: Range, rng: np.random.Generator) -> Kernel:
        size = int(rng.choice(_SIZES))
        if rng.random() < self.sinc:
            # Small kernels cannot hold the long waves of a low cutoff.
            return _sinc(size, math.pi / 3 if size < 13 else math.pi / 5, rng)
        shares = np.asarray(self.kinds)
        kind = int(rng.choice(len(shares), p=shares / shares.sum()))
        wide, long = rng.uniform(*sigma), rng.uniform(*sigma)
        angle = rng.uniform(-math.pi, math.pi)
        if kind % 2 == 0:
            long, angle = wide, 0.0
        if kind < 2:
            return gaussian(size, wide, long, angle)
        low, high = self.plateau if kind >= 4 else self.generalised
        # Both sides of 1 equally often.
        beta = rng.uniform(low, 1) if rng.random() < 0.5 else rng.uniform(1, high)
        return gaussian(size, wide, long, angle, beta=beta, plateau=kind >= 4)


def _sinc(size: int, lowest: float, rng: np.random.Generator) -> Kernel:
    return sinc(size, rng.uniform(lowest, math.pi))


def _mode(rng: np.random.Generator) -> str:
    return _MODES[int(rng.integers(len(_MODES)))]


def _resized(image: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    if tuple(image.shape[-2:]) == size:
        return image
    return F.interpolate(image[None], size, mode=mode)[0].clamp(0, 1)


def _ringing(image: Tensor, kernel: Kernel | None) -> Tensor:
    return image if kernel is None else blurred(image, kernel).clamp(0, 1)
