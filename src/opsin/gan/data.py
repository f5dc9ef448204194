"""Squares of whole images, brought to one size."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from PIL import Image

from opsin.errors import InputError
from opsin.training import ImageFolder

_LOOKED_AT = 1000
_GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F")


class SquareFolder(ImageFolder):
    """Images as squares of their whole shorter side, brought to one size, mirrored or not.

    Args:
        folder: searched recursively for images.
        crop: side that the squares are brought to.
        mirror: whether each is mirrored at random.
        seed: of all that is drawn.
        cache: see `ImageFolder`.

    Raises:
        InputError: there is no such folder, or fewer than two images in it.
    """

    def __init__(
        self, folder: str | os.PathLike[str], crop: int, *, mirror: bool = True, seed: int = 0, cache: int = 0
    ) -> None:
        super().__init__(folder, crop, scale=(1.0, 1.0), seed=seed, cache=cache, mirror=mirror)
        if len(self.paths) < 2:
            raise InputError(
                f"data must hold at least 2 images to learn a generator from, got {len(self.paths)} in "
                f"'{self.folder}'. Add images."
            )


def tell_of_grey(paths: list[Path]) -> None:
    """Warn if there are grey images among colour ones, by what the first thousand files say of themselves."""
    looked = paths[:_LOOKED_AT]
    grey = [path for path in looked if _is_grey(path)]
    if grey and len(grey) < len(looked):
        warnings.warn(
            f"{len(grey)} of {len(looked)} images are grey among colour ones, e.g. '{grey[0]}': the generator learns "
            "to make grey ones too. Take them out if it should not.",
            stacklevel=2,
        )


def _is_grey(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return image.mode in _GREY
    except OSError:
        return False  # that it cannot be read is said when it is its turn
