"""An image of any size through an upscaler: whole where it fits into memory, else in tiles that leave no seams.

A tile is a rectangle of pixels. The network sees it with some pixels around it wherever the image has some, and what it
makes of those is thrown away. If a result depends on no pixel further away than they reach, it is that of the whole
image. What a network does beyond the image's border it does in a tile too, which there ends as the image does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

from opsin.checks import choice, whole
from opsin.devices import available_memory
from opsin.errors import InputError
from opsin.memory import network_memory
from opsin.networks import Upscaler

FAR = 64
"""Pixels around a tile that are looked at, at most, unless more are asked for."""

UNKNOWN = 32
"""As many for a network of which it is not known how far it looks."""

GRID = 16
"""Tiles, and what is looked at around them, begin at multiples of so many pixels.

Networks that shuffle pixels into channels, or attend within windows, then lay them as in the whole image.
"""

PRECISIONS = ("float32", "float16", "bfloat16")

# Of what is free. What an operator needs for itself while it runs, and what malloc keeps, is not in the estimate.
_SHARE = 0.5
# Of pixels within which nothing is estimated: any network takes a picture as small as this.
_SMALL = 128 * 128
_TILES = (1024, 768, 512, 384, 256, 192, 128, 64)

Callback = Callable[[int, int], None]


class Tile(NamedTuple):
    """A tile along one axis: from where to where it reaches, and what the network sees of it and around it."""

    start: int
    stop: int
    first: int
    last: int


class Plan(NamedTuple):
    """How an image is computed.

    Attributes:
        tile: side of the tiles in pixels; 0 for the whole image at once.
        overlap: how many pixels around them are looked at, at least.
        exact: whether the result is certain to be that of the whole image.
    """

    tile: int
    overlap: int
    exact: bool


def upscale(
    model: Upscaler,
    image: Tensor,
    *,
    tile: int | None = None,
    overlap: int | None = None,
    precision: str = "float32",
    callback: Callback | None = None,
) -> Tensor:
    """Enlarge an image of any size.

    In tiles the result is that of the whole image, to rounding, if `overlap` is no less than the model's `radius`.
    Beside the image and the result it takes the memory of one tile.

    Shape: (1,3,H,W) -> (1,3,sH,sW), on the image's device.

    Range: [0,1] -> [0,1], clamped.

    Args:
        model: in eval mode, on the device that computes.
        image: an image.
        tile: side of the tiles in pixels, at least 16; 0 computes the image at once. None does so if it needs no more
            than half of the memory that is free, and else takes the largest tiles that do, of 1024 pixels at most.
        overlap: pixels looked at around each tile. None takes the model's radius if it is 64 at most; 64, with which
            tiles may differ from the whole image by very little, if it is larger; and 32 if it is unknown.
        precision: of the arithmetic: "float32", "float16" or "bfloat16".
        callback: called after each tile with how many are done and how many there are. What it raises ends the work.

    Raises:
        InputError: an image of another shape, numbers out of range, tiles for a model that must see all of an image,
            or such an image that does not fit into memory.
        ChoiceError: an unknown precision.

    Example:
        >>> upscale(model, read_image("photo.jpg"), tile=256)  # doctest: +SKIP
    """
    if not isinstance(image, Tensor) or image.ndim != 4 or image.shape[:2] != (1, 3) or not image.is_floating_point():
        got = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
        raise InputError(f"image must be (1,3,H,W) of floats in [0,1], got {got}. See opsin.read_image.")
    choice("precision", precision, PRECISIONS)
    height, width = image.shape[-2:]
    made = plan(model, height, width, tile=tile, overlap=overlap)
    rows, columns = (_tiles(length, made.tile, made.overlap, _grid(model)) for length in (height, width))
    parameter = next(model.parameters(), image)
    s, total = model.scale, len(rows) * len(columns)
    result = torch.empty((1, 3, s * height, s * width), dtype=image.dtype, device=image.device)
    done = 0
    with torch.inference_mode(), _arithmetic(precision, parameter.device):
        for row in rows:
            for column in columns:
                seen = image[..., row.first : row.last, column.first : column.last]
                large = model(seen.to(parameter))
                expected = (1, 3, s * seen.shape[-2], s * seen.shape[-1])
                if large.shape != expected:
                    raise InputError(
                        f"model must enlarge {s} times, as it says, got {tuple(large.shape)} of {tuple(seen.shape)}. "
                        "Choose another."
                    )
                own = large[
                    ...,
                    s * (row.start - row.first) : s * (row.stop - row.first),
                    s * (column.start - column.first) : s * (column.stop - column.first),
                ]
                result[..., s * row.start : s * row.stop, s * column.start : s * column.stop] = own.clamp(0, 1)
                del large, own
                done += 1
                if callback is not None:
                    callback(done, total)
    return result


def plan(
    model: Upscaler,
    height: int,
    width: int,
    *,
    tile: int | None = None,
    overlap: int | None = None,
    a_pixel: float | None = None,
) -> Plan:
    """How `upscale` computes an image of that size; see there.

    Args:
        model: see `upscale`.
        height: of the image.
        width: of it.
        tile: see `upscale`.
        overlap: see there.
        a_pixel: what `bytes_a_pixel` tells of the model, if it is known already.

    Raises:
        InputError: see `upscale`.
    """
    if overlap is None:
        overlap = UNKNOWN if model.radius is None else min(model.radius, FAR)
    else:
        whole("overlap", overlap, 0, mend="Leave it out for what the model needs.")
    if tile is None:
        tile = _chosen(model, height, width, overlap, a_pixel)
    elif whole("tile", tile, 0, mend="E.g. 256, or 0 for the whole image.") and tile < GRID:
        raise InputError(f"tile must be at least {GRID} pixels, or 0 for the whole image, got {tile}. E.g. 256.")
    elif tile and not model.tileable:
        raise InputError(
            f"tile must be left out, or 0, for '{model.name}', which must see all of an image, got {tile}."
        )
    if not tile or max(height, width) <= tile:
        return Plan(0, 0, exact=True)
    return Plan(tile, overlap, exact=model.radius is not None and model.radius <= overlap)


def bytes_a_pixel(model: Upscaler) -> float | None:
    """What a network takes for each pixel of its input beside it, by a small image; None if torch does not see it."""
    if next(model.parameters(), None) is None:
        return None
    side = 2 * _grid(model)
    return network_memory(model, (1, 3, side, side)) / side**2


def _chosen(model: Upscaler, height: int, width: int, overlap: int, a_pixel: float | None) -> int:
    """The side of the tiles that fit into memory, 0 for the whole image."""
    if height * width <= _SMALL:
        return 0
    parameter = next(model.parameters(), None)
    free = available_memory(None if parameter is None else parameter.device)
    if a_pixel is None:
        a_pixel = bytes_a_pixel(model)
    if free is None or a_pixel is None:
        return 0 if not model.tileable or height * width <= _TILES[2] ** 2 else _TILES[2]
    room = _SHARE * free
    if a_pixel * height * width <= room:
        return 0
    if not model.tileable:
        raise InputError(
            f"image must fit into memory whole, since '{model.name}' must see all of it, got {width}x{height} pixels, "
            f"which take about {a_pixel * height * width / _SHARE / 2**30:.1f} GiB of the {free / 2**30:.1f} that are "
            "free. Make it smaller, or choose another model."
        )
    seen = 2 * (overlap + _grid(model))
    return next((n for n in _TILES if a_pixel * (n + seen) ** 2 <= room), _TILES[-1])


def _tiles(length: int, tile: int, overlap: int, grid: int) -> list[Tile]:
    if not tile or length <= tile:
        return [Tile(0, length, 0, length)]
    # All of one size, but for the last: a narrow one would be mostly overlap.
    step = -(-length // (-(-length // tile) * grid)) * grid
    found = []
    for start in range(0, length, step):
        stop = min(start + step, length)
        first = max(start - overlap, 0) // grid * grid
        last = min(-(-(stop + overlap) // grid) * grid, length)
        found.append(Tile(start, stop, first, last))
    return found


def _grid(model: Upscaler) -> int:
    return math.lcm(GRID, getattr(model, "granularity", 1))


def _arithmetic(precision: str, device: torch.device) -> torch.autocast | nullcontext[None]:
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, getattr(torch, precision))
