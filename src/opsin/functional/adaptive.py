"""The formula of A-DISTS: structure and texture compared around each position, each where it matters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

_TINY = 1e-12


def gaussian_window(size: int, sigma: float, *, like: Tensor) -> Tensor:
    """Weights ∝ exp(-i² / 2σ²) around the middle, which add up to 1: (size,) in dtype and on the device of `like`."""
    # Made there: a copy from the CPU would wait for the device.
    offsets = torch.arange(size, dtype=like.dtype, device=like.device) - size // 2
    weights = torch.exp(-offsets.square() / (2.0 * sigma * sigma))
    return weights / weights.sum()


def local_mean(feature: Tensor, window: Tensor) -> Tensor:
    """Weighted mean around each position that has a whole window; over the whole map where at most one has.

    Shape: (N,C,H,W), (K,) -> (N,C,H-K+1,W-K+1), or (N,C,1,1) for small maps.
    """
    size = len(window)
    height, width = feature.shape[-2:]
    if min(height, width) < size or max(height, width) == size:
        return feature.mean(dim=(2, 3), keepdim=True)
    channels = feature.shape[1]
    column, row = (window.reshape(shape).expand(channels, -1, -1, -1) for shape in ((1, 1, -1, 1), (1, 1, 1, -1)))
    return F.conv2d(F.conv2d(feature, column, groups=channels), row, groups=channels)


def dispersion(feature: Tensor, window: Tensor) -> Tensor:
    """Variance over mean around each position, mean over channels: γ = mean_c σ² / μ.

    It is low in textures, whose features are spread evenly, and high at structures. Variances that are no more than
    rounding count as 0, so that what is constant has the same γ everywhere.

    Shape: (N,C,H,W), (K,) -> (N,1,H',W'), as `local_mean`.
    """
    mean, power = local_mean(feature, window), local_mean(feature.square(), window)
    variance = power - mean.square()
    variance = torch.where(variance > 16.0 * torch.finfo(power.dtype).eps * power, variance, 0.0)
    return (variance / (mean.clamp_min(0.0) + _TINY)).mean(dim=1, keepdim=True)


def structure_probability(features: Sequence[Tensor], window: Tensor) -> list[Tensor]:
    """How likely each position of each stage is structure, p_s, rather than texture, p_t = 1 - p_s.

    From the deepest stage to the shallowest, p_k = unit(unit(sigmoid((γ_k - mean γ_k) / std γ_k)) · up(p_{k+1})):
    `unit` brings a map to [0,1], `up` is bilinear with aligned corners. On small maps, which have one γ,
    p_k = sigmoid(γ_k) · p_{k+1}.

    Shape: K × (N,C,H,W), from shallow to deep -> K × (N,1,H',W'), as `local_mean`.
    """
    deeper = features[0].new_ones(1, 1, 1, 1)
    found: list[Tensor] = []
    for feature in reversed(features):
        gamma = dispersion(feature, window)
        size = (gamma.shape[-2], gamma.shape[-1])
        deeper = F.interpolate(deeper, size, mode="bilinear", align_corners=True)
        if size == (1, 1):
            deeper = torch.sigmoid(gamma) * deeper
        else:
            std, mean = torch.std_mean(gamma, dim=(2, 3), keepdim=True)
            p = torch.sigmoid((gamma - mean) / (std + _TINY))
            deeper = _unit_range(_unit_range(p) * deeper)
        found.append(deeper)
    return found[::-1]


def entropy_weights(features: Sequence[Tensor], clip: float = 0.5) -> list[Tensor]:
    """A weight for each channel of all stages, higher where its values are spread more evenly; they add up to 1.

    The entropy of a channel's values (negative ones count as 0, as shares of their sum over positions), divided by
    the mean of its stage. All of these are clipped to their mean ± `clip` standard deviations.

    Shape: K × (N,C_k,H,W) -> K × (N,C_k).
    """
    parts: list[Tensor] = []
    for feature in features:
        values = feature.clamp_min(0.0).flatten(2)
        shares = values / values.sum(dim=2, keepdim=True).clamp_min(_TINY)
        entropy = torch.special.entr(shares).sum(dim=2)
        parts.append(entropy / (entropy.mean(dim=1, keepdim=True) + _TINY))
    weights = _shares(torch.cat(parts, dim=1))
    spread, mean = torch.std_mean(weights, dim=1, keepdim=True, correction=0)
    weights = _shares(weights.clamp(min=mean - clip * spread, max=mean + clip * spread))
    return list(weights.split([part.shape[1] for part in parts], dim=1))


def local_structure_texture(
    x: Tensor, y: Tensor, probability: Tensor, weights: Tensor, window: Tensor, c: float
) -> Tensor:
    """One stage of A-DISTS: Σ_c w_c mean_hw (p_t (1 - l) + p_s (1 - s)), p_t = 1 - p_s.

    Each channel is first brought to length 1. With means, variances and covariance around each position,
    1 - l = (μ_x - μ_y)² / (μ_x² + μ_y² + c) and 1 - s = var(x - y) / (σ_x² + σ_y² + c): the similarities l and s of
    DISTS written as differences, which are exactly 0 for equal maps.

    Shape: (N,C,H,W), (N or 1,C,H,W), p_s (N or 1,1,H',W'), w (N or 1,C), (K,) -> (N,).
    """
    x, y = _unit_length(x), _unit_length(y)
    mean_x, mean_y = local_mean(x, window), local_mean(y, window)
    difference, squares = (mean_x - mean_y).square(), mean_x.square() + mean_y.square()
    # Means of squares less squares of means; rounding can make that negative.
    change = (local_mean((x - y).square(), window) - difference).clamp_min(0.0)
    variances = (local_mean(x.square() + y.square(), window) - squares).clamp_min(0.0)
    dissimilarity = torch.lerp(difference / (squares + c), change / (variances + c), probability)
    return (weights * dissimilarity.mean(dim=(2, 3))).sum(dim=1)


def adaptive_structure_texture(
    xs: Sequence[Tensor],
    ys: Sequence[Tensor],
    *,
    window: int = 21,
    sigma: float = 7.0,
    c: float = 1e-6,
    clip: float = 0.5,
) -> Tensor:
    """A-DISTS of the stages of a network, 1 - Σ_k Σ_c w_kc mean_hw (p_t l + p_s s).

    p and w come from the reference alone, `ys`, and are constants to gradients.

    Shape: K × (N,C,H,W), K × (N or 1,C,H,W), from shallow to deep -> (N,).

    Range: [0, 2], seldom above 1; 0 for equal maps.
    """
    weights_of_window = gaussian_window(window, sigma, like=ys[0])
    with torch.no_grad():
        probabilities = structure_probability(ys, weights_of_window)
        weights = entropy_weights(ys, clip)
    return torch.stack(
        [
            local_structure_texture(x, y, p, w, weights_of_window, c)
            for x, y, p, w in zip(xs, ys, probabilities, weights, strict=True)
        ]
    ).sum(dim=0)


def _unit_range(p: Tensor) -> Tensor:
    low, high = p.amin(dim=(2, 3), keepdim=True), p.amax(dim=(2, 3), keepdim=True)
    return (p - low) / (high - low + _TINY)


def _unit_length(feature: Tensor) -> Tensor:
    """Each channel divided by its length; one that is zero has none, and stays as it is (with a gradient of 1)."""
    power = feature.square().sum(dim=(2, 3), keepdim=True)
    return feature * torch.where(power > _TINY * _TINY, power, 1.0).rsqrt()


def _shares(weights: Tensor) -> Tensor:
    """Each weight divided by their sum; equal ones if all are 0."""
    total = weights.sum(dim=1, keepdim=True)
    return torch.where(total > 0, weights / total, 1.0 / weights.shape[1])
