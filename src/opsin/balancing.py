"""Weights that let every term have a say."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from opsin.errors import InputError
from opsin.loss import PerceptualLoss
from opsin.results import Targets


def balance(loss: PerceptualLoss, x: Tensor, targets: Targets | None = None, **references: Tensor) -> dict[str, float]:
    """Weights that give every term the same gradient norm on a batch.

    wᵢ = s / ||∂ mean_n dᵢ / ∂x||, where s keeps Σ |wᵢ| ||∂dᵢ/∂x|| what it is with the present weights, so that a
    learning rate that was right stays about right. Terms of weight 0 keep it; a negative weight stays negative.

    Args:
        loss: the loss; it is not changed: `loss.reweighted(opsin.balance(loss, x, ...))` is the balanced one.
        x: a typical batch, e.g. outputs of the network in training.
        targets: kept statistics; see `PerceptualLoss.evaluate`.
        references: images to compare with.

    Returns:
        Term name -> weight.

    Raises:
        InputError: a term has no gradient on this batch, e.g. because x equals its reference.
    """
    x = x.detach().clone().requires_grad_(True)
    named: dict[str, Any] = dict(references)
    with torch.enable_grad():
        terms = loss.evaluate(x, targets, **named).terms
        norms = {}
        for name, weight in loss.weights.items():
            if weight:
                (gradient,) = torch.autograd.grad(terms[name].mean(), x, retain_graph=True)
                norms[name] = float(torch.linalg.vector_norm(gradient))
    for name, norm in norms.items():
        if not 0 < norm < float("inf"):
            raise InputError(
                f"every term must have a finite gradient other than 0, got {norm} for {name!r}. "
                "Take a batch that differs from its reference."
            )
    share = sum(abs(loss.weights[name]) * norm for name, norm in norms.items()) / max(len(norms), 1)
    signs = {name: 1.0 if weight > 0 else -1.0 for name, weight in loss.weights.items()}
    return {name: signs[name] * share / norms[name] if weight else 0.0 for name, weight in loss.weights.items()}
