"""Blur: kernels as the optics and the sharpening of cameras make them, and their use."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

Kernel = npt.NDArray[np.float64]


def gaussian(
    size: int,
    sigma: float,
    sigma_y: float | None = None,
    angle: float = 0.0,
    *,
    beta: float = 1.0,
    plateau: bool = False,
) -> Kernel:
    """A blur kernel of q = pᵀ Σ⁻¹ p, p the place of a pixel: exp(-½ q^β), or with a plateau 1/(1 + q^β); its sum is 1.

    β = 1 is the Gaussian; smaller ones have a sharper peak, larger ones a flatter top.

    Args:
        size: an odd number of pixels.
        sigma: along the x axis before it is turned.
        sigma_y: along the y axis; None for the same.
        angle: by which the axes are turned, in radians.
        beta: β.
        plateau: the second form.

    Shape: (size, size).

    Reference: "Parameter estimation for multivariate generalized Gaussian distributions", Pascal et al., 2013,
    https://arxiv.org/abs/1302.6498; the plateau is Real-ESRGAN's.
    """
    axis = np.arange(size) - size // 2
    x, y = np.meshgrid(axis, axis)
    cosine, sine = np.cos(angle), np.sin(angle)
    along, across = cosine * x + sine * y, cosine * y - sine * x
    q = (along / sigma) ** 2 + (across / (sigma if sigma_y is None else sigma_y)) ** 2
    kernel = 1 / (1 + q**beta) if plateau else np.exp(-0.5 * q**beta)
    return kernel / kernel.sum()


def sinc(size: int, cutoff: float) -> Kernel:
    """The ideal round low-pass filter, cut to a square, which rings: ω J₁(ωr)/(2πr); its sum is 1.

    Args:
        size: an odd number of pixels.
        cutoff: ω in radians a pixel, up to π.

    Shape: (size, size).

    Reference: "Real-ESRGAN: training real-world blind super-resolution with pure synthetic data", Wang et al., 2021,
    https://arxiv.org/abs/2107.10833
    """
    axis = torch.arange(size, dtype=torch.float64) - size // 2
    radius = (axis[:, None] ** 2 + axis[None] ** 2).sqrt()
    kernel = cutoff * torch.special.bessel_j1(cutoff * radius) / (2 * torch.pi * radius)
    kernel[size // 2, size // 2] = cutoff**2 / (4 * torch.pi)
    return (kernel / kernel.sum()).numpy()


def blurred(image: Tensor, kernel: Kernel) -> Tensor:
    """An image under a kernel, mirrored at its edges.

    Shape: (C,H,W), (K,K) -> (C,H,W).
    """
    margin = kernel.shape[0] // 2
    # What is smaller than the kernel cannot be mirrored.
    mode = "reflect" if min(image.shape[-2:]) > margin else "replicate"
    padded = F.pad(image[None], (margin,) * 4, mode=mode)
    channels = image.shape[0]
    weights = torch.from_numpy(kernel).to(image.dtype).expand(channels, 1, *kernel.shape).contiguous()
    # Four times as fast as the channels in a batch, one by one.
    return F.conv2d(padded, weights, groups=channels)[0]
