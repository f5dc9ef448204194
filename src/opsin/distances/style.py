"""Distances between the distributions of feature vectors: they compare textures, and images may differ in size."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from opsin import functional
from opsin.checks import choice, positive, whole
from opsin.distances.base import Distance, SpatialDistance, SummedDistance
from opsin.errors import InputError
from opsin.functional import kernels, transport


class HalfSquaredError(SpatialDistance):
    """Half of the sum of squared differences: ½ Σ_{c,h,w} (x - y)².

    Unlike "l2" it grows with the size of the map.

    Shape: (N,C,H,W), (N or 1,C,H,W) -> (N,).

    Range: [0, ∞), in squared units of the feature.

    Reference: the content loss of "Image style transfer using convolutional neural networks", Gatys, Ecker and Bethge,
    2016, https://arxiv.org/abs/1508.06576

    Example:
        >>> import torch
        >>> float(HalfSquaredError()(torch.ones(1, 2, 3, 3), torch.zeros(1, 2, 3, 3)))
        9.0
    """

    name: ClassVar[str] = "half_squared_error"
    additive: ClassVar[bool] = True

    def share(self, tile: int, whole: int) -> float:
        """Everything: it is a sum, not a mean."""
        return 1.0

    def map(self, x: Tensor, y: Tensor) -> Tensor:
        """½ H·W Σ_c (x - y)², whose mean over positions is the sum: (N,C,H,W), (N or 1,C,H,W) -> (N,H,W)."""
        return 0.5 * x.shape[2] * x.shape[3] * (x - y).square().sum(dim=1)


class GaussianWasserstein(SummedDistance):
    """Squared Wasserstein-2 distance of Gaussians fitted to the feature vectors of each image.

    mean_c (Δμ)² + mean diag(Σx + Σy - 2 (Σy^½ Σx Σy^½)^½), with eps·I added to both covariances Σ. The two images may
    differ in size. Each comparison decomposes two C×C matrices in float64.

    Shape: (N,C,H,W), (N or 1,C,H',W') -> (N,).

    Range: [0, ∞), in squared units of the feature.

    Args:
        eps: added to the diagonals.

    Raises:
        InputError: `eps` that is not positive.

    Reference: "Wasserstein style transfer", Mroueh, 2019, https://arxiv.org/abs/1905.12828

    Example:
        >>> import torch
        >>> GaussianWasserstein()(torch.rand(2, 4, 8, 8), torch.rand(1, 4, 6, 6)).shape
        torch.Size([2])
    """

    name: ClassVar[str] = "gaussian_wasserstein"

    def __init__(self, eps: float = 1e-4) -> None:
        super().__init__()
        self.eps = positive("eps", eps)

    @property
    def statistic_key(self) -> str:
        """μ and Σ, whatever eps."""
        return self._shared_key(GaussianWasserstein, "mean and covariance, correction=0")

    def config(self) -> dict[str, Any]:
        """The keyword arguments."""
        return {"eps": self.eps}

    def statistic(self, feature: Tensor) -> Tensor:
        """μ in front of Σ: (N,C,H,W) -> (N,1+C,C)."""
        mean, covariance = transport.mean_covariance(feature)
        return torch.cat([mean.unsqueeze(1), covariance], dim=1)

    def sums(self, feature: Tensor, centre: Tensor) -> Tensor:
        """Σ f in front of Σ f fᵀ, f = F - centre: (N,C,H,W), (N,C,1,1) -> (N,1+C,C)."""
        return transport.moment_sums(feature, centre)

    def from_sums(self, sums: Tensor, centre: Tensor, positions: int) -> Tensor:
        """μ in front of Σ: (N,1+C,C), (N,C,1,1) -> (N,1+C,C)."""
        mean, covariance = transport.mean_covariance_of_sums(sums, centre, positions)
        return torch.cat([mean.unsqueeze(1), covariance], dim=1)

    def compare(self, x: Tensor, y: Tensor) -> Tensor:
        """The distance of two fits: (N,1+C,C), (N or 1,1+C,C) -> (N,)."""
        return transport.gaussian_w2(x[:, 0], x[:, 1:], y[:, 0], y[:, 1:], self.eps)


class Coral(SummedDistance):
    """Squared difference of covariances: ||Σx - Σy||²_F / 4C², Σ = (F - μ)(F - μ)ᵀ / (M - 1), M = H·W.

    Unlike "gram" it does not see the means. The two images may differ in size.

    Shape: (N,C,H,W), (N or 1,C,H',W') -> (N,).

    Range: [0, ∞).

    Differs from the paper: there the samples are the images of a batch, here the positions of one map.

    Reference: "Deep CORAL: correlation alignment for deep domain adaptation", Sun and Saenko, 2016,
    https://arxiv.org/abs/1607.01719

    Example:
        >>> import torch
        >>> f = torch.rand(1, 4, 8, 8)
        >>> bool(Coral()(f, f + 1) < 1e-9)
        True
    """

    name: ClassVar[str] = "coral"

    @property
    def statistic_key(self) -> str:
        """The unbiased covariance."""
        return self._shared_key(Coral, "covariance, correction=1")

    def statistic(self, feature: Tensor) -> Tensor:
        """Covariance: (N,C,H,W) -> (N,C,C)."""
        return transport.mean_covariance(feature, correction=1)[1]

    def sums(self, feature: Tensor, centre: Tensor) -> Tensor:
        """Σ f in front of Σ f fᵀ, f = F - centre: (N,C,H,W), (N,C,1,1) -> (N,1+C,C)."""
        return transport.moment_sums(feature, centre)

    def from_sums(self, sums: Tensor, centre: Tensor, positions: int) -> Tensor:
        """Covariance: (N,1+C,C), (N,C,1,1) -> (N,C,C)."""
        return transport.mean_covariance_of_sums(sums, centre, positions, correction=1)[1]

    def compare(self, x: Tensor, y: Tensor) -> Tensor:
        """Squared difference over 4C²: (N,C,C), (N or 1,C,C) -> (N,)."""
        return 0.25 * (x - y).square().mean(dim=(1, 2))


class MMD(Distance):
    """Squared maximum mean discrepancy of the feature vectors: mean k(x,x) + mean k(y,y) - 2 mean k(x,y).

    "linear": k(a,b) = a·b / C, which compares means. "polynomial": k(a,b) = (a·b / C + offset)², which with offset 0
    compares Gram matrices. "gaussian": k(a,b) = exp(-||a - b||² / 2σ²), which compares all of the distribution. The
    means run over all pairs of positions, those of a position with itself included. The two images may differ in size.

    The first two need only moments. The third needs the vectors: of a map of more than `points` positions, that many
    are drawn anew for each statistic, so that two equal images then have a small distance, not 0. The same positions
    are drawn for all images of a batch.

    Shape: (N,C,H,W), (N or 1,C,H',W') -> (N,).

    Range: [0, ∞); "gaussian" [0, 2].

    Args:
        kernel: "linear", "polynomial" or "gaussian".
        offset: of the polynomial kernel, at least 0.
        sigma: σ of the Gaussian kernel, in units of the feature. None: σ² is the mean squared distance of all pairs of
            vectors of the reference.
        points: the most positions that the Gaussian kernel takes of a map.
        generator: of the random positions; torch's own on the device of the features if None.

    Raises:
        ChoiceError: an unknown kernel.
        InputError: `offset`, `sigma` or `points` that do not fit.

    Reference: "Demystifying neural style transfer", Li, Wang, Liu and Hou, 2017, https://arxiv.org/abs/1701.01036

    Example:
        >>> import torch
        >>> MMD("gaussian")(torch.rand(2, 4, 8, 8), torch.rand(1, 4, 6, 6)).shape
        torch.Size([2])
    """

    name: ClassVar[str] = "mmd"

    def __init__(
        self,
        kernel: str = "polynomial",
        offset: float = 0.0,
        sigma: float | None = None,
        points: int = 1024,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.kernel = choice("kernel", kernel, ["linear", "polynomial", "gaussian"])
        if not 0 <= offset < float("inf"):
            raise InputError(f"offset must be 0 or a positive number, got {offset}. Leave it out for the default.")
        self.offset = float(offset)
        self.sigma = None if sigma is None else positive("sigma", sigma)
        self.points = whole("points", points)
        self.generator = generator

    @property
    def statistic_key(self) -> str:
        """The moments that the kernel needs. Points are an instance's own, drawn with its own generator."""
        shared = {"linear": "mean", "polynomial": "mean and gram hw"}
        if self.kernel not in shared:
            return super().statistic_key
        return self._shared_key(MMD, shared[self.kernel])

    def config(self) -> dict[str, Any]:
        """The keyword arguments but for the generator, which is no plain value."""
        return {"kernel": self.kernel, "offset": self.offset, "sigma": self.sigma, "points": self.points}

    def statistic(self, feature: Tensor) -> Tensor:
        """(N,C,H,W) -> μ (N,C); μ in front of the Gram matrix (N,1+C,C); or the vectors (N,C,points)."""
        flat = feature.flatten(2)
        if self.kernel == "linear":
            return flat.mean(dim=2)
        if self.kernel == "polynomial":
            return torch.cat([flat.mean(dim=2).unsqueeze(1), functional.gram(feature, "hw")], dim=1)
        count = flat.shape[2]
        if count <= self.points:
            return flat
        device = flat.device if self.generator is None else self.generator.device
        chosen = torch.randperm(count, generator=self.generator, device=device)[: self.points]
        return flat[:, :, chosen.to(flat.device)]

    def compare(self, x: Tensor, y: Tensor) -> Tensor:
        """The squared discrepancy of two statistics: (N,…), (N or 1,…) -> (N,)."""
        if self.kernel == "linear":
            return kernels.mmd_linear(x, y)
        if self.kernel == "polynomial":
            return kernels.mmd_polynomial(x[:, 0], x[:, 1:], y[:, 0], y[:, 1:], self.offset)
        return kernels.mmd_gaussian(x, y, self.sigma)


class SlicedWasserstein(Distance):
    """Squared Wasserstein-2 distance of the feature vectors, projected to random directions, mean over directions.

    (1/DM) Σ_d Σ_m (sort(d·x)_m - sort(d·y)_m)², M = H·W, with D unit vectors d drawn anew in each comparison, the same
    for all images of a batch. Where the maps differ in size, the sorted values of y are interpolated to the number of
    those of x. Feature vectors of the reference are kept, as the sorted projections need the same directions.

    Shape: (N,C,H,W), (N or 1,C,H',W') -> (N,).

    Range: [0, ∞), in squared units of the feature.

    Args:
        directions: D; as many as there are channels if None.
        generator: of the random directions; torch's own on the device of the features if None.

    Raises:
        InputError: `directions` below 1.

    Reference: "A sliced Wasserstein loss for neural texture synthesis", Heitz, Vanhoey, Chambon and Belcour, 2021,
    https://arxiv.org/abs/2006.07229

    Example:
        >>> import torch
        >>> f = torch.rand(1, 4, 8, 8)
        >>> float(SlicedWasserstein()(f, f.flip(3)).round(decimals=6))
        0.0
    """

    name: ClassVar[str] = "sliced_wasserstein"

    def __init__(self, directions: int | None = None, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.directions = None if directions is None else whole("directions", directions)
        self.generator = generator

    @property
    def statistic_key(self) -> str:
        """The feature map itself."""
        return self._shared_key(SlicedWasserstein, "feature")

    def config(self) -> dict[str, Any]:
        """The keyword arguments but for the generator, which is no plain value."""
        return {"directions": self.directions}

    def statistic(self, feature: Tensor) -> Tensor:
        """The feature map itself."""
        return feature

    def compare(self, x: Tensor, y: Tensor) -> Tensor:
        """The distance along new directions: (N,C,H,W), (N or 1,C,H',W') -> (N,)."""
        channels = x.shape[1]
        drawn = transport.random_directions(
            self.directions or channels, channels, like=x.detach(), generator=self.generator
        )
        return transport.sliced_wasserstein(x, y, drawn)


class Histogram(Distance):
    """Mean squared difference of a map and the map with its histograms matched to the reference's, channel by channel.

    mean (x - R(x))², where R gives the m-th smallest value of each channel of x the m-th smallest value of that channel
    of y; R(x) counts as a constant in the gradient. Since both are in one order this is mean (sort(x) - sort(y))².
    Where the maps differ in size, the sorted values of y are interpolated to the number of those of x.

    Shape: (N,C,H,W), (N or 1,C,H',W') -> (N,).

    Range: [0, ∞), in squared units of the feature.

    Differs from the paper: it matches histograms of bins, here they are exact; it sums over positions and channels,
    here it is the mean. Neither could be confirmed in released code.

    Reference: "Stable and controllable neural texture synthesis and style transfer using histogram losses", Risser,
    Wilmot and Barnes, 2017, https://arxiv.org/abs/1701.08893

    Example:
        >>> import torch
        >>> f = torch.rand(1, 4, 8, 8)
        >>> float(Histogram()(f, f.flip(3)))
        0.0
    """

    name: ClassVar[str] = "histogram"

    @property
    def statistic_key(self) -> str:
        """The sorted values."""
        return self._shared_key(Histogram, "sorted channels")

    def statistic(self, feature: Tensor) -> Tensor:
        """Each channel's values, sorted: (N,C,H,W) -> (N,C,H·W)."""
        return feature.flatten(2).sort(dim=2).values

    def compare(self, x: Tensor, y: Tensor) -> Tensor:
        """Mean squared difference of sorted values: (N,C,M), (N or 1,C,M') -> (N,)."""
        return transport.quantile_distance(x, y)
