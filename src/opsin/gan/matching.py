"""Perceptual feature matching: what a batch of generated images has in common pulled to what real ones have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional as F

from opsin.checks import choice
from opsin.errors import InputError

_DIRECTIONS = 64


def match_populations(kind: str, x: Tensor, y: Tensor) -> Tensor:
    """How far the population of x is from that of y, by a batch of feature vectors of each.

    - "moments": ‖μ_x - μ_y‖²/C + ‖Σ_x - Σ_y‖²_F/C², means and covariances over the batch.
    - "sliced-wasserstein": the mean, over 64 directions drawn anew, of the squared difference of sorted projections.
    - "kernel": the squared maximum mean discrepancy of the kernel (x·y/C + 1)³, of all pairs, so that it is at least 0:
      without those of a vector with itself, as a measure takes it, it has no minimum, and x would run away.

    The vectors are brought to the scale of the real ones first: both are divided by the root mean square of y, which is
    detached.

    Shape: (N,C), (M,C) -> (); N = M for "sliced-wasserstein".

    Args:
        kind: one of `MATCHINGS`.
        x: of generated images; gradients flow to them.
        y: of real images; detached.

    Raises:
        ChoiceError: an unknown kind.
        InputError: other shapes, or fewer than two vectors of each.

    Reference: "Improved techniques for training GANs", Salimans et al., 2016, https://arxiv.org/abs/1606.03498 (means);
    "McGan: mean and covariance feature matching GAN", Mroueh et al., 2017, https://arxiv.org/abs/1702.08398; "Sliced
    Wasserstein generative models", Wu et al., 2019, https://arxiv.org/abs/1706.02631; "Demystifying MMD GANs",
    Bińkowski et al., 2018, https://arxiv.org/abs/1801.01401; "Learning implicit generative models by matching
    perceptual features", dos Santos et al., 2019, https://arxiv.org/abs/1904.02762

    Example:
        >>> x = torch.eye(4)
        >>> match_populations("moments", x, x).item()
        0.0
    """
    choice("matching", kind, MATCHINGS)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise InputError(
            f"features must be (N,C) and (M,C) with at least 2 rows each, got {tuple(x.shape)} and {tuple(y.shape)}."
        )
    x, y = x.float(), y.detach().float()  # sums of squares overflow in half precision
    scale = y.square().mean().sqrt().clamp_min(1e-6)
    return MATCHINGS[kind](x / scale, y / scale)


def pooled(features: Mapping[str, Tensor]) -> Tensor:
    """Means over space of some maps (N,C,H,W), each in units of its own size, as vectors (N,ΣC)."""
    return torch.cat([f.float().mean(dim=(2, 3)) for f in features.values()], dim=1)


def _moments(x: Tensor, y: Tensor) -> Tensor:
    means = F.mse_loss(x.mean(0), y.mean(0))
    return means + F.mse_loss(torch.cov(x.T), torch.cov(y.T))


def _sliced(x: Tensor, y: Tensor) -> Tensor:
    if len(x) != len(y):
        raise InputError(f"batches must be of one size for sliced Wasserstein, got {len(x)} and {len(y)}.")
    directions = F.normalize(torch.randn(x.shape[1], _DIRECTIONS, device=x.device), dim=0)
    return F.mse_loss((x @ directions).sort(dim=0).values, (y @ directions).sort(dim=0).values)


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    def values(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    return values(x, x).mean() + values(y, y).mean() - 2 * values(x, y).mean()


MATCHINGS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {"moments": _moments, "sliced-wasserstein": _sliced, "kernel": _kernel}
)
"""Kinds of `match_populations`."""
