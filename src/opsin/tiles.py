"""How an image is cut into tiles, so that every position of a feature map is computed as in the whole image.

A tile is a rectangle of pixels. Of each feature map it owns the positions that start in it, so that each position is
owned by one tile. The network runs on the tile and a halo around it, as wide as the owned positions see; what it gives
for the other positions is thrown away.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise, product
from typing import Any, NamedTuple

from torch import Tensor

from opsin.extractors import Extractor, ReceptiveField


class Span(NamedTuple):
    """A tile along one axis: the pixels from its halo's start to its halo's stop, and the positions owned of a tap."""

    start: int
    stop: int
    owned: Mapping[str, tuple[int, int]]


class Tile(NamedTuple):
    """A tile: its rows and its columns, and the strides of the taps."""

    rows: Span
    columns: Span
    strides: Mapping[str, int]

    def cut(self, images: Tensor) -> Tensor:
        """The tile with its halo: (N,C,H,W) -> (N,C,h,w)."""
        return images[..., self.rows.start : self.rows.stop, self.columns.start : self.columns.stop]

    def owned(self, tap: str, feature: Tensor) -> Tensor:
        """What it owns of a feature map of the tile with its halo: (N,C,h,w) -> (N,C,h',w')."""
        above, before = self.rows.start // self.strides[tap], self.columns.start // self.strides[tap]
        return self.part(tap, feature, above, before)

    def part(self, tap: str, feature: Tensor, above: int = 0, before: int = 0) -> Tensor:
        """What it owns of a feature map that has so many rows above and columns before it: (…,H,W) -> (…,h',w')."""
        (top, bottom), (left, right) = self.rows.owned[tap], self.columns.owned[tap]
        return feature[..., top - above : bottom - above, left - before : right - before]


class Tiling:
    """The tiles of an image for some taps of a network.

    Args:
        extractor: a network whose receptive fields are known.
        taps: at least one.
        size: height and width of the image.
        tile: the most that a tile is high and wide without its halo, rounded up to the stride of the deepest tap.

    Attributes:
        sizes: tap -> height and width of its feature map of the whole image.

    Raises:
        InputError: the image is too small for a tap.
    """

    def __init__(self, extractor: Extractor, taps: Iterable[str], size: tuple[int, int], tile: int) -> None:
        known: Any = extractor  # neither of what others may not know is None
        self.sizes: dict[str, tuple[int, int]] = {tap: known.map_size(tap, *size) for tap in taps}
        fields: dict[str, ReceptiveField] = {tap: known.receptive_field(tap) for tap in self.sizes}
        self._strides = {tap: field.stride for tap, field in fields.items()}
        self._rows, self._columns = (
            _spans(size[axis], tile, fields, {tap: n[axis] for tap, n in self.sizes.items()}) for axis in (0, 1)
        )

    def __iter__(self) -> Iterator[Tile]:
        for rows, columns in product(self._rows, self._columns):
            yield Tile(rows, columns, self._strides)


def _spans(length: int, tile: int, fields: Mapping[str, ReceptiveField], positions: Mapping[str, int]) -> list[Span]:
    # Halos start where a position of the deepest tap does: poolings then meet the same pixels as in the whole image.
    stride = max(field.stride for field in fields.values())
    # All of one size, but for rounding: a narrow last one would be mostly halo.
    step = -(-length // (-(-length // tile) * stride)) * stride
    # One that owns nothing of some tap is left to the one before it.
    starts = [s for s in range(0, length, step) if all(s // f.stride < positions[tap] for tap, f in fields.items())]
    spans = []
    for start, stop in pairwise([*starts, length]):
        owned, first, end = {}, start, start + 1
        for tap, field in fields.items():
            a, b = start // field.stride, stop // field.stride if stop < length else positions[tap]
            owned[tap] = (a, b)
            first = min(first, field.start + a * field.stride)
            end = max(end, field.start + (b - 1) * field.stride + field.size)
        spans.append(Span(max(first, 0) // stride * stride, min(end, length) if stop < length else length, owned))
    return spans
