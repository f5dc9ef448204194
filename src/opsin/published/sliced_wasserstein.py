"""The sliced Wasserstein loss of Heitz, Vanhoey, Chambon and Belcour."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch

from opsin.distances.style import SlicedWasserstein
from opsin.extractors import Extractor, as_extractor
from opsin.loss import PerceptualLoss
from opsin.terms import Term

STYLE_LAYERS = tuple(
    f"relu{block}_{i}" for block, count in enumerate((2, 2, 4, 4), start=1) for i in range(1, count + 1)
)


def sliced_wasserstein(
    net: str | Extractor = "vgg19",
    weights: str | os.PathLike[str] | None = "bundled",
    *,
    layers: Mapping[str, float] | None = None,
    directions: int | None = None,
    generator: torch.Generator | None = None,
    reference: str = "style",
    name: str = "sliced_wasserstein",
    reduction: str = "mean",
    input_range: tuple[float, float] = (0.0, 1.0),
    validate: str = "first",
    **options: Any,
) -> PerceptualLoss:
    """Squared Wasserstein-2 distance of features along random directions: Σ_l w_l W(F_l(x), F_l(y)).

    W = (1/DM) Σ_d Σ_m (sort(d·x)_m - sort(d·y)_m)². D random unit vectors d are drawn anew in each call. Where the
    images differ in size, the sorted values of the reference are interpolated to the number of those of x. Average
    pooling and reflect padding, unless `options` or an extractor say otherwise. Kept targets hold the whole feature
    maps of the reference.

    Shape: x (N,3,H,W), reference (N or 1,3,H',W') -> scalar, or (N,) with `reduction="none"`.

    Range: [0, ∞), 0 for equal images.

    Args:
        net: a network's name, or an extractor.
        weights: "bundled", "official", "random" or a path.
        layers: tap -> w. None takes 1 at all twelve of relu1_1 to relu4_4.
        directions: D; the number of channels of a tap if None.
        generator: of the random directions; torch's own if None.
        reference: the name of the images to compare with.
        name: prefix of the terms' names when the loss is added to others.
        reduction: see `PerceptualLoss`.
        input_range: see `PerceptualLoss`.
        validate: see `PerceptualLoss`.
        options: further keywords of the extractor: `pooling`, `padding`, `normalization`, `seed`.

    Raises:
        ChoiceError: an unknown network, tap or weights name.
        WeightsError: weights that are not there.
        InputError: options out of range.

    Differs from the paper: sorted values are interpolated linearly where sizes differ. The paper's features are
    those of the original (caffe) weights, which "bundled" are.

    Reference: "A sliced Wasserstein loss for neural texture synthesis", Heitz, Vanhoey, Chambon and Belcour, 2021,
    https://arxiv.org/abs/2006.07229

    Example:
        >>> import torch
        >>> from opsin.published.sliced_wasserstein import sliced_wasserstein
        >>> loss = sliced_wasserstein(weights="random")
        >>> x, y = torch.rand(2, 1, 3, 32, 32)
        >>> bool(loss(x, y) > 0)
        True
    """
    layers = dict.fromkeys(STYLE_LAYERS, 1.0) if layers is None else layers
    if not isinstance(net, Extractor):
        options = {"pooling": "avg", "padding": "reflect", **options}
    extractor = as_extractor(net, weights, **options)
    distance = SlicedWasserstein(directions, generator)
    return PerceptualLoss(
        [Term(extractor, tap, distance, weight, reference) for tap, weight in layers.items()],
        reduction=reduction,
        input_range=input_range,
        validate=validate,
        name=name,
    )
