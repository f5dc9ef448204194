"""Formulas as pure functions of tensors, in torch alone."""

from opsin.functional.elementwise import (
    charbonnier_map,
    euclidean_map,
    huber_map,
    l1_map,
    l2_map,
    unit_normalize,
    weighted_square_map,
)
from opsin.functional.moments import gram, mean_std

__all__ = [
    "charbonnier_map",
    "euclidean_map",
    "gram",
    "huber_map",
    "l1_map",
    "l2_map",
    "mean_std",
    "unit_normalize",
    "weighted_square_map",
]
