"""Distances as the peers write them down: sums where opsin takes means, and norms over all of a map."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from opsin import functional
from opsin.checks import choice
from opsin.distances import Distance, Gram, SpatialDistance
from opsin.errors import InputError

# The epsilon that lpips and piq add to the lengths of feature vectors.
EPS = 1e-10


class ChannelSum(SpatialDistance):
    """Sum over channels, mean over positions: mean_{h,w} Σ_c w_c |x - y|^p, of unit vectors if asked for.

    Shape: (N,C,H,W), (N or 1,C,H,W) -> (N,).

    Range: [0, ∞) for weights that are not negative.

    Args:
        power: p, 1 or 2.
        unit: whether feature vectors are brought to length 1 first.
        channel_weights: w, (C,); 1 if None.
    """

    name: ClassVar[str] = "channel_sum"
    additive: ClassVar[bool] = True

    def __init__(self, power: int = 2, unit: bool = False, channel_weights: Tensor | None = None) -> None:
        super().__init__()
        self.power, self.unit = power, unit
        # A plain attribute, no buffer: a loss adds nothing to its host module.
        self.channel_weights = channel_weights

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ChannelSum:
        super()._apply(fn, recurse)
        if self.channel_weights is not None:
            self.channel_weights = fn(self.channel_weights)
        return self

    @property
    def statistic_key(self) -> str:
        """The unit vectors or the feature map itself, both shared with opsin's own distances."""
        return self._shared_key(ChannelSum, f"unit eps={EPS}" if self.unit else "feature")

    def config(self) -> dict[str, Any]:
        """The keyword arguments."""
        weights = self.channel_weights
        return {
            "power": self.power,
            "unit": self.unit,
            "channel_weights": None if weights is None else weights.tolist(),
        }

    def describe(self) -> dict[str, Any]:
        """The options as a signature shows them: a hash stands for the channel weights."""
        config = self.config()
        if self.channel_weights is not None:
            digest = hashlib.sha256(self.channel_weights.float().cpu().numpy().tobytes()).hexdigest()[:16]
            config["channel_weights"] = f"sha256:{digest}"
        return config

    def statistic(self, feature: Tensor) -> Tensor:
        """Unit vectors, or the feature map itself: (N,C,H,W) -> (N,C,H,W)."""
        return functional.unit_normalize(feature, EPS) if self.unit else feature

    def map(self, x: Tensor, y: Tensor) -> Tensor:
        """Σ_c w_c |x - y|^p: (N,C,H,W), (N or 1,C,H,W) -> (N,H,W)."""
        difference = (x - y).abs() if self.power == 1 else (x - y).square()
        weights = self.channel_weights
        if weights is None:
            return difference.sum(dim=1)
        if len(weights) != x.shape[1]:
            raise InputError(
                f"a layer's weights must be one number, or one per channel, {x.shape[1]} here, got {len(weights)}. "
                "They belong to another layer."
            )
        return (difference * weights.to(x.dtype).reshape(1, -1, 1, 1)).sum(dim=1)


class Frobenius(Distance):
    """Length of the difference of two feature maps: ||x - y||_2 over channels and positions.

    Shape: (N,C,H,W), (N or 1,C,H,W) -> (N,).

    Range: [0, ∞). Its gradient is 0 where the maps are equal.
    """

    name: ClassVar[str] = "frobenius"
    same_size: ClassVar[bool] = True

    @property
    def statistic_key(self) -> str:
        """The feature map itself."""
        return self._shared_key(Frobenius, "feature")

    def statistic(self, feature: Tensor) -> Tensor:
        """The feature map itself."""
        return feature

    def compare(self, x: Tensor, y: Tensor) -> Tensor:
        """The formula: (N,C,H,W), (N or 1,C,H,W) -> (N,)."""
        return torch.linalg.vector_norm(x - y, dim=(1, 2, 3))


class GramDifference(Gram):
    """Difference of Gram matrices: "l1" mean |ΔG|, "l2" mean (ΔG)², both over C², or "fro" ||ΔG||_2.

    Shape: (N,C,H,W), (N or 1,C,H',W') -> (N,).

    Range: [0, ∞).

    Args:
        kind: "l1", "l2" or "fro".
        normalize: see `Gram`.

    Raises:
        ChoiceError: another kind or `normalize`.
    """

    name: ClassVar[str] = "gram_difference"

    def __init__(self, kind: str, normalize: str = "chw") -> None:
        super().__init__(normalize)
        self.kind = choice("kind", kind, ("l1", "l2", "fro"))

    def config(self) -> dict[str, Any]:
        """The keyword arguments."""
        return {"kind": self.kind, "normalize": self.normalize}

    def compare(self, x: Tensor, y: Tensor) -> Tensor:
        """The formula: (N,C,C), (N or 1,C,C) -> (N,)."""
        difference = (x - y).flatten(1)
        if self.kind == "fro":
            return torch.linalg.vector_norm(difference, dim=1)
        return (difference.abs() if self.kind == "l1" else difference.square()).mean(dim=1)


class UnitGramDifference(GramDifference):
    """`GramDifference` of feature vectors brought to length 1."""

    name: ClassVar[str] = "unit_gram_difference"

    def statistic(self, feature: Tensor) -> Tensor:
        """Gram matrix of unit vectors: (N,C,H,W) -> (N,C,C)."""
        return super().statistic(functional.unit_normalize(feature, EPS))

    def sums(self, feature: Tensor, centre: Tensor) -> Tensor:
        """The same, of a part of the positions and not divided: (N,C,H,W) -> (N,C,C)."""
        return super().sums(functional.unit_normalize(feature, EPS), centre)
