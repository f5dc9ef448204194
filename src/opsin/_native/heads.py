"""The mean squared difference of unit vectors, which is what a layer of LPIPS is, as an operator of torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from opsin._native import library
from opsin._native.operators import operator


def takes_unit_l2(x: Tensor, y: Tensor) -> bool:
    """Whether `unit_l2` is for these: maps of one size, of which y needs no gradient, float32 on the CPU."""
    return (
        x.ndim == y.ndim == 4
        and x.shape[1:] == y.shape[1:]
        and y.shape[0] in (1, x.shape[0])
        and x.numel() > 0
        and not y.requires_grad
        and library.takes(x, y)
    )


@operator("(Tensor x, Tensor y, Tensor? weights, float eps) -> Tensor")
def unit_l2(x: Tensor, y: Tensor, weights: Tensor | None, eps: float) -> Tensor:
    """Mean over positions of Σ_c w_c (x/(|x|+eps) - y/(|y|+eps))²; differentiable by x alone.

    Shape: (N,C,H,W), (N or 1,C,H,W), (C,) -> (N,).
    """
    return library.unit_l2(x, y, weights, eps)


@operator("(Tensor grad, Tensor x, Tensor y, Tensor? weights, float eps) -> Tensor")
def unit_l2_backward(grad: Tensor, x: Tensor, y: Tensor, weights: Tensor | None, eps: float) -> Tensor:
    """Gradient by x, out of the gradient by the value."""
    return library.unit_l2_backward(grad, x, y, weights, eps)


@torch.library.register_fake("opsin::unit_l2")
def _(x: Tensor, y: Tensor, weights: Tensor | None, eps: float) -> Tensor:
    return x.new_empty(x.shape[0])


@torch.library.register_fake("opsin::unit_l2_backward")
def _(grad: Tensor, x: Tensor, y: Tensor, weights: Tensor | None, eps: float) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None, float], output: Tensor) -> None:
    *tensors, ctx.eps = inputs
    # The maps are there anyway, as features: no unit vectors, no lengths.
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
    x, y, weights = ctx.saved_tensors
    gradient = _differentiable_gradient if torch.is_grad_enabled() else unit_l2_backward
    return gradient(grad, x, y, weights, ctx.eps), None, None, None


def _differentiable_gradient(grad: Tensor, x: Tensor, y: Tensor, weights: Tensor | None, eps: float) -> Tensor:
    """What `unit_l2_backward` computes, in torch's operations, for gradients of gradients."""
    lengths = [torch.linalg.vector_norm(v, dim=1, keepdim=True) for v in (x, y)]
    a, b = (torch.where(length > 0, 1.0 / (length + eps), 0.0) for length in lengths)
    slope = (2.0 / (x.shape[2] * x.shape[3])) * grad.reshape(-1, 1, 1, 1) * (x * a - y * b)
    if weights is not None:
        slope = slope * weights.reshape(1, -1, 1, 1)
    inward = (slope * x).sum(dim=1, keepdim=True) * a * a / torch.where(lengths[0] > 0, lengths[0], 1.0)
    return slope * a - inward * x


torch.library.register_autograd("opsin::unit_l2", _backward, setup_context=_keep)
