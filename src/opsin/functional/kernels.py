"""Maximum mean discrepancy: the distance between the means of two sets of vectors in the space of a kernel."""

from __future__ import annotations

import torch
from torch import Tensor


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """||x_i - y_j||² of all pairs.

    Shape: (N,C,A), (N or 1,C,B) -> (N,A,B).
    """
    lengths = x.square().sum(dim=1).unsqueeze(2) + y.square().sum(dim=1).unsqueeze(1)
    return (lengths - 2.0 * torch.matmul(x.mT, y)).clamp_min(0.0)


def gaussian_bandwidth(y: Tensor) -> Tensor:
    """σ², the mean squared distance of all pairs of `y`: twice the sum of the channels' variances.

    Vectors that are all alike (to three digits) have no spread to go by: their mean squared length takes its place, or
    1 if they are zero.

    Shape: (N,C,B) -> (N,).
    """
    spread = 2.0 * y.var(dim=2, correction=0).sum(dim=1)
    power = y.square().sum(dim=1).mean(dim=1)
    fallback = torch.where(power > 0, power, torch.ones_like(power))
    return torch.where(spread > 1e-6 * fallback, spread, fallback)


def mmd_gaussian(x: Tensor, y: Tensor, sigma: float | None = None) -> Tensor:
    """Squared maximum mean discrepancy with the kernel k(a,b) = exp(-||a - b||² / 2σ²).

    mean_ij k(x_i,x_j) + mean_ij k(y_i,y_j) - 2 mean_ij k(x_i,y_j)

    Shape: (N,C,A), (N or 1,C,B) -> (N,).

    Range: [0, 2].

    Args:
        x: vectors of what is judged.
        y: vectors of the reference.
        sigma: σ. None takes the root of `gaussian_bandwidth(y)`, as a constant.
    """
    if sigma is None:
        square = gaussian_bandwidth(y.detach()).reshape(-1, 1, 1)
    else:
        square = torch.full((1, 1, 1), sigma * sigma, dtype=x.dtype, device=x.device)
    # Distances stay the same, and the squares that they are the difference of get small.
    centre = y.detach().mean(dim=2, keepdim=True)
    x, y = x - centre, y - centre

    def mean_kernel(a: Tensor, b: Tensor) -> Tensor:
        return torch.exp(-squared_distances(a, b) / (2.0 * square)).mean(dim=(1, 2))

    return (mean_kernel(x, x) + mean_kernel(y, y) - 2.0 * mean_kernel(x, y)).clamp_min(0.0)


def mmd_linear(mean_x: Tensor, mean_y: Tensor) -> Tensor:
    """Squared maximum mean discrepancy with the kernel k(a,b) = a·b / C, from the means alone: mean_c (Δμ)².

    Shape: (N,C), (N or 1,C) -> (N,).

    Range: [0, ∞).
    """
    return (mean_x - mean_y).square().mean(dim=1)


def mmd_polynomial(mean_x: Tensor, gram_x: Tensor, mean_y: Tensor, gram_y: Tensor, offset: float = 0.0) -> Tensor:
    """Squared maximum mean discrepancy with the kernel k(a,b) = (a·b / C + offset)², from first and second moments.

    The square of a sum comes apart into mean_{C²} (ΔG)² + 2 offset mean_c (Δμ)², G = F Fᵀ / M: exact, and no kernel
    matrix of all pairs is needed.

    Shape: (N,C), (N,C,C), (N or 1,C), (N or 1,C,C) -> (N,).

    Range: [0, ∞) for offset >= 0.
    """
    return (gram_x - gram_y).square().mean(dim=(1, 2)) + 2.0 * offset * mmd_linear(mean_x, mean_y)
