"""A folder of photos as pairs of crops, small and large."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from opsin.superres.degradations import Degradation
from opsin.training.cache import opened
from opsin.training.data import ImageFolder, middle_square


class PairFolder(ImageFolder):
    """Crops of images and what a degradation makes of them, numbered without end; see `ImageFolder`.

    A sample is (small (3,C/s,C/s), large (3,C,C)), C the crop and s the scale, both turned and mirrored in one of the
    eight ways of a square. The crop begins at a multiple of s. Where the degradation says how far it looks, it sees so
    much of the image around the crop too, so that the small crop is that of the whole image made small; else it sees
    the crop alone. Small crops are rounded to 8 bits, as the files are that the network will be given.

    Args:
        folder: see `ImageFolder`.
        crop: side of the large crops, a multiple of `scale`.
        scale: how many times smaller the small ones are.
        degradation: what makes them.
        seed: of all that is drawn.
        held_out: see `ImageFolder`.
        cache: see `ImageFolder`.

    Raises:
        InputError: see `ImageFolder`.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        crop: int,
        scale: int,
        degradation: Degradation,
        *,
        seed: int = 0,
        held_out: float = 0.0,
        cache: int = 0,
    ) -> None:
        super().__init__(folder, crop, seed=seed, held_out=held_out, cache=cache)
        self.factor, self.degradation = scale, degradation

    def cut(self, image: Tensor, path: Path, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """A small and a large crop of an image as it is kept.

        Raises:
            TooSmallError: the image has no crop of that size.
        """
        self.check_size(image, path)
        image = cut_to_multiple(image, self.factor)
        height, width = (side // self.factor for side in image.shape[-2:])
        side = self.crop // self.factor
        top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        turn = int(rng.integers(8))
        small, large = self.pair(image, top, left, rng)
        return _turned(small, turn), _turned(large, turn)

    def pair(self, image: Tensor, top: int, left: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """The crops at a place of the small image."""
        s, side = self.factor, self.crop // self.factor
        around = self.degradation.margin
        margin = 0 if around is None else -(-around // s)
        first_row, first_column = max(top - margin, 0), max(left - margin, 0)
        rows = slice(first_row * s, (top + side + margin) * s)
        seen = opened(image[:, rows, first_column * s : (left + side + margin) * s]).contiguous()
        y, x = top - first_row, left - first_column
        small = rounded(self.degradation(seen, rng))[:, y : y + side, x : x + side]
        return small, opened(image[:, top * s : top * s + self.crop, left * s : left * s + self.crop])

    def middle(self, image: Tensor, path: Path) -> tuple[Tensor, ...]:
        """The crops in the middle of an image, always degraded alike.

        Raises:
            TooSmallError: see `cut`.
        """
        self.check_size(image, path)
        large = middle_square(image, self.crop).contiguous()
        return rounded(self.degradation(large, np.random.default_rng((self.seed, 2)))), large


def cut_to_multiple(image: Tensor, scale: int) -> Tensor:
    """Leave out rows at the bottom and columns at the right, so that both sides (…,H,W) are multiples of the scale."""
    height, width = (side // scale * scale for side in image.shape[-2:])
    return image[..., :height, :width]


def rounded(image: Tensor) -> Tensor:
    """The values that a file of 8 bits holds."""
    return (image.clamp(0, 1) * 255).round() / 255


def _turned(image: Tensor, way: int) -> Tensor:
    """One of the eight ways that a square can lie."""
    if way & 1:
        image = image.flip(-1)
    if way & 2:
        image = image.flip(-2)
    return (image.transpose(-1, -2) if way & 4 else image).contiguous(memory_format=torch.contiguous_format)
