"""Keeping the colours of the photo: "Controlling perceptual factors in neural style transfer", Gatys et al., 2017."""

from __future__ import annotations

import torch
from torch import Tensor

# Of R, G and B in the brightness Y of NTSC, which the paper takes.
_LUMA = (0.299, 0.587, 0.114)
_EPS = 1e-5


def luminance(image: Tensor) -> Tensor:
    """0.299 R + 0.587 G + 0.114 B: (N,3,H,W) -> (N,1,H,W)."""
    return (image * image.new_tensor(_LUMA).reshape(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def with_luminance(image: Tensor, brightness: Tensor) -> Tensor:
    """An image with another brightness and its own chroma (I and Q of YIQ): (N,3,H,W), (N,1,H,W) -> (N,3,H,W)."""
    # A change of Y alone moves R, G and B alike.
    return image + (brightness - luminance(image))


def match_brightness(image: Tensor, other: Tensor) -> Tensor:
    """A brightness with the mean and deviation of another one: (N,1,H,W), (N,1,H',W') -> (N,1,H,W)."""
    centred = image - image.mean()
    return centred * (other.std() / centred.std().clamp(min=_EPS)) + other.mean()


def match_colours(image: Tensor, other: Tensor) -> Tensor:
    """An image with the mean and covariance of colours of another one: A (x - μ) + μ', A = Σ'^½ Σ^-½.

    Shape: (1,3,H,W), (1,3,H',W') -> (1,3,H,W), clamped to [0,1].
    """
    x, y = (v[0].flatten(1).double() for v in (image, other))
    (mu_x, sigma_x), (mu_y, sigma_y) = ((v.mean(dim=1, keepdim=True), _covariance(v)) for v in (x, y))
    a = _power(sigma_y, 0.5) @ _power(sigma_x, -0.5)
    return (a @ (x - mu_x) + mu_y).to(image.dtype).reshape(image.shape).clamp(0, 1)


def recoloured(painting: Tensor, photo: Tensor, keep: str | None) -> Tensor:
    """A painting as it is looked at: with the photo's colours, its brightness alone with the photo's, or as it is.

    Shape: (1,3,H,W), (1,3,H',W') -> (1,3,H,W), or (1,1,H,W) if `keep` is "luminance".
    """
    if keep == "linear":
        return match_colours(painting, photo)
    if keep == "luminance":
        return match_brightness(luminance(painting), luminance(photo))
    return painting


def painted_part(image: Tensor, keep: str | None) -> Tensor:
    """What of an image is optimised: its brightness if `keep` is "luminance", else all of it."""
    return luminance(image) if keep == "luminance" else image


def completed(painted: Tensor, photo: Tensor, keep: str | None) -> Tensor:
    """The picture of what was optimised: with the photo's chroma if that was its brightness alone."""
    return with_luminance(photo, painted) if keep == "luminance" else painted


def _covariance(pixels: Tensor) -> Tensor:
    centred = pixels - pixels.mean(dim=1, keepdim=True)
    return centred @ centred.T / pixels.shape[1] + _EPS * torch.eye(3, dtype=pixels.dtype, device=pixels.device)


def _power(matrix: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values**exponent) @ vectors.T
