"""Decoded images that are likely to be asked for again."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor

from opsin.images import read_image


class ImageCache:
    """Reads images, and keeps those read last up to a number of bytes.

    Images of 8 bits, which most are, are kept as such: `opened` makes of any part of them what was read, to the bit.

    Args:
        limit: bytes; 0 keeps nothing.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self._kept: OrderedDict[Path, Tensor] = OrderedDict()

    def read(self, path: Path) -> Tensor:
        """The image (1,3,H,W) as it is kept: see `opened`.

        Raises:
            ImageError: the file cannot be read.
        """
        kept = self._kept.get(path)
        if kept is not None:
            self._kept.move_to_end(path)
            return kept
        packed = _packed(read_image(path))
        size = _bytes(packed)
        if size <= self.limit:
            self._kept[path] = packed
            self.size += size
            while self.size > self.limit:
                _, oldest = self._kept.popitem(last=False)
                self.size -= _bytes(oldest)
        return packed


def opened(kept: Tensor) -> Tensor:
    """An image as it was read, in [0,1], of one that is kept or of a part of it."""
    # As reading divides: a product with 1/255 would differ in the last bit.
    return kept.float() / 255 if kept.dtype == torch.uint8 else kept


def _bytes(image: Tensor) -> int:
    return image.numel() * image.element_size()


def _packed(image: Tensor) -> Tensor:
    small = (image * 255).round_().to(torch.uint8)
    return small if torch.equal(opened(small), image) else image
