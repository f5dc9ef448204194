"""Several losses of one image and its reference, on one pass of each network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from opsin.errors import InputError
from opsin.loss import PerceptualLoss
from opsin.results import Evaluation


def joined(losses: Mapping[str, PerceptualLoss]) -> PerceptualLoss:
    """One loss with the terms of several, each under its loss's name; networks that they have in common run once.

    Args:
        losses: by name.

    Raises:
        InputError: none.

    Example:
        >>> import opsin
        >>> losses = {name: opsin.published.focal_frequency() for name in ("a", "b")}
        >>> x, y = torch.rand(2, 2, 3, 16, 16)
        >>> list(totals(joined(losses).evaluate(x, target=y), joined(losses)))
        ['a', 'b']
    """
    if not losses:
        raise InputError("losses must be one at least, got none. E.g. vgg19-cosine.")
    return PerceptualLoss([replace(t, group=name) for name, loss in losses.items() for t in loss.terms.values()])


def totals(found: Evaluation, loss: PerceptualLoss) -> dict[str, Tensor]:
    """Of what a joined loss has found the value (N,) of each that it was joined of, by name."""
    shares: dict[str, list[Tensor]] = {}
    for name, term in loss.terms.items():
        shares.setdefault(term.group, []).append(term.weight * found.terms[name])
    return {name: torch.stack(values).sum(dim=0) for name, values in shares.items()}
