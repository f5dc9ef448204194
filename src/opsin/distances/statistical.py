"""Distances between statistics that forget where things are: they compare textures, not pictures."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from opsin import functional
from opsin.checks import choice, positive
from opsin.distances.base import Distance


class Gram(Distance):
    """Squared difference of Gram matrices G = F Fᵀ / Z: mean (or sum) over C² of (G_x - G_y)².

    The two images may differ in size.

    Range: [0, ∞).

    Args:
        normalize: Z: "chw" = C·H·W, "hw" = H·W, "none" = 1.
        reduction: over the C² entries: "mean" or "sum" (the squared Frobenius norm).

    Reference: "Image style transfer using convolutional neural networks", Gatys, Ecker and Bethge, 2016; in this
    normalisation Johnson, Alahi and Fei-Fei, 2016, https://arxiv.org/abs/1603.08155

    Differs from the paper: Johnson's paper sums over C², the released code averages, as the default does here.
    """

    name: ClassVar[str] = "gram"

    def __init__(self, normalize: str = "chw", reduction: str = "mean") -> None:
        super().__init__()
        self.normalize = choice("normalize", normalize, ["chw", "hw", "none"])
        self.reduction = choice("reduction", reduction, ["mean", "sum"])

    @property
    def statistic_key(self) -> str:
        """The Gram matrix."""
        return self._shared_key(Gram, f"gram {self.normalize}")

    def config(self) -> dict[str, Any]:
        """The keyword arguments."""
        return {"normalize": self.normalize, "reduction": self.reduction}

    def statistic(self, feature: Tensor) -> Tensor:
        """Gram matrix: (N,C,H,W) -> (N,C,C)."""
        return functional.gram(feature, self.normalize)

    def compare(self, x: Tensor, y: Tensor) -> Tensor:
        """Squared difference: (N,C,C), (N or 1,C,C) -> (N,)."""
        square = (x - y).square().flatten(1)
        return square.mean(dim=1) if self.reduction == "mean" else square.sum(dim=1)


class MeanStd(Distance):
    """Squared differences of each channel's mean and standard deviation: mean_c (Δμ)² + mean_c (Δσ)².

    σ = sqrt(variance + eps), so that a constant channel has a finite gradient. The two images may differ in size.

    Range: [0, ∞).

    Reference: the style loss of "Arbitrary style transfer in real-time with adaptive instance normalization", Huang and
    Belongie, 2017, https://arxiv.org/abs/1703.06868
    """

    name: ClassVar[str] = "mean_std"

    def __init__(self, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = positive("eps", eps)

    @property
    def statistic_key(self) -> str:
        """μ and σ."""
        return self._shared_key(MeanStd, f"mean_std eps={self.eps}")

    def config(self) -> dict[str, Any]:
        """The keyword arguments."""
        return {"eps": self.eps}

    def statistic(self, feature: Tensor) -> Tensor:
        """μ and σ: (N,C,H,W) -> (N,2,C)."""
        return functional.mean_std(feature, self.eps)

    def compare(self, x: Tensor, y: Tensor) -> Tensor:
        """Sum of the two mean squared differences: (N,2,C), (N or 1,2,C) -> (N,)."""
        return (x - y).square().mean(dim=2).sum(dim=1)
