"""3×3 convolutions with frozen weights: which algorithm, and the native one as an operator of torch.

Reference: "Fast algorithms for convolutional neural networks", Lavin and Gray, 2016, https://arxiv.org/abs/1509.09308
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from opsin._native import library
from opsin._native.operators import operator, unpack_bits
from opsin.checks import choice
from opsin.errors import InputError

ALGORITHMS = ("auto", "direct", "winograd")

# Filters ready for use, by the weights they were made of: four times their size. They go when the weights go, and are
# made anew when the weights have changed.
_packed = WeakTensorKeyDictionary()


def algorithm() -> str:
    """The algorithm that `OPSIN_CONV` asks for: "auto" (also if it isn't set), "direct" or "winograd".

    Raises:
        ChoiceError: another value.
        InputError: "winograd" without the native library.
    """
    name = choice("algorithm", os.environ.get("OPSIN_CONV") or "auto", ALGORITHMS, owner="OPSIN_CONV")
    if name == "winograd" and not library.available():
        raise InputError(
            f"OPSIN_CONV=winograd must have the native library, got none: {library.why_not()}. "
            "Leave OPSIN_CONV out to go without."
        )
    return name


def convolve(layer: nn.Conv2d, x: Tensor, *, relu: bool = False, algorithm: str = "auto") -> Tensor:
    """layer(x), or relu(layer(x)), by the algorithm named; directly where Winograd's does not apply.

    Shape: (N,C,H,W) -> (N,O,H',W').
    """
    if algorithm != "direct" and _applies(layer, x) and (algorithm == "winograd" or _wins(layer, x)):
        return conv3x3_relu(x, layer.weight, layer.bias, relu)[0]
    x = layer(x)
    return torch.relu_(x) if relu else x


def _applies(layer: nn.Conv2d, x: Tensor) -> bool:
    weight, bias = layer.weight, layer.bias
    return (
        layer.kernel_size == (3, 3)
        and layer.stride == layer.padding == layer.dilation == (1, 1)
        and layer.groups == 1
        and layer.padding_mode == "zeros"
        and not weight.requires_grad
        and not (bias is not None and bias.requires_grad)
        and not (layer._forward_hooks or layer._forward_pre_hooks)
        and library.takes(x, weight)
    )


def _wins(layer: nn.Conv2d, x: Tensor) -> bool:
    # The shipped table: what benchmarks/convolution.py --table found no slower, forward nor backward, at batches of 1
    # and 4, with AVX2 and with AVX-512.
    if library.level() == "default":
        return False
    channels, pixels = min(layer.in_channels, layer.out_channels), x.shape[2] * x.shape[3]
    if library.is_narrow(layer.weight):
        return layer.out_channels >= 32 and pixels >= 256 * 256
    return (channels >= 64 and pixels >= 16 * 16) or (channels >= 32 and pixels >= 24 * 24)


def _filters(weight: Tensor, *, backward: bool) -> Tensor:
    # Inference tensors count no versions: they cannot be changed but under inference_mode.
    state = (weight.data_ptr(), None if weight.is_inference() else weight._version)
    if weight not in _packed:
        _packed[weight] = {}
    kept = _packed[weight]
    backward = backward and not library.packs_alike(weight)
    if backward not in kept or kept[backward][0] != state:
        kept[backward] = state, library.pack(weight, backward=backward)
    return kept[backward][1]


def filters_of(operator: object, arguments: tuple[Any, ...]) -> dict[int, int]:
    """Bytes of the filters that a call of one of our operators lays out, by what tells them from others."""
    if operator is torch.ops.opsin.conv3x3_relu.default:
        weight = arguments[1]
    elif operator is torch.ops.opsin.conv3x3_relu_backward.default:
        weight = arguments[2]
    else:
        return {}
    return {id(weight): library.packed_bytes(weight)}


@operator("(Tensor x, Tensor weight, Tensor? bias, bool relu) -> (Tensor, Tensor)")
def conv3x3_relu(x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool) -> tuple[Tensor, Tensor]:
    """Convolution of x, padded by 1, with a ReLU if asked for, and bits of where that clipped; see `library`.

    Differentiable by x alone.
    """
    return library.convolution(x, _filters(weight, backward=False), weight, bias=bias, relu=relu)


@operator("(Tensor grad, Tensor? clipped, Tensor weight) -> Tensor")
def conv3x3_relu_backward(grad: Tensor, clipped: Tensor | None, weight: Tensor) -> Tensor:
    """Gradient by x, out of the gradient by the output; `clipped` is needed if there was a ReLU."""
    return library.convolution_backward(grad, _filters(weight, backward=True), weight, clipped=clipped)


@torch.library.register_fake("opsin::conv3x3_relu")
def _(x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool) -> tuple[Tensor, Tensor]:
    n, _, h, w = x.shape
    out = weight.shape[0]
    y = torch.empty((n, out, h, w), dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    bits = torch.empty((n, h, w, library.bit_bytes(out)) if relu else 0, dtype=torch.uint8, device=x.device)
    return y, bits


@torch.library.register_fake("opsin::conv3x3_relu_backward")
def _(grad: Tensor, clipped: Tensor | None, weight: Tensor) -> Tensor:
    shape = (grad.shape[0], weight.shape[1], *grad.shape[2:])
    return torch.empty(shape, dtype=grad.dtype, device=grad.device, memory_format=torch.channels_last)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None, bool], output: tuple[Tensor, Tensor]) -> None:
    _, weight, _, relu = inputs
    # Neither the input nor the output, which go where nobody else wants them: the gradient needs a bit of each value.
    ctx.save_for_backward(weight, output[1] if relu else None)


def _backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Tensor, None, None, None]:
    weight, clipped = ctx.saved_tensors
    return conv3x3_relu_backward(grad, clipped, weight), None, None, None


def _keep_mask(ctx: Any, inputs: tuple[Tensor, Tensor | None, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[1:])


def _backward_twice(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    # The gradient is linear in the gradient behind it.
    clipped, weight = ctx.saved_tensors
    forward, _ = conv3x3_relu(grad, weight, None, False)
    return forward if clipped is None else forward.masked_fill(unpack_bits(clipped, weight.shape[0]), 0), None, None


torch.library.register_autograd("opsin::conv3x3_relu", _backward, setup_context=_keep)
torch.library.register_autograd("opsin::conv3x3_relu_backward", _backward_twice, setup_context=_keep_mask)
