"""Functions of the native library as operators of torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def operator(schema: str) -> Callable[[Callable[..., Any]], Any]:
    """Make a function the CPU's implementation of an operator of its name, and return the operator.

    torch.library.custom_op does the same, but what it makes imports torch's compiler when it is first called: two
    seconds and 160 MB.
    """

    def register(function: Callable[..., Any]) -> Any:
        name = f"opsin::{function.__name__}"
        torch.library.define(name, schema, tags=torch.Tag.pt2_compliant_tag)
        torch.library.impl(name, "cpu", function)
        return getattr(torch.ops.opsin, function.__name__)

    return register


def unpack_bits(bits: Tensor, channels: int) -> Tensor:
    """Bits of the channels of positions as booleans: (N,H,W,bytes) -> (N,channels,H,W)."""
    each = bits.unsqueeze(-1) >> torch.arange(8, dtype=torch.uint8, device=bits.device) & 1
    return each.flatten(-2)[..., :channels].movedim(-1, 1).bool()
