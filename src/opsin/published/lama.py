"""The high receptive field perceptual loss of LaMa."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from opsin.distances import L2
from opsin.errors import InputError
from opsin.extractors import Extractor, as_extractor
from opsin.loss import PerceptualLoss
from opsin.terms import Term

TAPS = ("layer1", "layer2", "layer3", "layer4")


def lama_hrf(
    net: str | Extractor,
    weights: str | os.PathLike[str] | None = None,
    *,
    taps: Iterable[str] = TAPS,
    factor: float = 30.0,
    reference: str = "target",
    name: str = "lama_hrf",
    reduction: str = "mean",
    input_range: tuple[float, float] = (0.0, 1.0),
    validate: str = "first",
    **options: Any,
) -> PerceptualLoss:
    """Mean squared differences of features of a high receptive field: 30 · Σ_l mean (F_l(x) - F_l(y))².

    The paper's network is a ResNet-50 with dilated convolutions, trained on ADE20K for semantic segmentation, its taps
    the four stages. opsin has no such weights: hand the network in, as `opsin.ModuleExtractor(net)`.

    Shape: x (N,3,H,W), y (N or 1,3,H,W) -> scalar, or (N,) with `reduction="none"`.

    Range: [0, ∞), 0 for equal images.

    Args:
        net: an extractor of the network, or a name.
        weights: of a network by name.
        taps: names of the feature maps compared.
        factor: the 30 in front.
        reference: the name of the images to compare with.
        name: prefix of the terms' names when the loss is added to others.
        reduction: see `PerceptualLoss`.
        input_range: see `PerceptualLoss`.
        validate: see `PerceptualLoss`.
        options: further keywords of the extractor.

    Raises:
        ChoiceError: an unknown network, tap or weights name.
        InputError: no taps.

    Differs from the paper: the network is the caller's, with any weights.

    Reference: "Resolution-robust large mask inpainting with Fourier convolutions", Suvorov et al., 2022,
    https://arxiv.org/abs/2109.07161

    Example:
        >>> import torch, opsin
        >>> from torch import nn
        >>> from opsin.published.lama import lama_hrf
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=2, dilation=2), nn.ReLU())
        >>> loss = lama_hrf(opsin.ModuleExtractor(net), taps=["0", "1"])
        >>> x, y = torch.rand(2, 1, 3, 32, 32)
        >>> bool(loss(x, y) > loss(y, y))
        True
    """
    extractor = as_extractor(net, weights, **options)
    chosen = extractor.check_taps(taps if isinstance(taps, str) else list(taps))
    if not chosen:
        raise InputError("taps must be one name or more, got none. E.g. ['layer1', 'layer2'].")
    return PerceptualLoss(
        [Term(extractor, tap, L2(), factor, reference) for tap in chosen],
        reduction=reduction,
        input_range=input_range,
        validate=validate,
        name=name,
    )
