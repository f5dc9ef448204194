"""The content and style losses of Gatys, Ecker and Bethge."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from opsin.checks import choice
from opsin.distances import L2, Distance, Gram
from opsin.distances.style import HalfSquaredError
from opsin.extractors import Extractor, as_extractor
from opsin.loss import PerceptualLoss
from opsin.terms import Term

VARIANTS = ("code", "paper")
CONTENT_LAYER = "relu4_2"
STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
_WIDTHS = (64, 128, 256, 512, 512)


def gatys_content(
    net: str | Extractor = "vgg19",
    weights: str | os.PathLike[str] | None = "bundled",
    *,
    layers: Mapping[str, float] | None = None,
    variant: str = "code",
    reference: str = "target",
    name: str = "gatys_content",
    reduction: str = "mean",
    input_range: tuple[float, float] = (0.0, 1.0),
    validate: str = "first",
    **options: Any,
) -> PerceptualLoss:
    """Squared difference of features at relu4_2: mean (F(x) - F(y))² ("code"), or ½ Σ (F(x) - F(y))² ("paper").

    Shape: x (N,3,H,W), y (N or 1,3,H,W) -> scalar, or (N,) with `reduction="none"`.

    Range: [0, ∞), 0 for equal images.

    Args:
        net: a network's name, or an extractor.
        weights: "bundled", "official", "random" or a path.
        layers: tap -> weight. None takes weight 1 at relu4_2.
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

    Differs from the paper: there half of the sum is taken, in the authors' released code the mean, as the default does
    here. The paper says conv4_2; in its network the ReLU overwrites that map, so it is relu4_2.

    Reference: "Image style transfer using convolutional neural networks", Gatys, Ecker and Bethge, 2016,
    https://arxiv.org/abs/1508.06576

    Example:
        >>> import torch
        >>> from opsin.published.gatys import gatys_content
        >>> loss = gatys_content(weights="random")
        >>> x, y = torch.rand(2, 1, 3, 32, 32)
        >>> bool(loss(x, y) > 0)
        True
    """
    layers, distance = _content(layers, variant)
    extractor = as_extractor(net, weights, **options)
    return PerceptualLoss(
        [Term(extractor, tap, distance, weight, reference) for tap, weight in layers.items()],
        reduction=reduction,
        input_range=input_range,
        validate=validate,
        name=name,
    )


def gatys_style(
    net: str | Extractor = "vgg19",
    weights: str | os.PathLike[str] | None = "bundled",
    *,
    layers: Mapping[str, float] | None = None,
    variant: str = "code",
    reference: str = "style",
    name: str = "gatys_style",
    reduction: str = "mean",
    input_range: tuple[float, float] = (0.0, 1.0),
    validate: str = "first",
    **options: Any,
) -> PerceptualLoss:
    """Squared difference of Gram matrices G = F Fᵀ / M, M = H·W: Σ_l w_l mean (G_l(x) - G_l(y))².

    The mean is over C². "code": w_l = 1e3/C². "paper": w_l = (1/5)(1/4), which makes (1/5) Σ (F Fᵀ - A)² / 4C²M².

    Shape: x (N,3,H,W), reference (N or 1,3,H',W') -> scalar, or (N,) with `reduction="none"`.

    Range: [0, ∞), 0 for equal images.

    Args:
        net: a network's name, or an extractor.
        weights: "bundled", "official", "random" or a path.
        layers: tap -> weight. None takes the above at relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1, C being the
            widths of VGG.
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

    Differs from the paper: the weights of the authors' released code are the default. Each Gram matrix is divided by
    its own image's M, so that the images may differ in size; the paper has one M. It says conv1_1 and so on; in its
    network the ReLU overwrites these maps, so they are relu1_1 and so on. The weights are for the original (caffe)
    weights, which "bundled" are; torchvision's features are smaller.

    Reference: "Image style transfer using convolutional neural networks", Gatys, Ecker and Bethge, 2016,
    https://arxiv.org/abs/1508.06576

    Example:
        >>> import torch
        >>> from opsin.published.gatys import gatys_style
        >>> loss = gatys_style(weights="random")
        >>> x, y = torch.rand(2, 1, 3, 32, 32)
        >>> bool(loss(x, y) > 0)
        True
    """
    layers = _style(layers, variant)
    extractor = as_extractor(net, weights, **options)
    return PerceptualLoss(
        [Term(extractor, tap, Gram("hw"), weight, reference) for tap, weight in layers.items()],
        reduction=reduction,
        input_range=input_range,
        validate=validate,
        name=name,
    )


def gatys(
    net: str | Extractor = "vgg19",
    weights: str | os.PathLike[str] | None = "bundled",
    *,
    content_layers: Mapping[str, float] | None = None,
    style_layers: Mapping[str, float] | None = None,
    content_weight: float = 1.0,
    style_weight: float | None = None,
    variant: str = "code",
    reference: str = "target",
    name: str = "gatys",
    reduction: str = "mean",
    input_range: tuple[float, float] = (0.0, 1.0),
    validate: str = "first",
    **options: Any,
) -> PerceptualLoss:
    """Style transfer: α · content loss + β · style loss, of `gatys_content` and `gatys_style`, in one network pass.

    Its terms are "content/relu4_2" and "style/relu1_1" to "style/relu5_1". The style's images are handed in as `style`.

    Shape: x (N,3,H,W), target (N or 1,3,H,W), style (N or 1,3,H',W') -> scalar, or (N,) with `reduction="none"`.

    Range: [0, ∞), 0 where all three images are equal.

    Args:
        net: a network's name, or an extractor.
        weights: "bundled", "official", "random" or a path.
        content_layers: `layers` of `gatys_content`.
        style_layers: `layers` of `gatys_style`.
        content_weight: α.
        style_weight: β. None takes 1 ("code") or 1e3 ("paper").
        variant: "code" or "paper", see below.
        reference: the name of the images that the content is compared with.
        name: as of any loss; the terms keep their own prefixes.
        reduction: see `PerceptualLoss`.
        input_range: see `PerceptualLoss`.
        validate: see `PerceptualLoss`.
        options: further keywords of the extractor: `pooling`, `padding`, `normalization`, `seed`.

    Raises:
        ChoiceError: an unknown variant, network, tap or weights name.
        WeightsError: weights that are not there.
        InputError: options out of range.

    Differs from the paper: see `gatys_content` and `gatys_style`. The paper's α/β = 1e-3 could not be confirmed in
    released code, whose weights are 1 and 1e3/C².

    Reference: "Image style transfer using convolutional neural networks", Gatys, Ecker and Bethge, 2016,
    https://arxiv.org/abs/1508.06576

    Example:
        >>> import torch
        >>> from opsin.published.gatys import gatys
        >>> loss = gatys(weights="random")
        >>> content, style = torch.rand(2, 1, 3, 32, 32)
        >>> bool(loss(content, content, style=style) > 0)
        True
    """
    content, distance = _content(content_layers, variant)
    styles = _style(style_layers, variant)
    if style_weight is None:
        style_weight = 1.0 if variant == "code" else 1e3
    extractor = as_extractor(net, weights, **options)
    terms = [Term(extractor, t, distance, content_weight * w, reference, group="content") for t, w in content.items()]
    terms += [Term(extractor, t, Gram("hw"), style_weight * w, "style", group="style") for t, w in styles.items()]

    return PerceptualLoss(
        terms,
        reduction=reduction,
        input_range=input_range,
        validate=validate,
        name=name,
    )


def _content(layers: Mapping[str, float] | None, variant: str) -> tuple[Mapping[str, float], Distance]:
    distance = L2() if choice("variant", variant, VARIANTS) == "code" else HalfSquaredError()
    return {CONTENT_LAYER: 1.0} if layers is None else layers, distance


def _style(layers: Mapping[str, float] | None, variant: str) -> Mapping[str, float]:
    choice("variant", variant, VARIANTS)
    if layers is not None:
        return layers
    return {t: 1e3 / c**2 if variant == "code" else 0.05 for t, c in zip(STYLE_LAYERS, _WIDTHS, strict=True)}
