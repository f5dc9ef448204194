"""The contextual loss and the contextual bilateral loss, for images that are not aligned."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch

from opsin.distances.matching import Contextual, ContextualBilateral
from opsin.extractors import Extractor, as_extractor
from opsin.loss import PerceptualLoss
from opsin.terms import Term


def contextual(
    net: str | Extractor = "vgg19",
    weights: str | os.PathLike[str] | None = "bundled",
    *,
    layers: Mapping[str, float] | None = None,
    h: float = 0.5,
    max_points: int | None = 65**2,
    generator: torch.Generator | None = None,
    reference: str = "style",
    name: str = "contextual",
    reduction: str = "mean",
    input_range: tuple[float, float] = (0.0, 1.0),
    validate: str = "first",
    **options: Any,
) -> PerceptualLoss:
    """Contextual loss: which features an image has, not where, as a sum of -log CX over taps.

    CX = mean_j max_i softmax_j(-d~_ij / h), d~_ij = d_ij / (min_k d_ik + 1e-5), d the cosine distance (1 - cos)/2 of
    feature i of x and j of the reference, centred by the reference's mean.

    The defaults are the style term. The content term is `layers={"relu4_2": 1.0}, reference="target"`.

    Shape: x (N,3,H,W), the reference (N or 1,3,H',W') -> as `PerceptualLoss`.

    Range: [0, ∞): each tap at most the logarithm of the number of points.

    Args:
        net: a network's name, or an extractor.
        weights: of the network; ignored if `net` is an extractor.
        layers: tap -> weight; relu3_2 and relu4_2 with weight 1 if None.
        h: the bandwidth.
        max_points: at most so many positions of a tap, drawn anew on each call; None takes all.
        generator: of the drawn positions; torch's global one if None.
        reference: the name of the images to compare with.
        name: prefix of the terms' names when the loss is added to others.
        reduction: see `PerceptualLoss`.
        input_range: see `PerceptualLoss`.
        validate: see `PerceptualLoss`.
        options: further keywords of the extractor; `pooling` is "avg" for a VGG unless given, as in the authors' code.

    Raises:
        InputError: `h` or `max_points` is not positive.
        ChoiceError: an unknown network or tap.

    Differs from the paper: the mean that centres features is that of each reference alone; the authors' code takes it
    over the batch, so that a value there depends on the other images.

    Reference: "The contextual loss for image transformation with non-aligned data", Mechrez, Talmi and Zelnik-Manor,
    2018, https://arxiv.org/abs/1803.02077

    Example:
        >>> import torch
        >>> from opsin.published.contextual import contextual
        >>> loss = contextual("vgg19", "random")
        >>> loss(torch.rand(1, 3, 32, 32), style=torch.rand(1, 3, 48, 40)).ndim
        0
    """
    if not isinstance(net, Extractor) and net.startswith("vgg"):
        options.setdefault("pooling", "avg")
    extractor = as_extractor(net, weights, **options)
    distance = Contextual(h, max_points, generator=generator)
    chosen = {"relu3_2": 1.0, "relu4_2": 1.0} if layers is None else layers
    return PerceptualLoss(
        [Term(extractor, tap, distance, weight, reference) for tap, weight in chosen.items()],
        name=name,
        reduction=reduction,
        input_range=input_range,
        validate=validate,
    )


def cobi(
    net: str | Extractor = "vgg19",
    weights: str | os.PathLike[str] | None = "bundled",
    *,
    layers: Mapping[str, float] | None = None,
    spatial_weight: float = 0.1,
    max_points: int | None = 65**2,
    generator: torch.Generator | None = None,
    reference: str = "target",
    name: str = "cobi",
    reduction: str = "mean",
    input_range: tuple[float, float] = (0.0, 1.0),
    validate: str = "first",
    **options: Any,
) -> PerceptualLoss:
    """Contextual bilateral loss: the nearest feature of the reference, where near in the image counts too.

    Each tap: mean_i min_j (d_ij + w_s |p_i - p_j|), d the cosine distance (1 - cos)/2 of feature i of x and j of the
    reference, centred by the reference's mean, p positions as fractions of height and width.

    Shape: x (N,3,H,W), the reference (N or 1,3,H',W') -> as `PerceptualLoss`.

    Range: [0, Σ weights · (1 + √2 w_s)]. 0 for equal images.

    Args:
        net: a network's name, or an extractor.
        weights: of the network; ignored if `net` is an extractor.
        layers: tap -> weight; relu1_2, relu2_2 and relu3_2 with weight 1 if None.
        spatial_weight: w_s.
        max_points: at most so many positions of a tap, drawn anew on each call; None takes all.
        generator: of the drawn positions; torch's global one if None.
        reference: the name of the images to compare with.
        name: prefix of the terms' names when the loss is added to others.
        reduction: see `PerceptualLoss`.
        input_range: see `PerceptualLoss`.
        validate: see `PerceptualLoss`.
        options: further keywords of the extractor.

    Raises:
        InputError: a negative `spatial_weight`, or `max_points` that is not positive.
        ChoiceError: an unknown network or tap.

    Differs from the paper: its second term, the same on patches of pixels, is left out. The taps, the unit of positions
    and the centring could not be confirmed in released code. The bound on the points is the contextual loss's.

    Reference: "Zoom to learn, learn to zoom", Zhang, Chen, Ng and Koltun, 2019, https://arxiv.org/abs/1905.05169

    Example:
        >>> import torch
        >>> from opsin.published.contextual import cobi
        >>> loss = cobi("vgg19", "random")
        >>> x = torch.rand(1, 3, 32, 32)
        >>> bool(loss(x, x) < loss(x, 1 - x))
        True
    """
    extractor = as_extractor(net, weights, **options)
    distance = ContextualBilateral(spatial_weight, max_points, generator)
    chosen = {"relu1_2": 1.0, "relu2_2": 1.0, "relu3_2": 1.0} if layers is None else layers
    return PerceptualLoss(
        [Term(extractor, tap, distance, weight, reference) for tap, weight in chosen.items()],
        name=name,
        reduction=reduction,
        input_range=input_range,
        validate=validate,
    )
