"""Distances between feature maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from opsin.checks import choice
from opsin.distances.base import (
    CallableDistance,
    Distance,
    Regularizer,
    SpatialDistance,
    at_least_float32,
    full_precision,
)
from opsin.distances.elementwise import L1, L2, Charbonnier, Cosine, Euclidean, Huber, UnitL2
from opsin.distances.statistical import Gram, MeanStd

DISTANCES: dict[str, type[Distance]] = {
    kind.name: kind for kind in (L1, L2, Euclidean, Charbonnier, Huber, Cosine, UnitL2, Gram, MeanStd)
}

__all__ = [
    "DISTANCES",
    "L1",
    "L2",
    "CallableDistance",
    "Charbonnier",
    "Cosine",
    "Distance",
    "Euclidean",
    "Gram",
    "Huber",
    "MeanStd",
    "Regularizer",
    "SpatialDistance",
    "UnitL2",
    "at_least_float32",
    "full_precision",
    "make_distance",
]


def make_distance(distance: str | Distance | Callable[[Tensor, Tensor], Tensor], **options: Any) -> Distance:
    """Make a distance of its name, or of a function `(x, y) -> tensor`.

    Args:
        distance: one of `DISTANCES`, a `Distance` (returned as it is), or a callable.
        options: keywords of the named distance, e.g. `delta` of "huber".

    Raises:
        ChoiceError: a name that does not exist.
    """
    if isinstance(distance, Distance):
        return distance
    if callable(distance):
        return CallableDistance(distance)
    return DISTANCES[choice("distance", distance, DISTANCES)](**options)
