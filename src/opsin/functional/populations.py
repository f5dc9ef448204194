"""How far two populations of feature vectors are apart, and how much of one lies within the other."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from opsin.checks import whole
from opsin.errors import InputError

_CHUNK = 1024  # rows of a matrix of distances at a time


class Estimate(NamedTuple):
    """A number and the standard error of it that comes from the choice of samples."""

    value: float
    error: float


class Coverage(NamedTuple):
    """How much of the generated lies within the real, and how much of the real within the generated."""

    precision: float
    recall: float


def frechet_distance(x: Tensor, y: Tensor) -> float:
    """Fréchet distance between normal distributions of the means and covariances of two populations.

    d² = ‖μ_x - μ_y‖² + tr(Σ_x + Σ_y - 2 (Σ_x^½ Σ_y Σ_x^½)^½)

    It is biased: with few samples it is larger, so that numbers of different sample sizes cannot be compared.

    Shape: (N,C), (M,C) -> a number.

    Range: [0, ∞).

    Raises:
        InputError: other shapes, fewer than two rows, values that are not finite.

    Reference: "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", Heusel et al., 2017,
    https://arxiv.org/abs/1706.08500; on features of Inception it is called FID

    Example:
        >>> x = torch.eye(3)
        >>> round(frechet_distance(x, x + 2), 6)
        12.0
    """
    x, y = _checked(x, y)
    # The covariances' factors A = (x - μ)/√(N-1): tr (Σ_x^½ Σ_y Σ_x^½)^½ is the sum of the singular values of A_x A_yᵀ,
    # which is as small as the populations are and needs no root of a matrix that has no full rank.
    a, b = ((p - p.mean(0)) / (len(p) - 1) ** 0.5 for p in (x, y))
    if min(len(a), len(b)) > a.shape[1]:
        a, b = (torch.linalg.qr(p).R for p in (a, b))
    both = torch.linalg.svdvals(a @ b.T).sum()
    value = (x.mean(0) - y.mean(0)).square().sum() + a.square().sum() + b.square().sum() - 2 * both
    return max(0.0, float(value))


def kernel_distance(
    x: Tensor, y: Tensor, *, subsets: int = 100, size: int = 1000, generator: torch.Generator | None = None
) -> Estimate:
    """Squared maximum mean discrepancy of two populations, without bias, and its error.

    k(a, b) = (a·b/C + 1)³; MMD² = mean_{i≠j} k(x_i, x_j) + mean_{i≠j} k(y_i, y_j) - 2 mean k(x_i, y_j), the mean over
    random subsets of both populations. The error is the deviation over the subsets divided by the root of how many
    disjoint ones there could be, since those drawn share members.

    Shape: (N,C), (M,C) -> two numbers.

    Range: (-∞, ∞); about 0 for populations of one distribution.

    Args:
        x: of generated images.
        y: of real ones.
        subsets: how many subsets.
        size: of a subset; at most half of the smaller population, or all subsets would be one.
        generator: what subsets are drawn from; None takes one of a fixed seed.

    Raises:
        InputError: see `frechet_distance`.

    Reference: "Demystifying MMD GANs", Bińkowski, Sutherland, Arbel and Gretton, 2018,
    https://arxiv.org/abs/1801.01401; on features of Inception it is called KID

    Example:
        >>> x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
        >>> kernel_distance(x, x + 1).value > kernel_distance(x, x.flip(0)).value
        True
    """
    x, y = _checked(x, y)
    whole("subsets", subsets, 2)
    generator = generator or torch.Generator().manual_seed(0)
    n = min(whole("size", size, 2), max(2, min(len(x), len(y)) // 2))
    values = []
    for _ in range(subsets):
        a, b = (p[torch.randperm(len(p), generator=generator)[:n].to(p.device)] for p in (x, y))
        aa, bb, ab = ((p @ q.T / p.shape[1] + 1) ** 3 for p, q in ((a, a), (b, b), (a, b)))
        within = (aa.sum() - aa.diagonal().sum() + bb.sum() - bb.diagonal().sum()) / (n * (n - 1))
        values.append(within - 2 * ab.mean())
    found = torch.stack(values)
    disjoint = min(len(x), len(y)) / n
    return Estimate(float(found.mean()), float(found.std() / disjoint**0.5))


def precision_recall(x: Tensor, y: Tensor, *, neighbours: int = 3) -> Coverage:
    """Improved precision and recall: the fraction of x within the manifold of y, and of y within that of x.

    The manifold of a population is the union of balls about its members, each as large as the distance to the member's
    `neighbours`-th nearest other one.

    Shape: (N,C) generated, (M,C) real -> two numbers.

    Range: [0, 1].

    Raises:
        InputError: see `frechet_distance`; no more rows than neighbours.

    Reference: "Improved precision and recall metric for assessing generative models", Kynkäänniemi et al., 2019,
    https://arxiv.org/abs/1904.06991

    Example:
        >>> y = torch.arange(8.0)[:, None]
        >>> precision_recall(y[:4] + 0.25, y)
        Coverage(precision=1.0, recall=0.75)
    """
    x, y = _checked(x, y)
    if min(len(x), len(y)) <= whole("neighbours", neighbours):
        raise InputError(
            f"each population must have more than {neighbours} members, got {len(x)} and {len(y)}. Add images."
        )
    return Coverage(_inside(x, y, neighbours), _inside(y, x, neighbours))


def nearest(x: Tensor, y: Tensor, count: int = 1) -> tuple[Tensor, Tensor]:
    """The `count` members of y that are nearest to each of x: distances and numbers, the nearest first.

    Shape: (N,C), (M,C) -> (N,count), (N,count).

    Raises:
        InputError: other shapes, or more than there are in y.

    Example:
        >>> nearest(torch.tensor([[0.9]]), torch.arange(3.0)[:, None])[1]
        tensor([[1]])
    """
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or not 1 <= count <= len(y):
        raise InputError(
            f"features must be (N,C) and (M,C), and count from 1 to M, got {tuple(x.shape)}, {tuple(y.shape)}, {count}."
        )
    found = [_distances(part, y.double()).topk(count, largest=False) for part in x.double().split(_CHUNK)]
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


def spread(x: Tensor) -> float:
    """Root of the mean squared distance of the members of a population from their mean.

    Shape: (N,C) -> a number. Range: [0, ∞).
    """
    x = x.double()
    return float((x - x.mean(0)).square().sum(1).mean().sqrt())


def _inside(x: Tensor, y: Tensor, neighbours: int) -> float:
    """The fraction of x within the manifold of y."""
    # The nearest one is the member itself.
    radii = torch.cat([_distances(p, y).topk(neighbours + 1, largest=False).values[:, -1] for p in y.split(_CHUNK)])
    return float(torch.cat([(_distances(p, y) <= radii).any(1) for p in x.split(_CHUNK)]).double().mean())


def _distances(x: Tensor, y: Tensor) -> Tensor:
    # Not by the product of matrices, which makes near ones out of equal ones.
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def _checked(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise InputError(
            f"features must be (N,C) and (M,C) with at least 2 rows each, got {tuple(x.shape)} and {tuple(y.shape)}."
        )
    if not (bool(x.isfinite().all()) and bool(y.isfinite().all())):
        raise InputError("features must be finite numbers, got NaN or infinity. Look at the images.")
    return x.double(), y.double()
