"""Optimal transport between the feature vectors of two maps: their Gaussian fit, or their sorted projections."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def mean_covariance(feature: Tensor, correction: int = 0) -> tuple[Tensor, Tensor]:
    """Mean and covariance over positions: μ, (F - μ)(F - μ)ᵀ / (M - correction), M = H·W.

    A map of one position has covariance 0, whatever the correction.

    Shape: (N,C,H,W) -> (N,C), (N,C,C).

    Args:
        feature: the feature map.
        correction: 0 for the covariance of the positions themselves, 1 for the unbiased estimate.
    """
    flat = feature.flatten(2)
    mean = flat.mean(dim=2, keepdim=True)
    centred = flat - mean
    covariance = torch.bmm(centred, centred.transpose(1, 2)) / max(flat.shape[2] - correction, 1)
    return mean.squeeze(2), covariance


def moment_sums(feature: Tensor, centre: Tensor) -> Tensor:
    """Σ f in front of Σ f fᵀ over positions, f = F - centre; sums of parts of a map add up to that of the map.

    Shape: (N,C,H,W), (N,C,1,1) -> (N,1+C,C).
    """
    f = (feature - centre).flatten(2)
    return torch.cat([f.sum(dim=2).unsqueeze(1), torch.bmm(f, f.transpose(1, 2))], dim=1)


def mean_covariance_of_sums(sums: Tensor, centre: Tensor, positions: int, correction: int = 0) -> tuple[Tensor, Tensor]:
    """`mean_covariance` of what `moment_sums` gave for all positions: (N,1+C,C), (N,C,1,1) -> (N,C), (N,C,C)."""
    shift = sums[:, 0] / positions
    scatter = sums[:, 1:] - positions * shift.unsqueeze(2) * shift.unsqueeze(1)
    return centre.flatten(1) + shift, scatter / max(positions - correction, 1)


class _MatrixSqrt(torch.autograd.Function):
    """The root of a symmetric matrix, with the gradient of the root and not that of its eigenvectors.

    The gradient of eigenvectors divides by differences of eigenvalues, which is NaN at the first repeated one (a
    constant image has nothing else). The root itself is smooth: the gradient G becomes X with S X + X S = G, which
    divides by sums of roots.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, floor: float) -> Tensor:
        values, vectors = torch.linalg.eigh(matrix)
        roots = values.clamp_min(floor).sqrt()
        ctx.save_for_backward(roots, vectors)
        return (vectors * roots.unsqueeze(-2)) @ vectors.mT

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        roots, vectors = ctx.saved_tensors
        grad = grads[0]
        inner = vectors.mT @ (0.5 * (grad + grad.mT)) @ vectors
        inner = inner / (roots.unsqueeze(-1) + roots.unsqueeze(-2))
        return vectors @ inner @ vectors.mT, None


def matrix_sqrt(matrix: Tensor, floor: float = 1e-12) -> Tensor:
    """The symmetric positive root S of a symmetric matrix, S S = matrix.

    Eigenvalues below `floor` are taken as `floor`. Gradients are finite also where eigenvalues repeat; there are no
    second derivatives.

    Shape: (...,C,C) -> (...,C,C).
    """
    return _MatrixSqrt.apply(matrix, floor)


def gaussian_w2(mean_x: Tensor, cov_x: Tensor, mean_y: Tensor, cov_y: Tensor, eps: float = 1e-4) -> Tensor:
    """Squared Wasserstein-2 distance of two Gaussians, per channel.

    mean_c (μx - μy)² + mean diag(Σx + Σy - 2 (Σy^½ Σx Σy^½)^½), with eps·I added to both covariances.

    Shape: (N,C), (N,C,C), (N or 1,C), (N or 1,C,C) -> (N,).

    Range: [0, ∞); 0 for equal Gaussians up to rounding.

    The matrix part is computed in float64 where the device has it: the smallest eigenvalues of a product of two
    covariances lie far below the rounding of float32.
    """
    dtype = mean_x.dtype
    wide = torch.float32 if mean_x.device.type == "mps" else torch.float64
    c = cov_x.shape[-1]
    ridge = eps * torch.eye(c, dtype=wide, device=cov_x.device)
    a, b = cov_x.to(wide) + ridge, cov_y.to(wide) + ridge
    # eps and eps² are the least that exact eigenvalues can be; what lies below is rounding.
    root = matrix_sqrt(b, floor=eps)
    product = root @ a @ root
    # Only the trace is needed, so only eigenvalues: their gradient is finite also where they repeat.
    values = torch.linalg.eigvalsh(0.5 * (product + product.mT)).clamp_min(0.25 * eps * eps)
    trace = a.diagonal(dim1=-2, dim2=-1) + b.diagonal(dim1=-2, dim2=-1) - 2.0 * values.sqrt()
    spread = trace.mean(dim=-1).clamp_min(0.0).to(dtype)
    return (mean_x - mean_y).square().mean(dim=-1) + spread


def resample_quantiles(values: Tensor, count: int) -> Tensor:
    """Sorted values at `count` evenly spaced quantiles, linear in between.

    Shape: (N,D,M) -> (N,D,count).
    """
    if values.shape[2] == count:
        return values
    return F.interpolate(values, size=count, mode="linear", align_corners=False)


def quantile_distance(x: Tensor, y: Tensor) -> Tensor:
    """Mean squared difference of sorted values: the squared 1-D Wasserstein-2 distance, mean over rows.

    Where there are more or fewer of `y`, its sorted values are interpolated to the number of those of `x`.

    Shape: (N,D,M) and (N or 1,D,M') sorted along the last dimension -> (N,).
    """
    return (x - resample_quantiles(y, x.shape[2])).square().mean(dim=(1, 2))


def random_directions(count: int, channels: int, *, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Unit vectors drawn evenly from the sphere, in the dtype and on the device of `like`.

    Shape: (count, channels).

    Args:
        count: how many.
        channels: their length.
        like: whose dtype and device they have.
        generator: of the random numbers; torch's own on the device of `like` if None.
    """
    device = like.device if generator is None else generator.device
    drawn = torch.randn(count, channels, generator=generator, device=device, dtype=like.dtype).to(like.device)
    return F.normalize(drawn, dim=1)


def sliced_wasserstein(x: Tensor, y: Tensor, directions: Tensor) -> Tensor:
    """Mean over directions of the squared 1-D Wasserstein-2 distance of projected feature vectors.

    (1/DM) Σ_d Σ_m (sort(d·x)_m - sort(d·y)_m)²

    Shape: x (N,C,H,W), y (N or 1,C,H',W'), directions (D,C) -> (N,).

    Range: [0, ∞).
    """
    projected_x = torch.matmul(directions, x.flatten(2)).sort(dim=2).values
    projected_y = torch.matmul(directions, y.flatten(2)).sort(dim=2).values
    return quantile_distance(projected_x, projected_y)
