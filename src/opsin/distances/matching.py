"""Distances that match the feature vectors of two images wherever they are.

Those that take at most `max_points` positions draw them anew on each call; images of equal size get the same positions,
and all images of a batch do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from opsin.checks import choice, positive, whole
from opsin.distances.base import Distance
from opsin.errors import InputError
from opsin.functional import matching, patches
from opsin.functional.colors import mix_channels
from opsin.functional.elementwise import unit_normalize

# A rotation that takes grey to the first axis.
_A, _B, _C = (1 + 3**-0.5) / 2, (1 - 3**-0.5) / 2, 3**-0.5
DECORRELATION = ((_C, _C, _C), (-_C, _A, -_B), (-_C, -_B, _A))


def random_points(
    count: int, most: int | None, device: torch.device, generator: torch.Generator | None = None
) -> Tensor | None:
    """Indices of `most` out of `count` positions, in rising order; None, which means all, if there are no more."""
    if most is None or count <= most:
        return None
    where = device if generator is None else generator.device
    return torch.randperm(count, generator=generator, device=where)[:most].sort().values.to(device)


def hypercolumns(features: Sequence[Tensor], points: Tensor | None = None) -> Tensor:
    """Feature maps of several sizes, bilinearly enlarged to the largest and concatenated, at some positions of it.

    Only what is asked for is enlarged, so that a few points of a large image take little memory.

    Shape: (N,C₁,H₁,W₁), (N,C₂,H₂,W₂) … -> (N, ΣC, P).

    Args:
        features: the maps, all of one picture.
        points: flat indices of positions of the largest map; all if None.
    """
    h, w = _largest(features)
    parts = []
    grid: Tensor | None = None
    for feature in features:
        if feature.shape[-2:] == (h, w):
            parts.append(matching.take(feature, points))
            continue
        if grid is None:
            at = torch.arange(h * w, device=feature.device) if points is None else points
            rows, columns = at.div(w, rounding_mode="floor"), at % w
            place = torch.stack([(2 * columns + 1) / w - 1, (2 * rows + 1) / h - 1], dim=1)
            grid = place.to(feature.dtype).reshape(1, 1, -1, 2)
        everyone = grid.expand(feature.shape[0], -1, -1, -1)
        parts.append(F.grid_sample(feature, everyone, padding_mode="border", align_corners=False).squeeze(2))
    return torch.cat(parts, dim=1)


class _Sampled(Distance):
    """A distance of at most `max_points` random positions of the feature map itself."""

    max_points: int | None
    generator: torch.Generator | None

    def __init__(self, max_points: int | None, generator: torch.Generator | None) -> None:
        super().__init__()
        self.max_points = None if max_points is None else whole("max_points", max_points, mend="None takes all.")
        self.generator = generator

    @property
    def statistic_key(self) -> str:
        """The feature map itself."""
        return self._shared_key(_Sampled, "feature")

    def config(self) -> dict[str, Any]:
        """The keyword arguments, but for the generator, which no text can name."""
        return {"max_points": self.max_points}

    def statistic(self, feature: Any) -> Any:
        """The feature map itself, or a tuple of them: which positions are taken is drawn on each call."""
        return feature

    def _points(self, x: Any, y: Any) -> tuple[Tensor | None, Tensor | None]:
        """Positions to take of the feature maps, or tuples of them, of both images."""
        a, b = ((t,) if isinstance(t, Tensor) else t for t in (x, y))
        sizes = _largest(a), _largest(b)
        p = random_points(math.prod(sizes[0]), self.max_points, a[0].device, self.generator)
        if sizes[0] == sizes[1]:
            return p, p
        return p, random_points(math.prod(sizes[1]), self.max_points, b[0].device, self.generator)

    def _columns(self, x: Any, y: Any) -> tuple[Tensor, Tensor]:
        """Hypercolumns of both images at drawn positions: (N,C,P), (N or 1,C,Q)."""
        p, q = self._points(x, y)
        a, b = ((t,) if isinstance(t, Tensor) else t for t in (x, y))
        return hypercolumns(a, p), hypercolumns(b, q)


class Contextual(_Sampled):
    """Contextual distance CX: -log mean_j max_i CX_ij; see `opsin.functional.matching.contextual`.

    CX_ij is a softmax over positions j of y of -d~_ij/h, d~ the cosine distance (1 - cos)/2 of features centred by the
    mean of y, divided by the least of its row i. The two images need not be aligned, nor of one size.

    Range: [0, log K] for K positions of y. 0 up to rounding for equal maps whose vectors differ.

    Args:
        h: the bandwidth.
        max_points: at most so many random positions are compared, as in the authors' code (65²); None takes all.
        eps: added to the least distance of a row.
        generator: of the random positions; torch's global one if None.

    Raises:
        InputError: an option that is not positive.

    Differs from the paper: the mean is that of each reference image alone, not of the batch.

    Reference: "The contextual loss for image transformation with non-aligned data", Mechrez, Talmi and Zelnik-Manor,
    2018, https://arxiv.org/abs/1803.02077

    Example:
        >>> import torch
        >>> from opsin.distances.matching import Contextual
        >>> Contextual(h=0.5)(torch.rand(2, 8, 6, 6), torch.rand(1, 8, 5, 7)).shape
        torch.Size([2])
    """

    name: ClassVar[str] = "contextual"

    def __init__(
        self,
        h: float = 0.5,
        max_points: int | None = 65**2,
        eps: float = 1e-5,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(max_points, generator)
        self.h = positive("h", h)
        self.eps = positive("eps", eps)

    def config(self) -> dict[str, Any]:
        """The keyword arguments, but for the generator."""
        return {"h": self.h, "max_points": self.max_points, "eps": self.eps}

    def compare(self, x: Tensor, y: Tensor) -> Tensor:
        """The formula: (N,C,H,W), (N or 1,C,H',W') -> (N,)."""
        p, q = self._points(x, y)
        return matching.contextual(matching.take(x, p), matching.take(y, q), self.h, self.eps)


class ContextualBilateral(_Sampled):
    """Contextual bilateral distance CoBi: mean_i min_j (d_ij + w_s |p_i - p_j|).

    d is the cosine distance (1 - cos)/2 of features centred by the mean of y, p the position as a fraction of height
    and width.

    Range: [0, 1 + √2 w_s]. 0 for equal maps.

    Args:
        spatial_weight: w_s.
        max_points: at most so many random positions are compared; None takes all.
        generator: of the random positions; torch's global one if None.

    Raises:
        InputError: a negative weight, or points that are no positive number.

    Differs from the paper: the paper leaves the unit of p and the centring open; what the released code has could not
    be confirmed. The bound on the number of points is that of the contextual loss.

    Reference: "Zoom to learn, learn to zoom", Zhang, Chen, Ng and Koltun, 2019, https://arxiv.org/abs/1905.05169

    Example:
        >>> import torch
        >>> from opsin.distances.matching import ContextualBilateral
        >>> ContextualBilateral()(torch.rand(2, 8, 6, 6), torch.rand(1, 8, 5, 7)).shape
        torch.Size([2])
    """

    name: ClassVar[str] = "cobi"

    def __init__(
        self,
        spatial_weight: float = 0.1,
        max_points: int | None = 65**2,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(max_points, generator)
        self.spatial_weight = matching.check_spatial_weight(spatial_weight)

    def config(self) -> dict[str, Any]:
        """The keyword arguments, but for the generator."""
        return {"spatial_weight": self.spatial_weight, "max_points": self.max_points}

    def compare(self, x: Tensor, y: Tensor) -> Tensor:
        """The formula: (N,C,H,W), (N or 1,C,H',W') -> (N,)."""
        return matching.contextual_bilateral(x, y, self.spatial_weight, *self._points(x, y))


class NearestFeature(Distance):
    """Cosine distance to the nearest feature vector of the reference: mean_i min_j (1 - cos(x_i, y_j)).

    Of several taps, which must have maps of one size, the vectors are concatenated. The two images may differ in size.

    Range: [0, 2] (for features after a ReLU [0, 1]). 0 for equal maps.

    Raises:
        InputError: maps of several sizes.

    Reference: "ARF: artistic radiance fields", Zhang et al., 2022, https://arxiv.org/abs/2206.06360

    Example:
        >>> import torch
        >>> from opsin.distances.matching import NearestFeature
        >>> NearestFeature()(torch.rand(2, 8, 6, 6), torch.rand(1, 8, 5, 7)).shape
        torch.Size([2])
    """

    name: ClassVar[str] = "nnfm"
    several_taps: ClassVar[bool] = True

    @property
    def statistic_key(self) -> str:
        """The unit vectors."""
        return self._shared_key(NearestFeature, f"unit eps={1e-10}")

    def statistic(self, feature: Tensor | tuple[Tensor, ...]) -> Tensor:
        """Unit vectors: (N,C₁,H,W), (N,C₂,H,W) … -> (N,ΣC,H,W)."""
        if not isinstance(feature, Tensor):
            sizes = [tuple(f.shape[-2:]) for f in feature]
            if len(set(sizes)) > 1:
                raise InputError(f"taps must have maps of one size, got {sizes}. Make a term for each size.")
            feature = torch.cat(feature, dim=1)
        return unit_normalize(feature, 1e-10)

    def compare(self, x: Tensor, y: Tensor) -> Tensor:
        """The formula: (N,C,H,W), (N or 1,C,H',W') -> (N,)."""
        return matching.nearest_feature(x, y)


class PatchMatch(Distance):
    """Squared difference of each patch and the most correlated one of the reference: Σ_i ||Ψ_i(x) - Ψ_NN(i)(y)||².

    NN(i) = argmax_j of the normalised correlation, found anew on each call and constant for the gradient.

    Range: [0, ∞). 0 up to rounding for equal maps.

    Args:
        size: patches are size×size positions of the map.
        reduction: "sum" as in the paper, or "mean" over patches and their entries, which does not grow with the image.

    Raises:
        InputError: a size that is no whole number; maps in which no patch fits.

    Reference: "Combining Markov random fields and convolutional neural networks for image synthesis", Li and Wand,
    2016, https://arxiv.org/abs/1601.04589

    Example:
        >>> import torch
        >>> from opsin.distances.matching import PatchMatch
        >>> PatchMatch(size=2)(torch.rand(2, 8, 6, 6), torch.rand(1, 8, 5, 7)).shape
        torch.Size([2])
    """

    name: ClassVar[str] = "mrf"

    def __init__(self, size: int = 3, reduction: str = "sum") -> None:
        super().__init__()
        self.size = whole("size", size)
        self.reduction = choice("reduction", reduction, ["sum", "mean"])

    @property
    def statistic_key(self) -> str:
        """The feature map itself."""
        return self._shared_key(PatchMatch, "feature")

    def config(self) -> dict[str, Any]:
        """The keyword arguments."""
        return {"size": self.size, "reduction": self.reduction}

    def statistic(self, feature: Tensor) -> Tensor:
        """The feature map itself: its patches would take size² times its memory."""
        return feature

    def compare(self, x: Tensor, y: Tensor) -> Tensor:
        """The formula: (N,C,H,W), (N or 1,C,H',W') -> (N,)."""
        return patches.patch_match(x, y, self.size, self.reduction)


class RelaxedEMD(_Sampled):
    """Relaxed earth mover's distance of hypercolumns: max(mean_i min_j C_ij, mean_j min_i C_ij), C = 1 - cos.

    Range: [0, 2]. 0 for equal maps. Symmetric, if the same positions are drawn.

    Args:
        max_points: at most so many random positions are compared; None takes all.
        generator: of the random positions; torch's global one if None.

    Reference: "Style transfer by relaxed optimal transport and self-similarity", Kolkin, Salavon and Shakhnarovich,
    2019, https://arxiv.org/abs/1904.12785

    Example:
        >>> import torch
        >>> from opsin.distances.matching import RelaxedEMD
        >>> RelaxedEMD()(torch.rand(2, 8, 6, 6), torch.rand(1, 8, 5, 7)).shape
        torch.Size([2])
    """

    name: ClassVar[str] = "relaxed_emd"
    several_taps: ClassVar[bool] = True

    def __init__(self, max_points: int | None = 1024, generator: torch.Generator | None = None) -> None:
        super().__init__(max_points, generator)

    def compare(self, x: Any, y: Any) -> Tensor:
        """The formula: maps of (N,C,H,W), (N or 1,C,H',W') -> (N,)."""
        return matching.relaxed_emd(*self._columns(x, y))


class Palette(RelaxedEMD):
    """Relaxed earth mover's distance of colours, C their Euclidean distance, mean colour (grey) as one axis.

    The change of axes is a rotation, which alters no Euclidean distance; it is done for the sake of the formula. For
    the tap "image". Options, reference and example as `RelaxedEMD`. Range: [0, √3] for images in [0,1].

    Raises:
        InputError: a map that has not three channels.
    """

    name: ClassVar[str] = "palette"
    several_taps: ClassVar[bool] = False

    def compare(self, x: Tensor, y: Tensor) -> Tensor:
        """The formula: (N,3,H,W), (N or 1,3,H',W') -> (N,)."""
        if x.shape[1] != 3:
            raise InputError(f'a palette must be of RGB images, got {x.shape[1]} channels. Use the tap "image".')
        a, b = self._columns(x, y)
        return matching.relaxed_emd(mix_channels(DECORRELATION, a), mix_channels(DECORRELATION, b), "euclidean")


class Moments(RelaxedEMD):
    """Difference of mean and covariance of hypercolumns: mean_c |Δμ| + mean_{c,c'} |ΔΣ|, Σ divided by the points.

    Options and reference as `RelaxedEMD`. Σ has (ΣC)² entries.

    Range: [0, ∞). 0 for equal maps. Symmetric, if the same positions are drawn.
    """

    name: ClassVar[str] = "moments"

    def compare(self, x: Any, y: Any) -> Tensor:
        """The formula: maps of (N,C,H,W), (N or 1,C,H',W') -> (N,)."""
        return matching.moment_difference(*self._columns(x, y))


class SelfSimilarity(RelaxedEMD):
    """Difference of the patterns of distances inside of each image: n · mean_ij |M_ij(x) - M_ij(y)|.

    M_ij = D_ij / Σ_k D_kj, D the cosine distance of hypercolumns at two positions of one image. A content loss that
    sees which regions are alike, not what they look like. The images must have one size. Options and reference as
    `RelaxedEMD`.

    Range: [0, 2]. 0 for equal maps. Symmetric, if the same positions are drawn.

    Raises:
        InputError: images of different sizes.

    Differs from the paper: 1e-6 n is added to the sum, so that an image of one colour has a gradient.
    """

    name: ClassVar[str] = "self_similarity"

    def compare(self, x: Any, y: Any) -> Tensor:
        """The formula: maps of (N,C,H,W), (N or 1,C,H,W) -> (N,)."""
        sizes = [_largest((t,) if isinstance(t, Tensor) else t) for t in (x, y)]
        if sizes[0] != sizes[1]:
            raise InputError(
                f"images must have one size for their self-similarity to be compared, got {sizes[0]} and {sizes[1]}. "
                "Resize or crop one of them."
            )
        return matching.self_similarity(*self._columns(x, y))


def _largest(features: Sequence[Tensor]) -> tuple[int, int]:
    """(H,W) of the map with the most positions."""
    return max(((f.shape[-2], f.shape[-1]) for f in features), key=math.prod)
