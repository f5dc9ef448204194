"""A folder of images as an endless stream of square crops, each the same whoever reads it and when."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from opsin.errors import ImageError, InputError
from opsin.images import read_image
from opsin.images.listing import find_images
from opsin.interruption import obey_main_process
from opsin.training.cache import ImageCache, opened


class Batch(NamedTuple):
    """Some crops, each tensor (N,3,S,S) in [0,1], and the files that could not be used in their places: path -> why."""

    images: tuple[Tensor, ...]
    skipped: dict[str, ImageError]


class Sample(NamedTuple):
    """One crop as tensors (3,S,S), and what could not be used before it was found."""

    images: tuple[Tensor, ...]
    skipped: dict[str, ImageError]


class TooSmallError(ImageError):
    """An image that is whole, but smaller than a crop."""


class ImageFolder(Dataset[Sample]):
    """Crops of the images in a folder, numbered without end.

    Crop i is of image i mod n in an order drawn anew for each round of n; the square, its size and whether it is
    mirrored are drawn from (seed, i). So it depends on nothing but the files, the seed and i. Where a file cannot be
    read, another is drawn in its place from the same numbers. A subclass that gives more than one tensor of a crop has
    a `cut` and a `middle` of its own.

    Args:
        folder: searched recursively for images, see `find_images`.
        crop: side of the crops.
        scale: (a, b): the square is 1/b to 1/a of the image's shorter side, resized to `crop`, so that small images
            are enlarged. None takes the image's own pixels, and an image smaller than `crop` is passed over.
        seed: of all that is drawn.
        held_out: the fraction of the files that are not among the crops, but in `held_out_paths`; see `split`.
        cache: bytes of decoded images that each process that reads keeps.
        mirror: whether crops are mirrored at random.

    Raises:
        InputError: there is no such folder, no image in it, or none left beside those that are held out.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        crop: int,
        *,
        scale: tuple[float, float] | None = None,
        seed: int = 0,
        held_out: float = 0.0,
        cache: int = 0,
        mirror: bool = True,
    ) -> None:
        self.folder = Path(folder)
        self.crop, self.scale, self.seed, self.mirror = crop, scale, seed, mirror
        self.cache = ImageCache(cache)
        self._order: tuple[int, npt.NDArray[np.int64]] | None = None
        found = find_images(self.folder)
        self.paths, self.held_out_paths = split(found, self.folder, held_out)

    @property
    def digest(self) -> str:
        """A hash of the names in order: two folders of one digest give the same stream."""
        names = "\0".join(path.relative_to(self.folder).as_posix() for path in self.paths)
        return hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest()[:16]

    def __getitem__(self, index: int) -> Sample:
        """Crop number `index`.

        Raises:
            ImageError: none of the files that were tried in its place can be read either.
        """
        rng = np.random.default_rng((self.seed, index))
        turn, place = divmod(index, len(self.paths))
        if self._order is None or self._order[0] != turn:
            self._order = turn, np.random.default_rng((self.seed, turn, 1)).permutation(len(self.paths))
        chosen = int(self._order[1][place])
        skipped: dict[str, ImageError] = {}
        for _ in range(4 * len(self.paths)):
            path = self.paths[chosen]
            if str(path) not in skipped:
                try:
                    return Sample(self.cut(self.cache.read(path)[0], path, rng), skipped)
                except ImageError as error:
                    skipped[str(path)] = error
            chosen = int(rng.integers(len(self.paths)))
        raise ImageError(
            f"data must hold images that can be read and are as large as a crop, got '{self.folder}' with "
            f"{len(skipped)} that are not, the last because: {next(reversed(skipped.values()))}"
        )

    def cut(self, image: Tensor, path: Path, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """The tensors of one crop of an image (3,H,W) as it is kept, see `opened`.

        Raises:
            TooSmallError: the image has no crop of that size.
        """
        height, width = image.shape[-2:]
        side = self.crop
        if self.scale is not None:
            low, high = self.scale
            side = max(1, round(min(height, width) / rng.uniform(low, high)))
        self.check_size(image, path)
        top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        square = opened(image[:, top : top + side, left : left + side])
        if self.mirror and rng.random() < 0.5:
            square = square.flip(-1)
        return (resized(square, self.crop),)

    def check_size(self, image: Tensor, path: Path) -> None:
        """Raise unless an image has crops.

        Raises:
            TooSmallError: it is smaller than a crop, and crops are of the image's own pixels.
        """
        height, width = image.shape[-2:]
        if self.scale is None and min(height, width) < self.crop:
            raise TooSmallError(
                f"image must be at least {self.crop}x{self.crop} for crops of that size, got {width}x{height} in "
                f"'{path}'. Choose a smaller crop."
            )

    def middle(self, image: Tensor, path: Path) -> tuple[Tensor, ...]:
        """The tensors of the middle of an image (3,H,W), which samples show: all of its shorter side.

        Raises:
            TooSmallError: see `cut`.
        """
        del path
        side = min(image.shape[-2:])
        return (resized(middle_square(image, side), self.crop),)

    def held_out(self) -> Iterator[tuple[Tensor, ...]]:
        """The middles of the held-out images, one after another; those that cannot be used are left out."""
        for path in self.held_out_paths:
            try:
                found = self.middle(read_image(path)[0], path)
            except ImageError:
                continue
            yield found

    def middles(self, count: int) -> tuple[Tensor, ...]:
        """The middles of the first `count` images that can be used, held-out ones first: each tensor (N,3,S,S).

        Raises:
            ImageError: there are none.
        """
        found: list[tuple[Tensor, ...]] = []
        reason: ImageError | None = None
        for path in (*self.held_out_paths, *self.paths):
            if len(found) == count:
                break
            try:
                found.append(self.middle(read_image(path)[0], path))
            except ImageError as error:
                reason = error
        if not found:
            raise ImageError(
                f"data must hold images that can be read and are as large as a crop, got none in '{self.folder}': "
                f"{reason}"
            )
        return stacked(found)


def middle_square(image: Tensor, side: int) -> Tensor:
    """A square in the middle of an image (3,H,W)."""
    top, left = (image.shape[-2] - side) // 2, (image.shape[-1] - side) // 2
    return image[:, top : top + side, left : left + side]


def split(paths: Sequence[Path], folder: Path, fraction: float) -> tuple[list[Path], list[Path]]:
    """Part files in those to train with and those that are held out: `fraction` of them, at least one.

    Which ones they are depends on the hashes of their names alone: new files hardly move old ones to the other side.

    Raises:
        InputError: none would be left to train with.
    """
    count = max(1, round(fraction * len(paths))) if fraction else 0
    if count >= len(paths):
        raise InputError(
            f"data must hold more than the {count} images that are held out, got {len(paths)} in '{folder}'. "
            "Lower --val-fraction, or add images."
        )
    names = {path: path.relative_to(folder).as_posix().encode("utf-8", "surrogateescape") for path in paths}
    apart = set(sorted(paths, key=lambda path: hashlib.sha256(names[path]).digest())[:count])
    return [path for path in paths if path not in apart], [path for path in paths if path in apart]


def stacked(samples: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Tensors of several samples as tensors of a batch."""
    return tuple(torch.stack(tensors) for tensors in zip(*samples, strict=True))


def resized(square: Tensor, side: int) -> Tensor:
    """A square (3,S,S) brought to another size, in [0,1]."""
    if square.shape[-1] == side:
        return square.contiguous()
    return F.interpolate(square[None], (side, side), mode="bicubic", antialias=True).clamp(0, 1)[0]


def batches(  # one of `processes` that share a step's images
    data: ImageFolder, *, first: int, last: int, batch: int, part: int, process: int, processes: int, workers: int
) -> Iterator[Batch]:
    """The batches of steps `first` to `last` - 1 that one process computes, `part` images each.

    Step t is of crops t·batch to (t+1)·batch - 1, dealt out to the processes in turn.

    Args:
        data: the stream.
        first: the first step.
        last: the step not computed any more.
        batch: images a step.
        part: images in each batch given; divides batch / processes.
        process: which of the processes this is.
        processes: how many there are.
        workers: processes of its own that read; 0 for none.
    """
    mine = [list(range(t * batch + process, (t + 1) * batch, processes)) for t in range(first, last)]
    parts = [indices[i : i + part] for indices in mine for i in range(0, len(indices), part)]
    loader = DataLoader(
        data,
        batch_sampler=parts,
        num_workers=workers,
        collate_fn=_collate,
        worker_init_fn=_start_reader if workers else None,
        generator=torch.Generator(),  # or it would draw from the one that the steps draw from
    )
    return iter(loader)


def _collate(samples: Sequence[Sample]) -> Batch:
    skipped = {path: why for sample in samples for path, why in sample.skipped.items()}
    return Batch(stacked([sample.images for sample in samples]), skipped)


def _start_reader(_: int) -> None:
    obey_main_process()


class Skipped:
    """Counts image files that are passed over: those that cannot be read, with one warning each, and small ones.

    Args:
        limit: how many unreadable ones are borne.

    Attributes:
        unreadable: files that cannot be read.
        small: files that are smaller than a crop.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.unreadable: set[str] = set()
        self.small: set[str] = set()

    def add(self, found: Mapping[str, ImageError]) -> None:
        """Count files that were passed over.

        Raises:
            ImageError: more than the limit cannot be read.
        """
        for path, why in found.items():
            if isinstance(why, TooSmallError):
                self.small.add(path)
            elif path not in self.unreadable:
                self.unreadable.add(path)
                if len(self.unreadable) > self.limit:
                    raise ImageError(
                        f"data must have at most {self.limit} images that cannot be read, got "
                        f"{len(self.unreadable)}, the last because: {why} Mend or remove them, or raise max_unreadable."
                    )
                warnings.warn(f"skipped an image: {why}", stacklevel=2)
