"""What autoencoders are made of: residual blocks, attention, and the way down and up."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


def encoder(widths: Sequence[int], blocks: int, codes: int, attention: bool) -> nn.Sequential:
    """Images (N,3,H,W) to (N,codes,h,w), with sides halved between the levels.

    Args:
        widths: channels of the levels, from images to codes, multiples of 4.
        blocks: residual blocks of a level.
        codes: channels of the result.
        attention: self-attention in the middle.
    """
    layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 3, padding=1)]
    before = widths[0]
    for level, width in enumerate(widths):
        if level:
            layers.append(_Down(before))
        layers += [_Residual(before if i == 0 else width, width) for i in range(blocks)]
        before = width
    return nn.Sequential(*layers, *_middle(before, attention), _norm(before), nn.SiLU(), _conv(before, codes))


def decoder(widths: Sequence[int], blocks: int, codes: int, attention: bool) -> nn.Sequential:
    """Codes (N,codes,h,w) to the features (N,widths[0],H,W) that a last convolution makes images of.

    Args: see `encoder`; there is one residual block more in a level.
    """
    before = widths[-1]
    layers: list[nn.Module] = [_conv(codes, before), *_middle(before, attention)]
    for level, width in enumerate(reversed(widths)):
        if level:
            layers.append(_Up(before))
        layers += [_Residual(before if i == 0 else width, width) for i in range(blocks + 1)]
        before = width
    return nn.Sequential(*layers, _norm(before), nn.SiLU())


class _Residual(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))))), with a 1×1 convolution of x where the width changes."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _norm(before), nn.SiLU(), _conv(before, width), _norm(width), nn.SiLU(), _conv(width, width)
        )
        self.skip = nn.Identity() if before == width else nn.Conv2d(before, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(x) + self.body(x)


class _Attention(nn.Module):
    """x + self-attention of one head over all places."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = _norm(width)
        self.query, self.key, self.value, self.out = (nn.Conv2d(width, width, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        query, key, value = (layer(y).flatten(2).transpose(1, 2) for layer in (self.query, self.key, self.value))
        seen = F.scaled_dot_product_attention(query, key, value)
        return x + self.out(seen.transpose(1, 2).unflatten(2, x.shape[-2:]))


class _Down(nn.Module):
    """A strided convolution that sees one pixel more at the right and at the bottom."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class _Up(nn.Module):
    """Each pixel four times, and a convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = _conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


def _middle(width: int, attention: bool) -> list[nn.Module]:
    first, last = _Residual(width, width), _Residual(width, width)
    return [first, _Attention(width), last] if attention else [first, last]


def _conv(before: int, width: int) -> nn.Conv2d:
    return nn.Conv2d(before, width, 3, padding=1)


def _norm(width: int) -> nn.GroupNorm:
    """32 groups, but at least four channels in each: one channel alone would lose how large it is."""
    return nn.GroupNorm(math.gcd(32, width // 4), width, eps=1e-6)
