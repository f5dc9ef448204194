"""What comes in from outside, checked."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from opsin.errors import InputError
from opsin.stylize import regions


def check_image(image: object, name: str, device: str | torch.device) -> Tensor:
    """Return an image (1,3,H,W) in [0,1] as float32 on the device.

    Raises:
        InputError: it is none.
    """
    if not isinstance(image, Tensor) or image.ndim != 4 or image.shape[:2] != (1, 3) or not image.is_floating_point():
        got = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
        raise InputError(f"{name} must be an image (1,3,H,W) of floats in [0,1], got {got}. See opsin.read_image.")
    if min(image.shape[-2:]) < 1 or not bool(((image >= 0) & (image <= 1)).all()):
        raise InputError(f"{name} must be in [0,1], got values outside of it, or none. Divide 8 bit values by 255.")
    return image.detach().float().to(device)


def check_weights(weights: Sequence[float] | None, count: int) -> list[float]:
    """Return the weights of so many paintings, equal ones if there are none.

    Raises:
        InputError: they do not fit.
    """
    if not count:
        raise InputError("style must be one painting or more, got none. Name one.")
    weights = [1.0] * count if weights is None else [float(w) for w in weights]
    if len(weights) != count:
        raise InputError(f"style_weights must be one for each of {count} paintings, got {len(weights)}. Name as many.")
    if not all(0 < w < math.inf for w in weights):
        raise InputError(f"style_weights must be positive numbers, got {weights}. Leave a painting out instead of 0.")
    return weights


def check_regions(
    photo: Tensor | None, areas: list[Tensor], content: Tensor, paintings: list[Tensor]
) -> list[tuple[str, Tensor, list[Tensor | None]]]:
    """Return the regions that pictures of them tell; see `regions.split`.

    Raises:
        InputError: pictures are missing, or have other sizes than what they are of.
    """
    if photo is None or len(areas) != len(paintings):
        raise InputError(
            f"regions must be given of the photo and of each of {len(paintings)} paintings, "
            f"got {'none' if photo is None else 'them'} of the photo and {len(areas)} of paintings. Add the others."
        )
    for what, picture, image in (
        ("content_regions", photo, content),
        *(("style_regions", area, painting) for area, painting in zip(areas, paintings, strict=True)),
    ):
        if not isinstance(picture, Tensor) or picture.shape != image.shape:
            got = tuple(picture.shape) if isinstance(picture, Tensor) else type(picture).__name__
            raise InputError(
                f"{what} must have the size of their picture, {tuple(image.shape)}, got {got}. Resize them."
            )
    return regions.split(photo, areas)
