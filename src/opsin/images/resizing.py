"""Resizing with the antialiased bicubic that Pillow uses, differentiably."""

from __future__ import annotations

import re
from typing import TypeAlias

import torch
from torch.nn import functional as F

from opsin.errors import InputError
from opsin.images.reading import DEFAULT_MAX_PIXELS, check_max_pixels

Size: TypeAlias = str | int | tuple[int, int]

_SIZE = re.compile(r"\s*([0-9]{1,7})\s*(?:[xX×]\s*([0-9]{1,7})\s*)?")


def resize(image: torch.Tensor, size: Size, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> torch.Tensor:
    """Resize images with a bicubic filter, widened when shrinking so that nothing aliases.

    The filter is Pillow's `Image.Resampling.BICUBIC` (a = -0.5), without its rounding to 8 bits between the
    two directions. Bicubic overshoots at edges; the result is clamped to [0, 1]. At the size it has, an image
    comes back as it is.

    Args:
        image: the images.
        size: "256" or 256 for the shorter side, the other in proportion; "640x480" for width x height; or the
            tuple (height, width).
        max_pixels: the most pixels the result may have.

    Shape:
        (N, C, H, W) to (N, C, H', W').

    Range:
        [0, 1] to [0, 1].

    Raises:
        InputError: `image` is not a floating point batch, `size` has none of the forms, or the result is too
            large.

    Example:
        >>> resize(torch.rand(1, 3, 40, 60), "20").shape
        torch.Size([1, 3, 20, 30])
    """
    if not isinstance(image, torch.Tensor) or not image.is_floating_point() or image.ndim != 4 or 0 in image.shape:
        got = f"{tuple(image.shape)} of {image.dtype}" if isinstance(image, torch.Tensor) else type(image).__name__
        raise InputError(f"image must be a floating point tensor (N, C, H, W), got {got}. Add a batch dimension.")
    height, width = image.shape[-2:]
    target = target_size(size, height, width, max_pixels=max_pixels)
    if target == (height, width):
        return image
    return F.interpolate(image, target, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)


def target_size(size: Size, height: int, width: int, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> tuple[int, int]:
    """Return the (height, width) that `size` means for an image of `height` x `width`.

    Raises:
        InputError: as `resize`.

    Example:
        >>> target_size("20", 40, 60), target_size("20x10", 40, 60)
        ((20, 30), (10, 20))
    """
    check_max_pixels(max_pixels)
    rows, columns = _parse(size)
    if columns is None:
        shorter = min(height, width)
        # Whole numbers, rounding halves up: no machine's floating point may change a size.
        rows, columns = (max(1, (2 * side * rows + shorter) // (2 * shorter)) for side in (height, width))
    if rows * columns > max_pixels:
        raise InputError(
            f"size must give at most {max_pixels:,} pixels, got {columns}x{rows} = {rows * columns:,} from "
            f"{size!r}. Choose a smaller size."
        )
    return rows, columns


def _parse(size: object) -> tuple[int, int | None]:
    """Return (shorter side, None) or (height, width)."""
    sides: tuple[object, ...] = ()
    if isinstance(size, str):
        found = _SIZE.fullmatch(size)
        if found:
            sides = (int(found[1]),) if found[2] is None else (int(found[2]), int(found[1]))
    elif isinstance(size, tuple) and len(size) == 2:
        sides = size
    elif isinstance(size, int):
        sides = (size,)
    whole = [side for side in sides if isinstance(side, int) and not isinstance(side, bool) and side >= 1]
    if not whole or len(whole) != len(sides):
        raise InputError(
            f"size must be 'N' (the shorter side), 'WIDTHxHEIGHT' or a tuple (height, width), of whole "
            f"numbers of at least 1, got {size!r}. For example '512' or '640x480'."
        )
    return whole[0], whole[1] if len(whole) == 2 else None
