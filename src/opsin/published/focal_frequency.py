"""Focal frequency loss."""

from __future__ import annotations

import os
from typing import Any

from opsin.distances.frequency import FocalFrequency
from opsin.extractors import Extractor, as_extractor
from opsin.loss import PerceptualLoss
from opsin.terms import Term


def focal_frequency(
    net: str | Extractor = "image",
    weights: str | os.PathLike[str] | None = None,
    *,
    tap: str = "image",
    alpha: float = 1.0,
    patch_factor: int = 1,
    log_weight: bool = False,
    reference: str = "target",
    name: str = "focal_frequency",
    reduction: str = "mean",
    input_range: tuple[float, float] = (0.0, 1.0),
    validate: str = "first",
    **options: Any,
) -> PerceptualLoss:
    """Squared difference of the images' spectra that dwells on the frequencies still wrong: mean_{c,u,v} w |Δ|².

    Δ = FFT2(x - y) / sqrt(HW), w = |Δ|^α / max_{u,v} |Δ|^α for each image and channel; no gradient flows through w.

    Shape: x (N,3,H,W), y (N or 1,3,H,W) -> scalar, or (N,) with `reduction="none"`.

    Range: [0, 1] for images in [0,1], 0 for equal ones; at most their mean squared difference.

    Args:
        net: "image", the pixels themselves; or a network's name or an extractor, whose feature maps are compared.
        weights: of the network, if there is one: "bundled", "official", "random" or a path.
        tap: what is compared.
        alpha: α ≥ 0; the higher, the more the worst frequencies count.
        patch_factor: cut the images into this many rows and columns, each patch with a spectrum of its own.
        log_weight: w from log(1 + |Δ|^α) in place of |Δ|^α.
        reference: the name of the images to compare with.
        name: prefix of the terms' names when the loss is added to others.
        reduction: see `PerceptualLoss`.
        input_range: see `PerceptualLoss`.
        validate: see `PerceptualLoss`.
        options: further keywords of the extractor: `pooling`, `padding`, `normalization`, `seed`.

    Raises:
        ChoiceError: an unknown network, tap or weights name.
        InputError: options out of range; on a call, images of different size or that `patch_factor` does not divide.

    Differs from the paper: the released code's options to average spectra or to take the maximum over the batch are
    left out; with them an image's value depends on the others of its batch.

    Reference: "Focal frequency loss for image reconstruction and synthesis", Jiang, Dai, Wu and Loy, 2021,
    https://arxiv.org/abs/2012.12821

    Example:
        >>> import torch
        >>> from opsin.published.focal_frequency import focal_frequency
        >>> x, y = torch.rand(2, 1, 3, 32, 32)
        >>> bool(focal_frequency()(x, y) < (x - y).square().mean())
        True
    """
    distance = FocalFrequency(alpha, patch_factor, log_weight)
    return PerceptualLoss(
        [Term(as_extractor(net, weights, **options), tap, distance, 1.0, reference)],
        reduction=reduction,
        input_range=input_range,
        validate=validate,
        name=name,
    )
