"""The feature and the style reconstruction loss of Johnson, Alahi and Fei-Fei."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from opsin.checks import choice
from opsin.distances import L2, Gram
from opsin.extractors import Extractor, as_extractor
from opsin.loss import PerceptualLoss
from opsin.terms import Term

FEATURE_LAYERS: Mapping[str, str] = MappingProxyType({"code": "relu3_3", "paper": "relu2_2"})
STYLE_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")


def johnson_feature(
    net: str | Extractor = "vgg16",
    weights: str | os.PathLike[str] | None = "official",
    *,
    layers: Mapping[str, float] | None = None,
    variant: str = "code",
    reference: str = "target",
    name: str = "johnson_feature",
    reduction: str = "mean",
    input_range: tuple[float, float] = (0.0, 1.0),
    validate: str = "first",
    **options: Any,
) -> PerceptualLoss:
    """Mean squared difference of features: Σ_l w_l ||F_l(x) - F_l(y)||² / CHW.

    Shape: x (N,3,H,W), y (N or 1,3,H,W) -> scalar, or (N,) with `reduction="none"`.

    Range: [0, ∞), 0 for equal images.

    Args:
        net: a network's name, or an extractor.
        weights: "bundled", "official", "random" or a path.
        layers: tap -> weight. None takes weight 1 at relu3_3 ("code") or relu2_2 ("paper").
        variant: "code" or "paper", see below.
        reference: the name of the images to compare with.
        name: prefix of the terms' names when the loss is added to others.
        reduction: see `PerceptualLoss`.
        input_range: see `PerceptualLoss`.
        validate: see `PerceptualLoss`.
        options: further keywords of the extractor: `pooling`, `padding`, `normalization`, `seed`.

    Raises:
        ChoiceError: an unknown variant, network, tap or weights name.
        WeightsError: weights that are not there.
        InputError: options out of range.

    Differs from the paper: it takes relu2_2, the released code relu3_3, as the default does here.
    The authors' network is VGG-16 with its original (caffe) weights. "official" is torchvision's, whose features are
    smaller, so that the balance of content and style is another; a file of the original weights with
    `normalization="caffe"` gives theirs.

    Reference: "Perceptual losses for real-time style transfer and super-resolution", Johnson, Alahi and Fei-Fei, 2016,
    https://arxiv.org/abs/1603.08155

    Example:
        >>> import torch
        >>> from opsin.published.johnson import johnson_feature
        >>> loss = johnson_feature(weights="random")
        >>> x, y = torch.rand(2, 1, 3, 32, 32)
        >>> bool(loss(x, y) > 0)
        True
    """
    tap = FEATURE_LAYERS[choice("variant", variant, FEATURE_LAYERS)]
    layers = {tap: 1.0} if layers is None else layers
    distance = L2()
    extractor = as_extractor(net, weights, **options)
    return PerceptualLoss(
        [Term(extractor, tap, distance, weight, reference) for tap, weight in layers.items()],
        reduction=reduction,
        input_range=input_range,
        validate=validate,
        name=name,
    )


def johnson_style(
    net: str | Extractor = "vgg16",
    weights: str | os.PathLike[str] | None = "official",
    *,
    layers: Mapping[str, float] | None = None,
    variant: str = "code",
    reference: str = "style",
    name: str = "johnson_style",
    reduction: str = "mean",
    input_range: tuple[float, float] = (0.0, 1.0),
    validate: str = "first",
    **options: Any,
) -> PerceptualLoss:
    """Squared difference of Gram matrices: Σ_l w_l mean (G_l(x) - G_l(y))², G = F Fᵀ / CHW.

    The mean is over C² ("code"); "paper" has the sum.

    Shape: x (N,3,H,W), reference (N or 1,3,H',W') -> scalar, or (N,) with `reduction="none"`.

    Range: [0, ∞), 0 for equal images.

    Args:
        net: a network's name, or an extractor.
        weights: "bundled", "official", "random" or a path.
        layers: tap -> weight. None takes weight 5 at relu1_2, relu2_2, relu3_3 and relu4_3.
        variant: "code" or "paper", see below.
        reference: the name of the images to compare with.
        name: prefix of the terms' names when the loss is added to others.
        reduction: see `PerceptualLoss`.
        input_range: see `PerceptualLoss`.
        validate: see `PerceptualLoss`.
        options: further keywords of the extractor: `pooling`, `padding`, `normalization`, `seed`.

    Raises:
        ChoiceError: an unknown variant, network, tap or weights name.
        WeightsError: weights that are not there.
        InputError: options out of range.

    Differs from the paper: it sums over C², the released code averages, as the default does here.
    The authors' network is VGG-16 with its original (caffe) weights. "official" is torchvision's, whose features are
    smaller, so that the balance of content and style is another; a file of the original weights with
    `normalization="caffe"` gives theirs.

    Reference: "Perceptual losses for real-time style transfer and super-resolution", Johnson, Alahi and Fei-Fei, 2016,
    https://arxiv.org/abs/1603.08155

    Example:
        >>> import torch
        >>> from opsin.published.johnson import johnson_style
        >>> loss = johnson_style(weights="random")
        >>> x, y = torch.rand(2, 1, 3, 32, 32)
        >>> bool(loss(x, y) > 0)
        True
    """
    over = {"code": "mean", "paper": "sum"}
    gram = Gram("chw", over[choice("variant", variant, over)])
    layers = dict.fromkeys(STYLE_LAYERS, 5.0) if layers is None else layers
    extractor = as_extractor(net, weights, **options)
    return PerceptualLoss(
        [Term(extractor, tap, gram, weight, reference) for tap, weight in layers.items()],
        reduction=reduction,
        input_range=input_range,
        validate=validate,
        name=name,
    )
