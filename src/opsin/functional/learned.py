"""The formula of DISTS for one feature map."""

from __future__ import annotations

from torch import Tensor


def structure_texture(x: Tensor, y: Tensor, alpha: Tensor, beta: Tensor, c: float = 1e-6) -> Tensor:
    """How far the means and the structure of each channel differ: Σ_c α_c (1 - l_c) + β_c (1 - s_c).

    l = (2 μ_x μ_y + c) / (μ_x² + μ_y² + c) compares the channel's means over all positions, and
    s = (2 σ_xy + c) / (σ_x² + σ_y² + c) their variances and covariance. It is computed from the same numbers written
    as differences, 1 - l = (μ_x - μ_y)² / (μ_x² + μ_y² + c) and 1 - s = var(x - y) / (σ_x² + σ_y² + c), which are
    exactly 0 for equal maps and keep their digits for nearly equal ones.

    Shape: (N,C,H,W), (N or 1,C,H,W), (C,), (C,) -> (N,).
    """
    mean_x, mean_y = x.mean(dim=(2, 3), keepdim=True), y.mean(dim=(2, 3), keepdim=True)
    x, y = x - mean_x, y - mean_y
    mean_x, mean_y = mean_x.flatten(1), mean_y.flatten(1)
    variances = x.square().mean(dim=(2, 3)) + y.square().mean(dim=(2, 3))
    texture = (mean_x - mean_y).square() / (mean_x.square() + mean_y.square() + c)
    structure = (x - y).square().mean(dim=(2, 3)) / (variances + c)
    return (alpha * texture + beta * structure).sum(dim=1)
