"""What torch does not do fast enough on a CPU, in C; the library goes without where it cannot be built."""

from __future__ import annotations

from opsin._native.convolution import ALGORITHMS, algorithm, convolve, filters_of
from opsin._native.heads import takes_unit_l2, unit_l2
from opsin._native.library import available, map_for, new_map, why_not
from opsin._native.pooling import pool

__all__ = [
    "ALGORITHMS",
    "algorithm",
    "available",
    "convolve",
    "filters_of",
    "map_for",
    "new_map",
    "pool",
    "takes_unit_l2",
    "unit_l2",
    "why_not",
]
