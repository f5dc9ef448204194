"""Statistics of one feature map that forget where things are: (N,C,H,W) -> (N,C,C) or (N,2,C)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from opsin.checks import choice


def gram(feature: Tensor, normalize: str = "chw") -> Tensor:
    """Gram matrix F Fᵀ / Z of the feature vectors at all positions.

    Shape: (N,C,H,W) -> (N,C,C).

    Args:
        feature: the feature map.
        normalize: Z: "chw" = C·H·W (Johnson et al. 2016), "hw" = H·W (Gatys' released code), "none" = 1.

    Raises:
        ChoiceError: another `normalize`.
    """
    _, c, h, w = feature.shape
    flat = feature.flatten(2)
    sizes = {"chw": c * h * w, "hw": h * w, "none": 1}
    z = sizes[choice("normalize", normalize, sizes)]
    return torch.bmm(flat, flat.transpose(1, 2)) / z


def patch_gram(feature: Tensor, patch: int = 16, normalize: str = "none") -> Tensor:
    """Gram matrices F Fᵀ / Z of the patches of a feature map, side by side without overlap.

    Patches at the right and the lower edge, and that of a map smaller than a patch, hold fewer positions.

    Shape: (N,C,H,W) -> (N,rows,columns,C,C) with rows = ceil(H/patch), columns = ceil(W/patch).

    Args:
        feature: the feature map.
        patch: height and width of a patch, in positions of the map.
        normalize: Z: "none" = 1, "hw" = patch², "chw" = C·patch².

    Raises:
        ChoiceError: another `normalize`.
    """
    n, c, h, w = feature.shape
    sizes = {"none": 1, "hw": patch * patch, "chw": c * patch * patch}
    z = sizes[choice("normalize", normalize, sizes)]
    high, wide = min(patch, h), min(patch, w)
    # Positions of value zero add nothing to a Gram matrix.
    padded = F.pad(feature, (0, -w % wide, 0, -h % high))
    rows, columns = padded.shape[-2] // high, padded.shape[-1] // wide
    flat = padded.reshape(n, c, rows, high, columns, wide).permute(0, 2, 4, 1, 3, 5).flatten(4)
    return flat @ flat.transpose(-2, -1) / z


def mean_std(feature: Tensor, eps: float = 1e-5) -> Tensor:
    """Mean and standard deviation of each channel: μ, sqrt(σ² + eps), σ² without Bessel's correction.

    Shape: (N,C,H,W) -> (N,2,C).

    The epsilon stands inside the root, so that a constant channel has a finite gradient.
    """
    flat = feature.flatten(2)
    mean = flat.mean(dim=2)
    variance = (flat - mean.unsqueeze(2)).square().mean(dim=2)
    return torch.stack([mean, torch.sqrt(variance + eps)], dim=1)


def mean_std_of_sums(sums: Tensor, centre: Tensor, positions: int, eps: float = 1e-5) -> Tensor:
    """`mean_std` of Σ f and Σ f² over positions, f = F - centre: (N,2,C), (N,C,1,1) -> (N,2,C)."""
    shift, square = (sums / positions).unbind(dim=1)
    # Rounding may take the variance of a constant channel below 0.
    variance = (square - shift.square()).clamp_min(0.0)
    return torch.stack([centre.flatten(1) + shift, torch.sqrt(variance + eps)], dim=1)
