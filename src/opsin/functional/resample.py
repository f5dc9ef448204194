"""Making images smaller by a bicubic filter, as Pillow and as MATLAB do."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from opsin.checks import choice, whole
from opsin.errors import InputError

KINDS = ("matlab", "pillow")


def downscale(image: Tensor, scale: int, kind: str = "matlab") -> Tensor:
    """Make images smaller by a whole factor s, with a bicubic filter widened s times so that nothing aliases.

    Each pixel is Σ_i k((i - c)/s) x_i / Σ_i k((i - c)/s) in both directions, c its centre and k the cubic kernel with
    a = -1/2. The two kinds differ at the edges alone: "matlab" mirrors the image there, "pillow" leaves out what is
    outside. Values beyond those of the image occur at edges in it, and are not clamped; nothing is rounded.

    Shape: (N,C,H,W) -> (N,C,H/s,W/s).

    Args:
        image: floats; a gradient flows through.
        scale: s.
        kind: "matlab", as `imresize` and the field's benchmarks do, or "pillow", as `Image.Resampling.BICUBIC` does.

    Raises:
        InputError: not such a tensor, or sides that are no multiples of s.
        ChoiceError: another kind.

    Reference: "Cubic convolution interpolation for digital image processing", Keys, 1981.

    Example:
        >>> downscale(torch.rand(1, 3, 12, 8), 4).shape
        torch.Size([1, 3, 3, 2])
    """
    if not isinstance(image, Tensor) or image.ndim != 4 or not image.is_floating_point() or 0 in image.shape:
        got = f"{tuple(image.shape)} of {image.dtype}" if isinstance(image, Tensor) else type(image).__name__
        raise InputError(f"image must be a floating point tensor (N, C, H, W), got {got}. Add a batch dimension.")
    s = whole("scale", scale)
    height, width = image.shape[-2:]
    if height % s or width % s:
        raise InputError(
            f"sides of the image must be multiples of the scale {s}, got {width}x{height}. Cut it to multiples first."
        )
    choice("kind", kind, KINDS)
    if s == 1:
        return image
    if kind == "pillow":
        return F.interpolate(image, (height // s, width // s), mode="bicubic", antialias=True)
    for dim in (-2, -1):
        image = _shrink(image, s, dim)
    return image


def _shrink(image: Tensor, scale: int, dim: int) -> Tensor:
    """One direction: with a whole factor all results have the same weights."""
    margin = 2 * scale
    size = image.shape[dim]
    # Mirrored with the edge's own pixel, as often as a small image needs.
    places = torch.arange(-margin, size + margin, device=image.device) % (2 * size)
    places = torch.where(places < size, places, 2 * size - 1 - places)
    moved = image.index_select(dim, places).movedim(dim, -1)
    # The first result's centre is (scale - 1)/2.
    taps = torch.arange(-margin, scale + margin, device=image.device, dtype=torch.float64)
    weights = _cubic((taps - (scale - 1) / 2) / scale)
    kernel = (weights / weights.sum()).to(image.dtype).reshape(1, 1, -1)
    shrunk = F.conv1d(moved.reshape(-1, 1, moved.shape[-1]), kernel, stride=scale)
    return shrunk.reshape(*moved.shape[:-1], size // scale).movedim(-1, dim)


def _cubic(x: Tensor) -> Tensor:
    """Keys' kernel with a = -1/2."""
    x = x.abs()
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return torch.where(x <= 1, near, torch.where(x < 2, far, torch.zeros_like(x)))
