"""Statistics of one feature map that forget where things are: (N,C,H,W) -> (N,C,C) or (N,2,C)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from opsin.checks import choice
from opsin.tracing import is_traced


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
    sizes = {"chw": c * h * w, "hw": h * w, "none": 1}
    z = sizes[choice("normalize", normalize, sizes)]
    if feature.requires_grad and torch.is_grad_enabled() and not is_traced() and not torch.compiler.is_compiling():
        return _Gram.apply(feature) / z
    flat = _flat(feature)
    return torch.bmm(flat, flat.transpose(1, 2)) / z


def _flat(feature: Tensor) -> Tensor:
    """(N,C,H,W) -> (N,C,H·W)."""
    if feature.is_contiguous():
        return feature.flatten(2)
    # channels_last, whose memory is a matrix too: flatten(2) would copy it
    return feature.permute(0, 2, 3, 1).flatten(1, 2).transpose(1, 2)


class _Gram(torch.autograd.Function):
    """F Fᵀ, with one product for the gradient instead of two and a sum, in the memory layout of F."""

    @staticmethod
    def forward(ctx: Any, feature: Tensor) -> Tensor:
        """(N,C,H,W) -> (N,C,C)."""
        ctx.save_for_backward(feature)
        flat = _flat(feature)
        return torch.bmm(flat, flat.transpose(1, 2))

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """(G + Gᵀ) F, which can be differentiated again."""
        (feature,) = ctx.saved_tensors
        both, flat = grads[0] + grads[0].transpose(1, 2), _flat(feature)
        beside = flat.stride(1) == 1
        operands = (flat.transpose(1, 2), both) if beside else (both, flat)
        if torch.is_grad_enabled():
            product = torch.bmm(*operands)
            return (product.transpose(1, 2) if beside else product).reshape(feature.shape)
        # Written into a tensor of its own, not returned as a view: to that autograd adds in place.
        found = torch.empty_like(feature)
        into = _flat(found)
        torch.bmm(*operands, out=into.transpose(1, 2) if beside else into)
        return found


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
