"""The formula of DeepWSD: groups of features compared by a transport cost and by their squared difference."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

VARIANTS = ("code", "paper")


def index_transport(p: Tensor, q: Tensor) -> Tensor:
    """Squared 1-D Wasserstein-2 cost of two rows of masses at the places 0, 1, …, K-1.

    ∫ (P⁻¹(t) - Q⁻¹(t))² dt over the levels t of cumulative mass, P⁻¹(t) the first place at which it reaches t. If one
    row has less mass in all, what it lacks is taken to lie at its last place.

    Shape: (N,G,K), (N or 1,G,K), none negative -> (N,G).
    """
    last = p.shape[-1] - 1
    p, q = (mass.cumsum(dim=-1) for mass in torch.broadcast_tensors(p, q))
    levels = torch.cat([p, q], dim=-1).sort(dim=-1).values
    # Places are whole numbers, without a gradient: that is in the steps between the levels.
    fixed = levels.detach()
    places = [torch.searchsorted(mass.detach().contiguous(), fixed, out_int32=True).clamp_max(last) for mass in (p, q)]
    steps = torch.diff(levels, dim=-1, prepend=torch.zeros_like(levels[..., :1]))
    return (steps * (places[0] - places[1]).square()).sum(dim=-1)


def group(feature: Tensor, window: int = 4, variant: str = "code") -> Tensor:
    """A feature map in groups of window² values.

    "paper": windows of each channel. "code": the values whose places in memory, channel by channel and row by row, are
    C·H·W / window² apart, as a plain reshape gives them: mostly of one position and of channels C / window² apart.

    Height and width are brought to the nearest multiple of the window, at least one, by zeros at the bottom and on
    the left, or by cropping there.

    Shape: (N,C,H,W) -> (N,G,window²).
    """
    height, width = (max(1, round(n / window)) * window - n for n in feature.shape[-2:])
    # In one order in memory, whatever the map's is: equal maps must have equal sums, which are rounded in that order.
    feature = F.pad(feature, (width, 0, 0, height)).contiguous()
    if variant == "code":
        return feature.reshape(feature.shape[0], window * window, -1).mT
    rows = feature.unflatten(3, (-1, window)).unflatten(2, (-1, window))  # (N,C,h,window,w,window)
    return rows.transpose(3, 4).reshape(feature.shape[0], -1, window * window)


def grouped_wasserstein(x: Tensor, y: Tensor, window: int = 4, variant: str = "code") -> Tensor:
    """One stage of DeepWSD: Σ_g (W_g + w_g ||x_g - y_g||²), w = 1 / (sqrt(exp(-1 / (W + 10))) (W + 10)²).

    W is the `index_transport` of the masses x_g² / (Σx + 1e-6) and y_g² / (Σy + 1e-6), Σ over the whole map, and g are
    the groups that `group` makes.

    Shape: (N,C,H,W), (N or 1,C,H,W), none negative -> (N,).

    Range: [0, ∞); 0 for equal maps. It grows with the number of features.
    """
    x, y = group(x, window, variant), group(y, window, variant)
    cost = index_transport(_masses(x), _masses(y))
    shifted = cost + 10.0
    weight = torch.exp(0.5 / shifted) / shifted.square()
    return (cost + weight * (x - y).square().sum(dim=2)).sum(dim=1)


def _masses(groups: Tensor) -> Tensor:
    # An image may undershoot 0 a little, so that a sum might vanish.
    return groups.square() / (groups.sum(dim=(1, 2), keepdim=True).clamp_min(0.0) + 1e-6)
