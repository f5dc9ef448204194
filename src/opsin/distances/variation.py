"""Total variation: how much neighbouring pixels differ."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from opsin.distances.base import Regularizer
from opsin.errors import InputError


class TotalVariation(Regularizer):
    """Mean difference of neighbours: mean |x_{i+1,j} - x_{i,j}|^p + mean |x_{i,j+1} - x_{i,j}|^p.

    Shape: (N,C,H,W) -> (N,).

    Range: [0, ∞), 0 for a map of one colour.

    Args:
        power: p, 1 or 2. 1 spares edges, 2 is smooth.

    Raises:
        InputError: another power.

    Differs from the paper: means in place of sums, so that a weight does not depend on the size of the image; and the
    sum of the two directions, not the length of the gradient.

    Reference: "Nonlinear total variation based noise removal algorithms", Rudin, Osher and Fatemi, 1992

    Example:
        >>> import torch, opsin
        >>> x = torch.zeros(1, 3, 4, 4)
        >>> x[..., 2:] = 1.0
        >>> round(opsin.distances.TotalVariation()(x).item(), 4)
        0.3333
    """

    name: ClassVar[str] = "total_variation"

    def __init__(self, power: int = 1) -> None:
        super().__init__()
        if power not in (1, 2):
            raise InputError(f"power must be 1 or 2, got {power!r}. 1 spares edges.")
        self.power = power

    def config(self) -> dict[str, Any]:
        """The keyword arguments."""
        return {"power": self.power}

    def forward(self, feature: Tensor) -> Tensor:
        """The formula: (N,C,H,W) -> (N,)."""
        total = feature.new_zeros(feature.shape[0])
        for difference in (feature.diff(dim=2), feature.diff(dim=3)):
            if difference.numel():  # a single row has no neighbours
                total = total + (difference.abs() if self.power == 1 else difference.square()).mean(dim=(1, 2, 3))
        return total
