"""The nearest neighbour feature matching loss of artistic radiance fields."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from opsin.distances.matching import NearestFeature
from opsin.extractors import Extractor, as_extractor
from opsin.loss import PerceptualLoss
from opsin.terms import Term


def nnfm(
    net: str | Extractor = "vgg16",
    weights: str | os.PathLike[str] | None = "official",
    *,
    taps: Sequence[str] = ("relu3_1", "relu3_2", "relu3_3"),
    reference: str = "style",
    name: str = "nnfm",
    reduction: str = "mean",
    input_range: tuple[float, float] = (0.0, 1.0),
    validate: str = "first",
    **options: Any,
) -> PerceptualLoss:
    """Nearest neighbour feature matching: mean_i min_j (1 - cos(x_i, y_j)), of the features of all taps concatenated.

    Shape: x (N,3,H,W), the reference (N or 1,3,H',W') -> as `PerceptualLoss`.

    Range: [0, 1], as features after a ReLU have no obtuse angles. 0 for equal images.

    Args:
        net: a network's name, or an extractor.
        weights: of the network; ignored if `net` is an extractor.
        taps: of one block, so that their maps have one size.
        reference: the name of the images to compare with.
        name: prefix of the term's name when the loss is added to others.
        reduction: see `PerceptualLoss`.
        input_range: see `PerceptualLoss`.
        validate: see `PerceptualLoss`.
        options: further keywords of the extractor.

    Raises:
        ChoiceError: an unknown network or tap.
        InputError: taps whose maps differ in size (on the first call).

    Differs from the paper: there the images are views rendered of a scene, and a content loss is added.

    Reference: "ARF: artistic radiance fields", Zhang et al., 2022, https://arxiv.org/abs/2206.06360

    Example:
        >>> import torch
        >>> from opsin.published.nnfm import nnfm
        >>> loss = nnfm("vgg16", "random")
        >>> loss(torch.rand(1, 3, 32, 32), style=torch.rand(1, 3, 24, 40)).ndim
        0
    """
    extractor = as_extractor(net, weights, **options)
    return PerceptualLoss(
        [Term(extractor, tuple(taps), NearestFeature(), 1.0, reference)],
        name=name,
        reduction=reduction,
        input_range=input_range,
        validate=validate,
    )
