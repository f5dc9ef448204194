"""Statistics of one feature map that forget where things are: (N,C,H,W) -> (N,C,C) or (N,2,C)."""

from __future__ import annotations

import torch
from torch import Tensor

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


def mean_std(feature: Tensor, eps: float = 1e-5) -> Tensor:
    """Mean and standard deviation of each channel: μ, sqrt(σ² + eps), σ² without Bessel's correction.

    Shape: (N,C,H,W) -> (N,2,C).

    The epsilon stands inside the root, so that a constant channel has a finite gradient.
    """
    flat = feature.flatten(2)
    mean = flat.mean(dim=2)
    variance = (flat - mean.unsqueeze(2)).square().mean(dim=2)
    return torch.stack([mean, torch.sqrt(variance + eps)], dim=1)
