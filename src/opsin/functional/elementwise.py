"""Distances between two feature maps position by position: (N,C,H,W), (N,C,H,W) -> (N,H,W).

Each function gives a map whose mean over positions is the distance. Batches broadcast (one reference for many images).
All are safe to differentiate everywhere, also where the maps are equal or zero: lengths are taken by
`torch.linalg.vector_norm`, whose gradient at zero is zero. A root of a sum of squares with an epsilon added outside has
an infinite one there, and infinity times zero is the NaN that spoils a training run at the first all-zero feature.
"""

from __future__ import annotations

import torch
from torch import Tensor


def unit_normalize(x: Tensor, eps: float = 1e-10) -> Tensor:
    """Divide each position's feature vector by its length: x / (||x||_2 + eps), zero where x is zero.

    The direction of a zero vector is undefined: its gradient is zero here, instead of the NaN of a plain root or the
    1/eps that the formula has there.

    Shape: (N,C,...) -> (N,C,...).

    Reference: the normalisation of LPIPS (Zhang et al. 2018), whose epsilon stands outside of the root.
    """
    length = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return x * torch.where(length > 0, 1.0 / (length + eps), 0.0)


def l1_map(x: Tensor, y: Tensor) -> Tensor:
    """mean_c |x - y|."""
    return (x - y).abs().mean(dim=1)


def l2_map(x: Tensor, y: Tensor) -> Tensor:
    """mean_c (x - y)²."""
    return (x - y).square().mean(dim=1)


def euclidean_map(x: Tensor, y: Tensor) -> Tensor:
    """||x - y||_2 over channels."""
    return torch.linalg.vector_norm(x - y, dim=1)


def charbonnier_map(x: Tensor, y: Tensor, eps: float = 1e-3) -> Tensor:
    """mean_c sqrt((x - y)² + eps²)."""
    return ((x - y).square() + eps * eps).sqrt().mean(dim=1)


def huber_map(x: Tensor, y: Tensor, delta: float = 1.0) -> Tensor:
    """mean_c h(x - y), with h(d) = d²/2 where |d| < delta and delta(|d| - delta/2) elsewhere."""
    d = (x - y).abs()
    return torch.where(d < delta, 0.5 * d * d, delta * (d - 0.5 * delta)).mean(dim=1)


def weighted_square_map(x: Tensor, y: Tensor, channel_weights: Tensor | None = None) -> Tensor:
    """sum_c w_c (x - y)², with w = 1 if no weights are given."""
    square = (x - y).square()
    if channel_weights is None:
        return square.sum(dim=1)
    # A 1x1 convolution is this sum in one pass over memory; multiply-then-sum would be two.
    return torch.nn.functional.conv2d(square, channel_weights.to(square.dtype).reshape(1, -1, 1, 1)).squeeze(1)
