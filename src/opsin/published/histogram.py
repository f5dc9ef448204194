"""The histogram loss of Risser, Wilmot and Barnes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from opsin.distances.style import Histogram
from opsin.extractors import Extractor, as_extractor
from opsin.loss import PerceptualLoss
from opsin.terms import Term

STYLE_LAYERS = ("relu1_1", "relu4_1")


def histogram(
    net: str | Extractor = "vgg19",
    weights: str | os.PathLike[str] | None = "bundled",
    *,
    layers: Mapping[str, float] | None = None,
    reference: str = "style",
    name: str = "histogram",
    reduction: str = "mean",
    input_range: tuple[float, float] = (0.0, 1.0),
    validate: str = "first",
    **options: Any,
) -> PerceptualLoss:
    """Squared difference of features and the same matched to the reference's histograms: Σ_l w_l mean (F - R(F))².

    R gives the m-th smallest value of each channel the m-th smallest value of that channel in the reference; it counts
    as a constant in the gradient. In the paper this loss goes with Gatys' style loss, here add `gatys_style`.

    Shape: x (N,3,H,W), reference (N or 1,3,H',W') -> scalar, or (N,) with `reduction="none"`.

    Range: [0, ∞), 0 for equal images.

    Args:
        net: a network's name, or an extractor.
        weights: "bundled", "official", "random" or a path.
        layers: tap -> w. None takes 1 at relu1_1 and relu4_1.
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

    Differs from the paper: none of it could be confirmed in released code. The paper matches histograms of bins, here
    they are exact; it sums over positions and channels, here it is the mean; its weights γ are not known, they are 1.

    Reference: "Stable and controllable neural texture synthesis and style transfer using histogram losses", Risser,
    Wilmot and Barnes, 2017, https://arxiv.org/abs/1701.08893

    Example:
        >>> import torch
        >>> from opsin.published.histogram import histogram
        >>> loss = histogram(weights="random")
        >>> x, y = torch.rand(2, 1, 3, 32, 32)
        >>> bool(loss(x, y) > 0)
        True
    """
    layers = dict.fromkeys(STYLE_LAYERS, 1.0) if layers is None else layers
    extractor = as_extractor(net, weights, **options)
    return PerceptualLoss(
        [Term(extractor, tap, Histogram(), weight, reference) for tap, weight in layers.items()],
        reduction=reduction,
        input_range=input_range,
        validate=validate,
        name=name,
    )
