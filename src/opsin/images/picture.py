"""An image file with all that makes it one, its transparency and its depth, for what shall be kept of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from opsin.images.deep import Samples, write_png, write_tiff
from opsin.images.reading import DEFAULT_MAX_PIXELS, read_upright, to_tensor
from opsin.images.writing import check_metadata, check_suffix, save_pil, whole_file

_NO_ALPHA = ("JPEG", "BMP")
_DEEP = ("PNG", "TIFF")
# Rows of floats that are made levels at a time.
_ROWS = 64


@dataclass(frozen=True)
class Picture:
    """What an image file holds, in sRGB.

    Attributes:
        colour: (1,3,H,W) in [0,1], of grey files too; under transparency as the file has it.
        alpha: (1,1,H,W) in [0,1]; None where there is no transparency.
        depth: bits a sample, 8 or 16.
        grey: whether the file is grey.
    """

    colour: Tensor
    alpha: Tensor | None = None
    depth: int = 8
    grey: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.colour.shape[-2], self.colour.shape[-1]


def read_picture(path: str | os.PathLike[str], *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Picture:
    """Read an image file as `read_image` does, but keep what that lays over a background or forgets.

    Raises:
        ImageError: as `read_image`.
        InputError: `max_pixels` is not a positive number.

    Example:
        >>> read_picture("logo.png").alpha.shape  # doctest: +SKIP
        torch.Size([1, 1, 480, 640])
    """
    pixels = read_upright(path, max_pixels=max_pixels)
    alpha = None if pixels.alpha is None else to_tensor(pixels.alpha[..., None])
    return Picture(to_tensor(pixels.colour), alpha, pixels.depth, pixels.grey)


def write_picture(
    path: str | os.PathLike[str],
    picture: Picture,
    *,
    overwrite: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a picture as far as the format that the suffix of `path` names can hold it.

    16 bits are kept in PNG and TIFF, transparency in these and WebP; in JPEG and BMP the picture is laid over white.
    Values are clamped and rounded. WebP, and TIFF of 16 bits with transparency, have no grey and hold it as RGB. For
    the rest see `save_pil`.

    Raises:
        ImageError: as `save_pil`.
        InputError: as `save_pil`.
        OpsinError: as `save_pil`.
    """
    path = Path(path)
    name = check_suffix(path)
    colour, alpha = picture.colour, picture.alpha
    if picture.grey:
        colour = colour.mean(dim=1, keepdim=True)
    if alpha is not None and name in _NO_ALPHA:
        colour, alpha = colour * alpha + (1 - alpha), None
    deep = picture.depth > 8 and name in _DEEP
    if alpha is not None and picture.grey and deep and name == "TIFF":
        colour = colour.expand(-1, 3, -1, -1)  # few programs read grey with alpha of 16 bits, Pillow does not
    planes = [colour[0], *([] if alpha is None else [alpha[0]])]
    if not deep:
        save_pil(path, _pil(planes, webp=name == "WEBP"), overwrite=overwrite, metadata=metadata)
        return
    height, width = picture.size
    channels = sum(len(plane) for plane in planes)
    samples = Samples(height, width, channels, lambda first, last: _levels(planes, first, last, 65535))
    texts = dict(metadata or {})
    check_metadata(texts)
    with whole_file(path, f"{width}x{height} pixels of {channels} times 16 bits", overwrite=overwrite) as file:
        (write_png if name == "PNG" else write_tiff)(file, samples, texts)


def _pil(planes: list[Tensor], *, webp: bool) -> Image.Image:
    height, width = planes[0].shape[-2:]
    channels = sum(len(plane) for plane in planes)
    levels = np.empty((height, width, channels), np.uint8)
    for first in range(0, height, _ROWS):
        levels[first : first + _ROWS] = _levels(planes, first, min(first + _ROWS, height), 255)
    if channels == 2:
        image = Image.merge("LA", [Image.fromarray(np.ascontiguousarray(levels[..., i])) for i in range(2)])
        return image.convert("RGBA") if webp else image
    return Image.fromarray(levels[..., 0] if channels == 1 else levels)


def _levels(planes: list[Tensor], first: int, last: int, top: int) -> npt.NDArray[Any]:
    rows = torch.cat([plane[:, first:last].to("cpu", torch.float32) for plane in planes])
    levels = rows.clamp(0, 1).mul(top).round().permute(1, 2, 0).numpy()
    return levels.astype(np.uint8 if top == 255 else np.uint16)
