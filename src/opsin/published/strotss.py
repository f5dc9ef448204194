"""The loss of STROTSS: style by relaxed optimal transport, content by self-similarity."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch

from opsin.checks import positive
from opsin.distances.matching import Moments, Palette, RelaxedEMD, SelfSimilarity
from opsin.errors import InputError
from opsin.extractors import Extractor, as_extractor
from opsin.loss import PerceptualLoss
from opsin.terms import Term

# The image and nine layers, whose features at one position make a hypercolumn.
TAPS = (
    "image",
    *("relu1_1", "relu1_2", "relu2_1", "relu2_2", "relu3_1", "relu3_2", "relu3_3", "relu4_3", "relu5_3"),
)


def strotss(
    net: str | Extractor = "vgg16",
    weights: str | os.PathLike[str] | None = "official",
    *,
    alpha: float = 16.0,
    taps: Sequence[str] = TAPS,
    max_points: int | None = 1024,
    generator: torch.Generator | None = None,
    content: str = "target",
    reference: str = "style",
    name: str = "strotss",
    reduction: str = "mean",
    input_range: tuple[float, float] = (0.0, 1.0),
    validate: str = "first",
    **options: Any,
) -> PerceptualLoss:
    """Style by relaxed optimal transport and self-similarity: (α l_c + l_r + l_m + l_p / max(α, 1)) / (α + 2).

    l_c: `SelfSimilarity` with the content image; l_r: `RelaxedEMD`, l_m: `Moments`, l_p: `Palette` with the style
    image. All but the palette compare hypercolumns: the features of all taps at a position, one vector.

    Shape: x (N,3,H,W), content (N or 1,3,H,W), style (N or 1,3,H',W') -> as `PerceptualLoss`.

    Range: [0, ∞). 0 if x, content and style are equal.

    Args:
        net: a network's name, or an extractor.
        weights: of the network; ignored if `net` is an extractor.
        alpha: α, the weight of content. The authors go from 64 to 512 pixels, and halve it, from 16, at each step.
        taps: of the hypercolumns.
        max_points: at most so many positions of an image, drawn anew on each call by each term; None takes all.
        generator: of the drawn positions; torch's global one if None.
        content: the name of the images whose content is kept.
        reference: the name of the images whose style is taken.
        name: prefix of the terms' names when the loss is added to others.
        reduction: see `PerceptualLoss`.
        input_range: see `PerceptualLoss`.
        validate: see `PerceptualLoss`.
        options: further keywords of the extractor.

    Raises:
        InputError: `alpha` or `max_points` is not positive, or both references have one name.
        ChoiceError: an unknown network or tap.

    Differs from the paper: points are drawn at random, of images of one size the same, and not on a shifted grid; each
    term draws its own. The covariance is divided by their number. The pyramid and the optimiser are the caller's.

    Reference: "Style transfer by relaxed optimal transport and self-similarity", Kolkin, Salavon and Shakhnarovich,
    2019, https://arxiv.org/abs/1904.12785

    Example:
        >>> import torch
        >>> from opsin.published.strotss import strotss
        >>> loss = strotss("vgg16", "random", alpha=4.0, max_points=64)
        >>> x = torch.rand(1, 3, 32, 32)
        >>> loss(x, x, style=torch.rand(1, 3, 40, 48)).ndim
        0
    """
    positive("alpha", alpha)
    if content == reference:
        raise InputError(f"content and reference must be two names, got {content!r} twice. E.g. 'target' and 'style'.")
    extractor = as_extractor(net, weights, **options)
    taps = tuple(taps)
    drawn: dict[str, Any] = {"max_points": max_points, "generator": generator}
    total = alpha + 2
    terms = [
        Term(extractor, taps, SelfSimilarity(**drawn), alpha / total, content, "self_similarity"),
        Term(extractor, taps, RelaxedEMD(**drawn), 1 / total, reference, "relaxed_emd"),
        Term(extractor, taps, Moments(**drawn), 1 / total, reference, "moments"),
        Term(extractor, "image", Palette(**drawn), 1 / (max(alpha, 1.0) * total), reference, "palette"),
    ]
    return PerceptualLoss(terms, name=name, reduction=reduction, input_range=input_range, validate=validate)
