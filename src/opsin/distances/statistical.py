"""Distances between statistics that forget where things are: they compare textures, not pictures."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from opsin import functional
from opsin.checks import choice, positive, whole
from opsin.distances.base import Distance, SummedDistance
from opsin.errors import InputError
from opsin.functional.moments import mean_std_of_sums, patch_gram


class Gram(SummedDistance):
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

    def sums(self, feature: Tensor, centre: Tensor) -> Tensor:
        """F Fᵀ, whatever the centre: (N,C,H,W) -> (N,C,C)."""
        return functional.gram(feature, "none")

    def from_sums(self, sums: Tensor, centre: Tensor, positions: int) -> Tensor:
        """Gram matrix: (N,C,C) -> (N,C,C)."""
        return sums / {"chw": sums.shape[1] * positions, "hw": positions, "none": 1}[self.normalize]

    def compare(self, x: Tensor, y: Tensor) -> Tensor:
        """Squared difference: (N,C,C), (N or 1,C,C) -> (N,)."""
        square = (x - y).square().flatten(1)
        return square.mean(dim=1) if self.reduction == "mean" else square.sum(dim=1)


class MeanStd(SummedDistance):
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

    def sums(self, feature: Tensor, centre: Tensor) -> Tensor:
        """Σ f and Σ f², f = F - centre: (N,C,H,W), (N,C,1,1) -> (N,2,C)."""
        f = (feature - centre).flatten(2)
        return torch.stack([f.sum(dim=2), f.square().sum(dim=2)], dim=1)

    def from_sums(self, sums: Tensor, centre: Tensor, positions: int) -> Tensor:
        """μ and σ: (N,2,C), (N,C,1,1) -> (N,2,C)."""
        return mean_std_of_sums(sums, centre, positions, self.eps)

    def compare(self, x: Tensor, y: Tensor) -> Tensor:
        """Sum of the two mean squared differences: (N,2,C), (N or 1,2,C) -> (N,)."""
        return (x - y).square().mean(dim=2).sum(dim=1)


class PatchGram(Distance):
    """Squared difference of the Gram matrices of patches: mean over patches of the mean (or sum) over C² of (Gx - Gy)².

    G = F Fᵀ / Z over the positions of one patch; patches lie side by side. Texture is compared where it is, unlike with
    `Gram`, which compares the texture of the whole image: the two images must have one size.

    Range: [0, ∞).

    Args:
        patch: height and width of a patch, in positions of the feature map.
        normalize: Z: "none" = 1, "hw" = patch², "chw" = C·patch².
        reduction: over the C² entries: "mean" or "sum".

    Raises:
        InputError: options out of range; maps of different size.

    Reference: the texture loss of "EnhanceNet: single image super-resolution through automated texture synthesis",
    Sajjadi, Schölkopf and Hirsch, 2017, https://arxiv.org/abs/1612.07919
    """

    name: ClassVar[str] = "patch_gram"

    def __init__(self, patch: int = 16, normalize: str = "none", reduction: str = "mean") -> None:
        super().__init__()
        self.patch = whole("patch", patch)
        self.normalize = choice("normalize", normalize, ["chw", "hw", "none"])
        self.reduction = choice("reduction", reduction, ["mean", "sum"])

    @property
    def statistic_key(self) -> str:
        """The Gram matrices."""
        return self._shared_key(PatchGram, f"patch_gram {self.patch} {self.normalize}")

    def config(self) -> dict[str, Any]:
        """The keyword arguments."""
        return {"patch": self.patch, "normalize": self.normalize, "reduction": self.reduction}

    def statistic(self, feature: Tensor) -> Tensor:
        """Gram matrices: (N,C,H,W) -> (N,rows,columns,C,C)."""
        return patch_gram(feature, self.patch, self.normalize)

    def compare(self, x: Tensor, y: Tensor) -> Tensor:
        """Squared difference: (N,rows,columns,C,C), (N or 1,rows,columns,C,C) -> (N,)."""
        if x.shape[1:] != y.shape[1:]:
            raise InputError(
                f"the reference must have rows and columns of {self.patch}×{self.patch} patches like x, "
                f"{tuple(x.shape[1:3])}, got {tuple(y.shape[1:3])}. Resize or crop one of the images."
            )
        square = (x - y).square().mean(dim=(1, 2)).flatten(1)
        return square.mean(dim=1) if self.reduction == "mean" else square.sum(dim=1)
