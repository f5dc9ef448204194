"""How large a picture is at each scale, and how its loss is computed there within the memory that there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from opsin.errors import InputError
from opsin.extractors import Extractor
from opsin.memory import fit_memory, peak_memory
from opsin.stylize.descent import HISTORY
from opsin.stylize.objective import make_losses
from opsin.stylize.settings import Settings

# Of what is free: malloc keeps some of what is given back to it, and the machine has other things to do.
_SHARE = 0.8
# Twice what any of the losses takes, by `opsin.peak_memory` at 128 and 512 pixels with and without the native library.
# A picture that is this far from the limit need not wait a second or two for its estimate.
_BYTES_A_PIXEL, _BYTES = 12_000, 10**9
_SMALLEST = 16  # pixels a side that VGG-19 takes to its last block


@dataclass(frozen=True)
class Scale:
    """A scale of a coarse-to-fine run.

    Attributes:
        height: of the picture there.
        width: of it.
        steps: how many are taken.
        options: keywords of `PerceptualLoss.evaluate` with which the loss stays within memory.
    """

    height: int
    width: int
    steps: int
    options: Mapping[str, Any] = field(default_factory=dict)


def fitted(height: int, width: int, longer_side: int) -> tuple[int, int]:
    """Height and width of a picture scaled to a longer side, of 16 pixels at least.

    Example:
        >>> fitted(400, 600, 300)
        (200, 300)
    """
    longer = max(height, width)
    return max(_SMALLEST, round(height * longer_side / longer)), max(_SMALLEST, round(width * longer_side / longer))


def painting_size(painting: Tensor, longer_side: int, settings: Settings) -> tuple[int, int]:
    """Height and width that a painting is looked at beside a picture of that longer side."""
    return fitted(painting.shape[-2], painting.shape[-1], max(_SMALLEST, round(longer_side * settings.style_scale)))


def images_held(settings: Settings) -> int:
    """Images of the size of the result that an optimizer and we hold beside the loss."""
    return 8 + (2 * HISTORY if settings.descent == "lbfgs" else 3)


def _stand_in(settings: Settings) -> Settings:
    """Settings whose loss takes no less memory, and can be told how much.

    What the contextual loss computes depends on the images. Gatys' loss has all of its layers and more.
    """
    return replace(settings, loss="gatys") if settings.loss == "contextual" else settings


def choose_options(
    settings: Settings,
    extractor: Extractor,
    style_weights: Sequence[float],
    height: int,
    width: int,
    limit: int,
    *,
    device: torch.device,
    tiles: bool = True,
    force: bool = False,
) -> dict[str, Any]:
    """Keywords with which the loss stays within memory at a scale; see `opsin.fit_memory`.

    Args:
        settings: of the run.
        extractor: the network.
        style_weights: of the paintings.
        height: of the picture.
        width: of it.
        limit: bytes of all of it, the optimizer's too.
        device: where it is computed.
        tiles: whether the loss may be computed in tiles, where it can be.
        force: take what needs less if nothing fits.

    Raises:
        InputError: nothing fits; it tells the estimate.
    """
    shape = (1, 3, height, width)
    if _BYTES + _BYTES_A_PIXEL * height * width <= _SHARE * limit:
        return {}
    told = _stand_in(settings)
    loss, _ = make_losses(told, extractor, style_weights, torch.Generator(device), max(height, width))
    held = images_held(settings) * 4 * 3 * height * width
    room = max(1, int(_SHARE * limit) - held)
    if tiles and told == settings:
        try:
            return fit_memory(loss, shape, room, kept=True)
        except InputError as error:
            reason = f" ({error})"
    else:
        reason = " The loss cannot be computed in tiles."
    low: dict[str, Any] = {"memory": "low"}
    needed = {}
    for options in ({}, low):
        needed[bool(options)] = peak_memory(loss, shape, kept=True, **options)
        if needed[bool(options)] <= room:
            return options
    if force:
        return low
    raise InputError(
        f"the picture must fit into memory, got {width}x{height} pixels, which take about "
        f"{(min(needed.values()) + held) / 2**30:.1f} GiB of the {limit / 2**30:.1f} that are free. "
        f"Choose a smaller size, or force it.{reason}"
    )
