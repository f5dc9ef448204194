"""How a small, bad image is made of a good one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from opsin.checks import choice
from opsin.superres.degradations.base import Degradation
from opsin.superres.degradations.second_order import SecondOrder
from opsin.superres.degradations.simple import Bicubic, BlurNoiseJpeg

__all__ = ["DEGRADATIONS", "Bicubic", "BlurNoiseJpeg", "Degradation", "SecondOrder", "make_degradation"]

DEGRADATIONS: Mapping[str, Callable[..., Degradation]] = MappingProxyType(
    {"bicubic": Bicubic, "blur-noise-jpeg": BlurNoiseJpeg, "real-esrgan": SecondOrder}
)
"""Names of `make_degradation`."""


def make_degradation(name: str, scale: int, *, kind: str = "matlab", **values: Any) -> Degradation:
    """A degradation by its name.

    Args:
        name: one of `DEGRADATIONS`.
        scale: how many times smaller.
        kind: whose bicubic filter it has, see `opsin.functional.resample.downscale`; "real-esrgan" has torch's.
        values: what else it takes.

    Raises:
        ChoiceError: an unknown name or kind.

    Example:
        >>> make_degradation("bicubic", 4).scale
        4
    """
    made = DEGRADATIONS[choice("degradation", name, DEGRADATIONS)]
    if made is not SecondOrder:
        values["kind"] = kind
    return made(scale=scale, **values)
