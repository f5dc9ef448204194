"""Checks of image tensors. Shape, dtype and device cost nothing and are checked on every call; values on request."""

from __future__ import annotations

import torch
from torch import Tensor

from opsin.errors import InputError

# How far outside of its range an image may lie before it is taken for one of another range. Bicubic resampling and
# networks without a final clamp overshoot by less; an image in [-1,1] or 0..255 goes further wherever it has contrast.
_SLACK = 0.25


def check_images(images: object, name: str = "images") -> Tensor:
    """Return `images` if it is a float (N,3,H,W) tensor.

    Raises:
        InputError: it is not a tensor, has another shape, no pixels, or integers in it.
    """
    if not isinstance(images, Tensor):
        raise InputError(
            f"{name} must be a torch.Tensor of shape (N,3,H,W), got {type(images).__name__}. "
            "opsin.read_image(path) makes one of a file."
        )
    if images.ndim != 4 or images.shape[1] != 3:
        hint = (
            "Add the batch dimension with images.unsqueeze(0)."
            if images.ndim == 3
            else "RGB is the one input convention."
        )
        if images.ndim == 4 and images.shape[1] == 1:
            hint = "Repeat a grey channel with images.expand(-1, 3, -1, -1)."
        elif images.ndim == 4 and images.shape[3] == 3:
            hint = "Channels come first: images.permute(0, 3, 1, 2)."
        raise InputError(f"{name} must have shape (N,3,H,W), got {tuple(images.shape)}. {hint}")
    if images.numel() == 0:
        raise InputError(f"{name} must have at least one pixel, got shape {tuple(images.shape)}.")
    if not images.dtype.is_floating_point:
        raise InputError(
            f"{name} must be floating point in [0,1], got {images.dtype}. Convert with images.float() / 255."
        )
    return images


def check_same_size(x: tuple[int, int], y: tuple[int, int], name: str) -> None:
    """Raise unless references of (height, width) `y` can be compared position by position with images of `x`.

    Raises:
        InputError: the sizes differ.
    """
    if tuple(x) != tuple(y):
        raise InputError(
            f"{name} must have the size of x, {x[0]}×{x[1]} (height×width), got {y[0]}×{y[1]}. "
            "Resize or crop one of them."
        )


def check_batch(x: int, y: int, name: str) -> None:
    """Raise unless a batch of `y` references serves a batch of `x` images.

    Raises:
        InputError: `y` is neither `x` nor 1.
    """
    if y not in (x, 1):
        raise InputError(f"{name} must be a batch of {x} like x, or of 1 for all of them, got a batch of {y}.")


def check_range(images: Tensor, input_range: tuple[float, float], name: str) -> None:
    """Raise if the values of `images` cannot be meant to lie in `input_range`.

    This reads all values and waits for the device; `PerceptualLoss` does it on its first call unless told otherwise.

    Raises:
        InputError: a value is NaN or infinite, or the values look like another range.
    """
    low, high = input_range
    least, most = (float(v) for v in torch.aminmax(images.detach()))
    if not (abs(least) < float("inf") and abs(most) < float("inf")):
        raise InputError(f"{name} must be finite, got NaN or infinite values. Look for what made them upstream.")
    slack = _SLACK * (high - low)
    if least >= low - slack and most <= high + slack:
        return
    expected = f"[{low:g},{high:g}]"
    got = f"values from {least:.4g} to {most:.4g}"
    if most > 2 and least >= -1 and most <= 256:
        mend = "They look like 0..255: divide by 255."
    elif (low, high) == (0, 1) and least >= -1.25 and most <= 1.25:
        mend = "They look like [-1,1]: pass input_range=(-1, 1) to the loss, or convert with (x + 1) / 2."
    else:
        mend = "Convert them."
    if images.grad_fn is not None:
        mend = f"If a network that is not yet trained made them, pass validate='never' to the loss. Otherwise: {mend}"
    raise InputError(f"{name} must be in {expected}, got {got}. {mend}")
