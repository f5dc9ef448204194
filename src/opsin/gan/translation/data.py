"""Pairs of images of one size, as crops at the same place."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from opsin.errors import ImageError, InputError
from opsin.images.listing import find_images
from opsin.images.reading import announced_size
from opsin.training import ImageFolder
from opsin.training.cache import opened
from opsin.training.data import middle_square

_NAMED = 5


class TranslationFolder(ImageFolder):
    """Crops of pairs of images, numbered without end: a sample is (given (3,C,C), wanted (3,C,C)); see `ImageFolder`.

    Args:
        folder: with two folders of images of equal names but for their endings; or of images that hold both.
        crop: side of the crops.
        inputs: the folder of what is given; None if both are side by side in each image.
        targets: the folder of what is to be made.
        reverse: exchange the two.
        seed: of all that is drawn.
        held_out: see `ImageFolder`; a fraction of the pairs.
        cache: see `ImageFolder`.
        mirror: whether pairs are mirrored at random.

    Raises:
        InputError: there is no such folder or no image in it, a pair is not whole or not of one size, an image that
            holds both has an odd number of columns.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        crop: int,
        *,
        inputs: str | None = "input",
        targets: str = "target",
        reverse: bool = False,
        seed: int = 0,
        held_out: float = 0.0,
        cache: int = 0,
        mirror: bool = True,
    ) -> None:
        root = Path(folder)
        self.reverse = reverse
        self.partners: dict[Path, Path] | None = None
        if inputs is not None:
            if not root.is_dir():
                raise InputError(f"data must be a folder with two folders of images, got '{root}'. Check the name.")
            for name in (inputs, targets):
                if not (root / name).is_dir():
                    raise InputError(
                        f"data must hold the folders '{inputs}' and '{targets}', got '{root}' without '{name}'. "
                        "Name them with --inputs and --targets, or say --side-by-side."
                    )
            self.partners = _pairs(root / inputs, root / targets)
        given = root if inputs is None else root / inputs
        super().__init__(given, crop, seed=seed, held_out=held_out, cache=cache, mirror=mirror)
        self._check_sizes()

    def _check_sizes(self) -> None:
        """By what files say of themselves; one that cannot be read is passed over when it is its turn."""
        for path in (*self.paths, *self.held_out_paths):
            size = announced_size(path)
            if size is None:
                continue
            if self.partners is None:
                if size[0] % 2:
                    raise InputError(
                        f"an image that holds both side by side must have an even number of columns, got {size[0]} in "
                        f"'{path}'. Cut it."
                    )
                continue
            other = announced_size(self.partners[path])
            if other not in (None, size):
                size, other = (announced_size(file, exactly=True) for file in (path, self.partners[path]))
            if size is not None and other is not None and other != size:
                raise InputError(
                    f"the images of a pair must have one size, got {size[0]}x{size[1]} in '{path}' and "
                    f"{other[0]}x{other[1]} in '{self.partners[path]}'. Resize one of them."
                )

    def cut(self, image: Tensor, path: Path, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Two crops at the same place, mirrored or not.

        Raises:
            TooSmallError: the images have no crop of that size.
            ImageError: the other image cannot be read.
        """
        pair = self._both(image, path)
        self.check_size(pair[0], path)
        height, width = pair[0].shape[-2:]
        top, left = int(rng.integers(height - self.crop + 1)), int(rng.integers(width - self.crop + 1))
        crops = [opened(x[:, top : top + self.crop, left : left + self.crop]) for x in pair]
        if self.mirror and rng.random() < 0.5:
            crops = [x.flip(-1) for x in crops]
        return tuple(x.contiguous() for x in crops)

    def middle(self, image: Tensor, path: Path) -> tuple[Tensor, ...]:
        """The crops in the middle.

        Raises:
            TooSmallError, ImageError: see `cut`.
        """
        pair = self._both(image, path)
        self.check_size(pair[0], path)
        return tuple(opened(middle_square(x, self.crop)).contiguous() for x in pair)

    def _both(self, image: Tensor, path: Path) -> Sequence[Tensor]:
        if self.partners is None:
            half = image.shape[-1] // 2
            pair = [image[..., :half], image[..., half : 2 * half]]
        else:
            pair = [image, self.cache.read(self.partners[path])[0]]
            if pair[0].shape[-2:] != pair[1].shape[-2:]:
                raise ImageError(f"the images of a pair must have one size, got others in '{path}' and its partner.")
        return pair[::-1] if self.reverse else pair


def _pairs(inputs: Path, targets: Path) -> dict[Path, Path]:
    """Each image that is given, and the one to be made of it.

    Raises:
        InputError: some have none; they are named.
    """
    given, wanted = (_by_name(folder) for folder in (inputs, targets))
    for here, there, found, other in ((inputs, targets, given, wanted), (targets, inputs, wanted, given)):
        alone = sorted(found.keys() - other.keys())
        if alone:
            names = ", ".join(f"'{name}'" for name in alone[:_NAMED]) + (", …" if len(alone) > _NAMED else "")
            raise InputError(
                f"each image in '{here}' must have one of its name in '{there}', got {len(alone)} of {len(found)} "
                f"without: {names}. Add those, or take these out."
            )
    return {path: wanted[name] for name, path in given.items()}


def _by_name(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in find_images(folder):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise InputError(
                f"names must be different without their endings, got '{found[name]}' and '{path}'. Rename one."
            )
        found[name] = path
    return found
