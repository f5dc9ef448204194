"""Max pooling by 2×2 without a tensor of indices, as an operator of torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from opsin._native import library
from opsin._native.operators import operator


def pool(layer: nn.MaxPool2d, x: Tensor) -> Tensor:
    """layer(x), by the native operator where that is for it: 2×2, rounding down, float32 on the CPU.

    Shape: (N,C,H,W) -> (N,C,H',W').
    """
    geometry = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    plain = all(value in (n, (n, n)) for value, n in zip(geometry, (2, 2, 0, 1), strict=True)) and not (
        layer.ceil_mode or layer.return_indices or layer._forward_hooks or layer._forward_pre_hooks
    )
    if plain and x.ndim == 4 and x.numel() > 0 and min(x.shape[2:]) > 1 and library.takes(x):
        return max_pool2x2(x)
    return layer(x)


@operator("(Tensor x) -> Tensor")
def max_pool2x2(x: Tensor) -> Tensor:
    """Maximum of each 2×2 positions: (N,C,H,W) -> (N,C,H//2,W//2)."""
    return library.max_pool(x)


@operator("(Tensor grad, Tensor x) -> Tensor")
def max_pool2x2_backward(grad: Tensor, x: Tensor) -> Tensor:
    """Gradient by x, out of the gradient by the output."""
    return library.max_pool_backward(grad, x)


@torch.library.register_fake("opsin::max_pool2x2")
def _(x: Tensor) -> Tensor:
    shape = (*x.shape[:2], x.shape[2] // 2, x.shape[3] // 2)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


@torch.library.register_fake("opsin::max_pool2x2_backward")
def _(grad: Tensor, x: Tensor) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def _keep(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad: Tensor) -> Tensor:
    (x,) = ctx.saved_tensors
    if not torch.is_grad_enabled():
        return max_pool2x2_backward(grad, x)
    # In torch's operations, for gradients of gradients.
    _, places = F.max_pool2d(x.detach(), 2, return_indices=True)
    return F.max_unpool2d(grad, places, (2, 2), output_size=x.shape[2:])


torch.library.register_autograd("opsin::max_pool2x2", _backward, setup_context=_keep)
