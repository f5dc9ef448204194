"""DISTS: deep image structure and texture similarity."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from opsin.distances.learned import StructureTexture
from opsin.errors import InputError
from opsin.extractors import Extractor, as_extractor
from opsin.extractors.resized import Resized
from opsin.loss import PerceptualLoss
from opsin.terms import Term

# Tap -> channels, in the order of the published weights.
STAGES = {"image": 3, "relu1_2": 64, "relu2_2": 128, "relu3_3": 256, "relu4_3": 512, "relu5_3": 512}


def dists(
    net: str | Extractor = "vgg16",
    weights: str | os.PathLike[str] | None = "official",
    *,
    resize: int | None = 256,
    c: float = 1e-6,
    reference: str = "target",
    name: str = "dists",
    reduction: str = "mean",
    input_range: tuple[float, float] = (0.0, 1.0),
    validate: str = "first",
    **options: Any,
) -> PerceptualLoss:
    """DISTS: the statistics of each channel compared, so that one texture may stand for another like it.

    D(x, y) = 1 - Σ_k Σ_c (α_kc l_kc + β_kc s_kc), Σα + Σβ = 1, over the image itself and five layers of a VGG-16 with
    blurred L2 pooling; l and s are those of `StructureTexture`. Each stage k is a term, Σ_c α(1 - l) + β(1 - s), and D
    is their sum.

    Shape: x (N,3,H,W), y (N or 1,3,H,W) -> scalar, or (N,) with `reduction="none"`.

    Range: [0, 1] but for anticorrelated channels (at most 1 + Σβ = 1.124); 0 for equal images. It is symmetric.

    Args:
        net: "vgg16", or an extractor of VGG-16 with `pooling="l2"`.
        weights: of the network: "official", "random" or a path. α and β belong to the official ones.
        resize: the shorter side to which larger images are brought first; None compares them as they are. Published
            numbers differ exactly here.
        c: the constant that keeps the fractions finite.
        reference: the name of the images to compare with.
        name: prefix of the terms' names when the loss is added to others.
        reduction: see `PerceptualLoss`.
        input_range: see `PerceptualLoss`.
        validate: see `PerceptualLoss`.
        options: further keywords of the extractor, such as `padding`.

    Raises:
        InputError: another network or pooling.
        WeightsError: weights that are not there.

    Differs from the paper: the authors' code resizes in a helper for image files, by Pillow on 8 bits; here the loss
    does, without rounding to 8 bits, and gradients flow through it.

    Reference: "Image quality assessment: unifying structure and texture similarity", Ding, Ma, Wang and Simoncelli,
    2020, https://arxiv.org/abs/2004.07728

    Example:
        >>> import torch
        >>> loss = dists(weights="random")
        >>> x, y = torch.rand(2, 1, 3, 32, 32)
        >>> bool(loss(x, y) > 0), float(loss(y, y))
        (True, 0.0)
    """
    if not isinstance(net, Extractor):
        options.setdefault("pooling", "l2")
    extractor = as_extractor(net, weights, **options)
    spec = extractor.spec
    if (spec.network, spec.pooling) != ("vgg16", "l2"):
        raise InputError(
            f"net must be VGG-16 with L2 pooling, which the weights of DISTS were learned for, "
            f"got {spec.network} with pooling={spec.pooling!r}. "
            "Leave it out, or pass opsin.VGG('vgg16', weights='official', pooling='l2')."
        )
    if resize is not None:
        extractor = Resized(extractor, resize)
    state = load_file(Path(__file__).parent / "data" / "dists.safetensors")
    alpha, beta = state["alpha"].double(), state["beta"].double()
    # Their sum is 1 but for the last digits of float32.
    total = alpha.sum() + beta.sum()
    parts = [w.split(list(STAGES.values())) for w in (alpha / total, beta / total)]
    distances = [StructureTexture(a, b, c) for a, b in zip(*parts, strict=True)]
    return PerceptualLoss(
        [Term(extractor, tap, d, reference=reference) for tap, d in zip(STAGES, distances, strict=True)],
        name=name,
        reduction=reduction,
        input_range=input_range,
        validate=validate,
    )
