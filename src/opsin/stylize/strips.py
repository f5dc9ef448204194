"""Johnson's network on an image in strips of rows, with the result of the whole image.

Instance normalisation needs the mean and the deviation of a whole map, so layers go one after another: each runs over
all strips, once for the sums that its normalisation needs. Maps at a quarter of the image's height and width are kept,
those at the full and half size, which would be most of the memory, are computed again from the last map that is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from opsin.networks import ImageTransformNet
from opsin.networks.transform import ConvLayer


class _Layer:
    """A layer of the network with what is known of its map so far.

    Args:
        layer: the layer.
        height: rows of the map that comes in.
        source: the layer before it; None for the image.
    """

    def __init__(self, layer: ConvLayer, height: int, source: _Layer | None) -> None:
        self.layer, self.source, self.coming = layer, source, height
        doubled = height * (2 if layer.transposed else layer.enlarge)
        self.height = -(-doubled // layer.stride)
        self.kept: Tensor | None = None
        self.moments: tuple[Tensor, Tensor] | None = None

    def rows(self, image: Tensor, first: int, last: int) -> Tensor:
        """Rows of the layer's result."""
        if self.kept is not None:
            return self.kept[..., first:last, :]
        return self.finish(self.raw(image, first, last))

    def finish(self, raw: Tensor) -> Tensor:
        """Normalisation and ReLU, where the layer has them."""
        norm = self.layer.norm
        if norm is not None and self.moments is not None:
            mean, variance = self.moments
            scale = torch.rsqrt(variance + norm.eps) * norm.weight.cpu().double()
            shift = norm.bias.cpu().double() - mean * scale
            scale, shift = (v.to(raw.dtype).to(raw.device)[None, :, None, None] for v in (scale, shift))
            raw = torch.addcmul(shift, scale, raw)
        return raw.relu_() if self.layer.active else raw

    def raw(self, image: Tensor, first: int, last: int) -> Tensor:
        """Rows of what comes out before the normalisation."""
        layer = self.layer
        if layer.transposed:
            # A row of the result is of the row of half its number and, if it is odd, of the next one.
            start, stop = first // 2, min(last // 2 + 1, self.coming)
            return layer.conv(self._coming(image, start, stop))[..., first - 2 * start : last - 2 * start, :]
        # The rows of the enlarged map that the filters see; those outside are reflected ones.
        above, below = first * layer.stride - layer.margin, (last - 1) * layer.stride + layer.margin + 1
        height = self.coming * layer.enlarge
        top, bottom = max(-above, 0), max(below - height, 0)
        start = min(max(above, 0), height - 1 - bottom) if bottom else max(above, 0)
        stop = max(min(below, height), top + 1) if top else min(below, height)
        x = self._enlarged(image, start, stop)
        x = F.pad(x, (layer.margin, layer.margin, top, bottom), mode="reflect")
        surplus = above - (start - top)
        return layer.conv(x[..., surplus : surplus + below - above, :])

    def _enlarged(self, image: Tensor, first: int, last: int) -> Tensor:
        factor = self.layer.enlarge
        begin = first // factor
        x = self._coming(image, begin, -(-last // factor))
        if factor == 1:
            return x
        x = F.interpolate(x, scale_factor=factor, mode="nearest")
        return x[..., first - begin * factor : last - begin * factor, :]

    def _coming(self, image: Tensor, first: int, last: int) -> Tensor:
        return image[..., first:last, :] if self.source is None else self.source.rows(image, first, last)

    def gather(self, image: Tensor, strip: int, *, keep: bool) -> None:
        """Go over the map: sums for its normalisation, and the map itself if it is kept."""
        maps: Tensor | None = None
        gathered: list[tuple[int, Tensor, Tensor]] = []
        for first, last in strips(self.height, strip):
            raw = self.raw(image, first, last)
            if self.layer.norm is not None:
                variance, mean = torch.var_mean(raw, dim=(0, 2, 3), correction=0)
                gathered.append((last - first, mean.cpu().double(), variance.cpu().double()))
            if keep:
                if maps is None:
                    maps = raw.new_empty((*raw.shape[:2], self.height, raw.shape[-1]))
                maps[..., first:last, :] = raw
        if gathered:
            self.moments = _together(gathered)
        if maps is not None:
            for first, last in strips(self.height, strip):
                maps[..., first:last, :] = self.finish(maps[..., first:last, :])
            self.kept = maps


def _together(gathered: Sequence[tuple[int, Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Mean and variance of a map, of those of its strips and their rows: σ² = Σ nᵢ (σᵢ² + (μᵢ - μ)²) / n."""
    n = sum(rows for rows, _, _ in gathered)
    mean = torch.stack([rows * mean for rows, mean, _ in gathered]).sum(dim=0) / n
    parts = [rows * (variance + (part - mean).square()) for rows, part, variance in gathered]
    return mean, torch.stack(parts).sum(dim=0) / n


def strips(height: int, rows: int) -> Iterator[tuple[int, int]]:
    """First and last row (not included) of strips of about so many rows, all of one size but for rounding."""
    count = -(-height // rows)
    for i in range(count):
        yield i * height // count, (i + 1) * height // count


def apply_in_strips(model: ImageTransformNet, image: Tensor, strip: int) -> Tensor:
    """What the network makes of an image, (1,3,H,W) -> (1,3,H,W), computed in strips of `strip` rows of it."""
    height = image.shape[-2]
    quarter = max(strip // 4, 4)
    head: list[Any] = list(model.head)
    tail: list[Any] = list(model.tail)
    last: _Layer | None = None
    for layer in head:
        last = _Layer(layer, height if last is None else last.height, last)
        last.gather(image, quarter * 4 // 2 if last.source else strip, keep=layer is head[-1])
    trunk: Any = last
    for block in model.body:
        convs: Any = block
        first = _Layer(convs.first, trunk.height, trunk)
        first.gather(image, quarter, keep=True)
        second = _Layer(convs.second, trunk.height, first)
        second.gather(image, quarter, keep=True)
        first.kept = None
        trunk.kept += second.kept
        second.kept = None
    last = trunk
    for layer in tail:
        last = _Layer(layer, trunk.height if last is None else last.height, last)
        if layer is not tail[-1]:
            last.gather(image, strip, keep=False)
    final: Any = last
    result = torch.empty_like(image)
    for first_row, last_row in strips(height, strip):
        rows = final.rows(image, first_row, last_row)
        result[..., first_row:last_row, :] = model.finish(rows)[..., : image.shape[-1]]
    return result
