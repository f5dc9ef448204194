"""Masks at the resolution of a feature map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from opsin.errors import InputError
from opsin.inputs import check_batch

if TYPE_CHECKING:
    from opsin.extractors import ReceptiveField


def check_mask(mask: object, x: Tensor) -> Tensor:
    """Return a mask for images `x` (N,3,H,W) as (N or 1,1,H,W), float32 at least; (B,T,1,H,W) for clips.

    Raises:
        InputError: it has another shape, device or range.
    """
    if isinstance(mask, Tensor) and mask.ndim == 5:
        mask = mask.flatten(0, 1)
    if not isinstance(mask, Tensor) or mask.ndim != 4 or mask.shape[1] != 1 or mask.shape[-2:] != x.shape[-2:]:
        got = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise InputError(f"mask must have shape (N,1,{x.shape[-2]},{x.shape[-1]}) like x, got {got}. Resize it.")
    check_batch(x.shape[0], mask.shape[0], "mask")
    if mask.device != x.device:
        raise InputError(f"mask must be on the device of x, {x.device}, got {mask.device}. Move it there.")
    mask = mask.to(torch.promote_types(x.dtype, torch.float32))
    if not bool(((mask >= 0) & (mask <= 1)).all()):
        raise InputError("mask must be in [0,1], got values outside of it. Divide by its maximum.")
    return mask


def resize_mask(mask: Tensor, size: torch.Size | tuple[int, int], field: ReceptiveField | None) -> Tensor:
    """Bring a mask to the size of a feature map.

    Shape: (N,1,H,W) -> (N,h,w).

    Args:
        mask: 1 inside, 0 outside.
        size: (h, w) of the feature map.
        field: if given, a position's mask is the *least* value in the pixels it sees, so that it counts only if all of
            them are inside; beyond the border of the image everything counts as inside. Otherwise it is their mean
            over the position's share of the image.
    """
    if field is None:
        if mask.shape[-2:] == torch.Size(size):
            return mask.squeeze(1)
        return F.adaptive_avg_pool2d(mask, (size[0], size[1])).squeeze(1)
    outside = 1.0 - mask
    for dim in (2, 3):  # a maximum over a rectangle is one over columns of one over rows
        outside = outside.transpose(dim, 3)
        length = size[dim - 2]
        left = -field.start
        right = (length - 1) * field.stride + field.size - left - outside.shape[3]
        padded = F.pad(outside, (left, right))
        outside = F.max_pool2d(padded, (1, field.size), (1, field.stride)).transpose(dim, 3)
    return 1.0 - outside.squeeze(1)


def covered(mask: Tensor, name: str) -> Tensor:
    """Σ of a mask over positions, by which a masked sum becomes a mean: (N,h,w) -> (N,).

    Raises:
        InputError: the mask of an image is empty.
    """
    total = mask.sum(dim=(1, 2))
    if bool((total <= 0).any()):
        raise InputError(
            f"mask must cover some position of term {name!r}, got one that covers none there. "
            "Enlarge it, leave it unshrunk, or choose shallower taps."
        )
    return total


def masked_mean(picture: Tensor, mask: Tensor, name: str) -> Tensor:
    """Mean of a map weighted by a mask: Σ m·d / Σ m.

    Shape: (N,h,w), (N or 1,h,w) -> (N,).

    Raises:
        InputError: the mask of an image is empty.
    """
    return (picture * mask).sum(dim=(1, 2)) / covered(mask, name)
