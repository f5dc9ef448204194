"""Max pooling by 2×2 without a tensor of indices, as an operator of torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from opsin._native import library
from opsin._native.operators import operator, unpack_bits


def pool(layer: nn.MaxPool2d, x: Tensor) -> Tensor:
    """layer(x), by the native operator where that is for it: 2×2, rounding down, float32 on the CPU.

    Shape: (N,C,H,W) -> (N,C,H',W').
    """
    geometry = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    plain = all(value in (n, (n, n)) for value, n in zip(geometry, (2, 2, 0, 1), strict=True)) and not (
        layer.ceil_mode or layer.return_indices or layer._forward_hooks or layer._forward_pre_hooks
    )
    if plain and x.ndim == 4 and x.numel() > 0 and min(x.shape[2:]) > 1 and library.takes(x):
        return max_pool2x2(x)[0]
    return layer(x)


@operator("(Tensor x) -> (Tensor, Tensor)")
def max_pool2x2(x: Tensor) -> tuple[Tensor, Tensor]:
    """Maximum of each 2×2 positions, and its place; see `library.max_pool`."""
    return library.max_pool(x)


@operator("(Tensor grad, Tensor places, SymInt height, SymInt width) -> Tensor")
def max_pool2x2_backward(grad: Tensor, places: Tensor, height: int, width: int) -> Tensor:
    """Gradient by x, of that height and width, out of the gradient by the output."""
    return library.max_pool_backward(grad, places, height, width)


@torch.library.register_fake("opsin::max_pool2x2")
def _(x: Tensor) -> tuple[Tensor, Tensor]:
    n, c, h, w = x.shape[0], x.shape[1], x.shape[2] // 2, x.shape[3] // 2
    y = torch.empty((n, c, h, w), dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    return y, torch.empty((n, h, w, 2, library.bit_bytes(c)), dtype=torch.uint8, device=x.device)


@torch.library.register_fake("opsin::max_pool2x2_backward")
def _(grad: Tensor, places: Tensor, height: int, width: int) -> Tensor:
    shape = (*grad.shape[:2], height, width)
    return torch.empty(shape, dtype=grad.dtype, device=grad.device, memory_format=torch.channels_last)


def _keep(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
    ctx.size = inputs[0].shape[2:]
    # Not the input, which is sixteen times as large: where nobody else wants it, it goes.
    ctx.save_for_backward(output[1])


def _backward(ctx: Any, grad: Tensor, _: Any) -> Tensor:
    return max_pool2x2_backward(grad, ctx.saved_tensors[0], *ctx.size)


def _keep_places(ctx: Any, inputs: tuple[Tensor, Tensor, int, int], output: Tensor) -> None:
    ctx.save_for_backward(inputs[1])


def _backward_twice(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
    # The gradient is linear in the gradient behind it: that of each maximum is taken from where it was.
    (places,) = ctx.saved_tensors
    (n, c), (h, w) = grad.shape[:2], places.shape[1:3]
    of_each = F.pixel_unshuffle(grad[..., : 2 * h, : 2 * w], 2).reshape(n, c, 4, h, w)
    right, below = (unpack_bits(places[..., i, :], c) for i in (0, 1))
    index = (right.long() + 2 * below.long()).unsqueeze(2)
    return of_each.gather(2, index).squeeze(2), None, None, None


torch.library.register_autograd("opsin::max_pool2x2", _backward, setup_context=_keep)
torch.library.register_autograd("opsin::max_pool2x2_backward", _backward_twice, setup_context=_keep_places)
