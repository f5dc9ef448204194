"""Distances that compare two feature maps position by position."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from opsin import _native, functional
from opsin.checks import positive
from opsin.distances.base import SpatialDistance
from opsin.errors import InputError

_EPS = 1e-10  # added to lengths


class L1(SpatialDistance):
    """Mean absolute difference: mean_{c,h,w} |x - y|.

    Range: [0, ∞), in units of the feature.
    """

    name: ClassVar[str] = "l1"
    additive: ClassVar[bool] = True

    def map(self, x: Tensor, y: Tensor) -> Tensor:
        """mean_c |x - y|: (N,C,H,W), (N or 1,C,H,W) -> (N,H,W)."""
        return functional.l1_map(x, y)


class L2(SpatialDistance):
    """Mean squared difference: mean_{c,h,w} (x - y)².

    Range: [0, ∞), in squared units of the feature.

    Reference: the feature reconstruction loss of "Perceptual losses for real-time style transfer and super-resolution",
    Johnson, Alahi and Fei-Fei, 2016, https://arxiv.org/abs/1603.08155
    """

    name: ClassVar[str] = "l2"
    additive: ClassVar[bool] = True

    def map(self, x: Tensor, y: Tensor) -> Tensor:
        """mean_c (x - y)²: (N,C,H,W), (N or 1,C,H,W) -> (N,H,W)."""
        return functional.l2_map(x, y)


class Euclidean(SpatialDistance):
    """Length of the difference over channels, mean over positions: mean_{h,w} ||x - y||_2.

    Its gradient is 0 where the maps are equal.

    Range: [0, ∞), in units of the feature.
    """

    name: ClassVar[str] = "euclidean"
    additive: ClassVar[bool] = True

    def map(self, x: Tensor, y: Tensor) -> Tensor:
        """||x - y||_2 over channels: (N,C,H,W), (N or 1,C,H,W) -> (N,H,W)."""
        return functional.euclidean_map(x, y)


class Charbonnier(SpatialDistance):
    """A smooth L1: mean_{c,h,w} sqrt((x - y)² + eps²).

    Range: [eps, ∞): eps for equal maps.

    Reference: "Deep Laplacian pyramid networks for fast and accurate super-resolution", Lai et al., 2017,
    https://arxiv.org/abs/1704.03915
    """

    name: ClassVar[str] = "charbonnier"
    additive: ClassVar[bool] = True

    def __init__(self, eps: float = 1e-3) -> None:
        super().__init__()
        self.eps = positive("eps", eps)

    def config(self) -> dict[str, Any]:
        """The keyword arguments."""
        return {"eps": self.eps}

    def map(self, x: Tensor, y: Tensor) -> Tensor:
        """mean_c sqrt((x - y)² + eps²): (N,C,H,W), (N or 1,C,H,W) -> (N,H,W)."""
        return functional.charbonnier_map(x, y, self.eps)


class Huber(SpatialDistance):
    """Quadratic near zero, linear beyond `delta`: mean of d²/2 where |d| < delta, else delta(|d| - delta/2), d = x - y.

    Range: [0, ∞).

    Reference: "Robust estimation of a location parameter", Huber, 1964.
    """

    name: ClassVar[str] = "huber"
    additive: ClassVar[bool] = True

    def __init__(self, delta: float = 1.0) -> None:
        super().__init__()
        self.delta = positive("delta", delta)

    def config(self) -> dict[str, Any]:
        """The keyword arguments."""
        return {"delta": self.delta}

    def map(self, x: Tensor, y: Tensor) -> Tensor:
        """mean_c of the formula: (N,C,H,W), (N or 1,C,H,W) -> (N,H,W)."""
        return functional.huber_map(x, y, self.delta)


class UnitL2(SpatialDistance):
    """Squared difference of feature vectors of unit length: mean_{h,w} Σ_c w_c (x/|x| - y/|y|)².

    With the heads of LPIPS as `channel_weights` this is one layer of LPIPS. Feature vectors that are zero stay zero:
    the distance of two of them is 0, and gradients are finite.

    Range: [0, 4] without weights (for features after a ReLU [0, 2]).

    Args:
        channel_weights: w, one number per channel; 1 if None.
        eps: added to the lengths.

    Reference: "The unreasonable effectiveness of deep features as a perceptual metric", Zhang et al., 2018,
    https://arxiv.org/abs/1801.03924
    """

    name: ClassVar[str] = "unit_l2"
    additive: ClassVar[bool] = True

    def __init__(self, channel_weights: Tensor | Sequence[float] | None = None, eps: float = _EPS) -> None:
        super().__init__()
        self.eps = positive("eps", eps)
        # A plain attribute, no buffer: a loss adds nothing to its host module.
        self.channel_weights: Tensor | None = None
        if channel_weights is not None:
            weights = torch.as_tensor(channel_weights, dtype=torch.float32).detach().flatten().clone()
            if not bool(torch.isfinite(weights).all()):
                raise InputError("channel_weights must be finite, got NaN or infinity. Check where they come from.")
            self.channel_weights = weights

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> UnitL2:
        super()._apply(fn, recurse)
        if self.channel_weights is not None:
            self.channel_weights = fn(self.channel_weights)
        return self

    def config(self) -> dict[str, Any]:
        """The keyword arguments."""
        weights = self.channel_weights
        return {"channel_weights": None if weights is None else weights.tolist(), "eps": self.eps}

    def describe(self) -> dict[str, Any]:
        """The options as a signature shows them: a hash stands for the channel weights."""
        weights = self.channel_weights
        if weights is None:
            return self.config()
        digest = hashlib.sha256(weights.float().cpu().numpy().tobytes()).hexdigest()[:16]
        return {"channel_weights": f"sha256:{digest}", "eps": self.eps}

    def map(self, x: Tensor, y: Tensor) -> Tensor:
        """Σ_c w_c (x/|x| - y/|y|)²: (N,C,H,W), (N or 1,C,H,W) -> (N,H,W)."""
        x, y = (functional.unit_normalize(t, self.eps) for t in (x, y))
        return functional.weighted_square_map(x, y, self._weights_of(x))

    def compare(self, x: Tensor, y: Tensor) -> Tensor:
        """Mean of the map over positions: (N,C,H,W), (N or 1,C,H,W) -> (N,)."""
        # The native operator knows nothing of a subclass with a map of its own.
        if type(self).map is UnitL2.map and _native.takes_unit_l2(x, y):
            return _native.unit_l2(x, y, self._weights_of(x), self.eps)
        return super().compare(x, y)

    def _weights_of(self, x: Tensor) -> Tensor | None:
        weights = self.channel_weights
        if weights is None:
            return None
        if len(weights) != x.shape[1]:
            raise InputError(
                f"channel_weights must be one number per channel, {x.shape[1]} here, got {len(weights)}. "
                "They belong to another tap or network."
            )
        return weights.to(x.dtype)


class Cosine(SpatialDistance):
    """One minus the cosine of the angle between feature vectors, mean over positions: mean_{h,w} (1 - x·y/(|x||y|)).

    It is computed as half of the squared difference of the unit vectors, which is the same number, exactly 0 for equal
    maps, and keeps its digits for nearly equal ones. Two zero vectors have distance 0, one of them 1/2.

    Range: [0, 2] (for features after a ReLU [0, 1]).
    """

    name: ClassVar[str] = "cosine"
    additive: ClassVar[bool] = True

    def map(self, x: Tensor, y: Tensor) -> Tensor:
        """1 - cos at each position: (N,C,H,W), (N or 1,C,H,W) -> (N,H,W)."""
        x, y = (functional.unit_normalize(t, _EPS) for t in (x, y))
        return 0.5 * functional.weighted_square_map(x, y)

    def compare(self, x: Tensor, y: Tensor) -> Tensor:
        """Mean of the map over positions: (N,C,H,W), (N or 1,C,H,W) -> (N,)."""
        if type(self).map is Cosine.map and _native.takes_unit_l2(x, y):
            return 0.5 * _native.unit_l2(x, y, None, _EPS)
        return super().compare(x, y)
