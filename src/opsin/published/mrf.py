"""The Markov random field loss of CNNMRF: patches of features and their nearest neighbours."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from opsin.distances.matching import PatchMatch
from opsin.extractors import Extractor, as_extractor
from opsin.loss import PerceptualLoss
from opsin.terms import Term


def mrf(
    net: str | Extractor = "vgg19",
    weights: str | os.PathLike[str] | None = "bundled",
    *,
    layers: Mapping[str, float] | None = None,
    size: int = 3,
    patch_reduction: str = "sum",
    reference: str = "style",
    name: str = "mrf",
    reduction: str = "mean",
    input_range: tuple[float, float] = (0.0, 1.0),
    validate: str = "first",
    **options: Any,
) -> PerceptualLoss:
    """Markov random field loss Σ_i ||Ψ_i(x) - Ψ_NN(i)(y)||² over patches Ψ of feature maps, summed over taps.

    NN(i) = argmax_j Ψ_i(x)·Ψ_j(y) / (|Ψ_i(x)| |Ψ_j(y)|), found anew on each call and constant for the gradient.

    Shape: x (N,3,H,W), the reference (N or 1,3,H',W') -> as `PerceptualLoss`.

    Range: [0, ∞), in squared units of the features. 0 up to rounding for equal images.

    Args:
        net: a network's name, or an extractor.
        weights: of the network; ignored if `net` is an extractor.
        layers: tap -> weight; relu3_1 and relu4_1 with weight 1 if None.
        size: patches are size×size positions.
        patch_reduction: "sum", or "mean" over patches and their entries, which does not grow with the image.
        reference: the name of the images to compare with.
        name: prefix of the terms' names when the loss is added to others.
        reduction: over the batch, see `PerceptualLoss`.
        input_range: see `PerceptualLoss`.
        validate: see `PerceptualLoss`.
        options: further keywords of the extractor.

    Raises:
        ChoiceError: an unknown network, tap or reduction.
        InputError: `size` is no positive whole number; an image in whose feature map no patch fits.

    Differs from the paper: content loss and total variation are left to the caller, and the reference is taken as it
    is, not in several rotations and scales.

    Reference: "Combining Markov random fields and convolutional neural networks for image synthesis", Li and Wand,
    2016, https://arxiv.org/abs/1601.04589

    Example:
        >>> import torch
        >>> from opsin.published.mrf import mrf
        >>> loss = mrf("vgg19", "random")
        >>> loss(torch.rand(1, 3, 32, 32), style=torch.rand(1, 3, 40, 48)).ndim
        0
    """
    extractor = as_extractor(net, weights, **options)
    distance = PatchMatch(size, patch_reduction)
    chosen = {"relu3_1": 1.0, "relu4_1": 1.0} if layers is None else layers
    return PerceptualLoss(
        [Term(extractor, tap, distance, weight, reference) for tap, weight in chosen.items()],
        name=name,
        reduction=reduction,
        input_range=input_range,
        validate=validate,
    )
