"""A folder of images as an endless stream of square crops, each the same whoever reads it and when."""

from __future__ import annotations

import hashlib
import os
import signal
import warnings
from collections.abc import Iterator, Sequence
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

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif")


class Batch(NamedTuple):
    """Some crops, (N,3,S,S) in [0,1], and the files that could not be read in their places: path -> why."""

    images: Tensor
    unreadable: dict[str, str]


class Sample(NamedTuple):
    """One crop, (3,S,S), and what could not be read before it was found."""

    image: Tensor
    unreadable: dict[str, str]


class ImageFolder(Dataset[Sample]):
    """Crops of the images in a folder, numbered without end.

    Crop i is of image i mod n in an order drawn anew for each round of n; the square, its size and whether it is
    mirrored are drawn from (seed, i). So it depends on nothing but the files, the seed and i. Where a file cannot be
    read, another is drawn in its place from the same numbers.

    Args:
        folder: searched recursively for files that end in one of `SUFFIXES`; hidden ones are left out.
        crop: side of the crops.
        scale: (a, b): the square is 1/b to 1/a of the image's shorter side, resized to `crop`, so that small images
            are enlarged. None takes the image's own pixels, and an image smaller than `crop` counts as unreadable.
        seed: of all that is drawn.

    Raises:
        InputError: there is no such folder, or no image in it.
    """

    def __init__(
        self, folder: str | os.PathLike[str], crop: int, *, scale: tuple[float, float] | None = None, seed: int = 0
    ) -> None:
        self.folder = Path(folder)
        self.crop, self.scale, self.seed = crop, scale, seed
        self._order: tuple[int, npt.NDArray[np.int64]] | None = None
        if not self.folder.is_dir():
            what = "a file" if self.folder.exists() else "nothing"
            raise InputError(f"data must be a folder of images, got '{self.folder}', which is {what}. Check the name.")
        self.paths = sorted(
            path
            for path in self.folder.rglob("*")
            if path.suffix.lower() in SUFFIXES
            and not any(part.startswith(".") for part in path.relative_to(self.folder).parts)
            and path.is_file()
        )
        if not self.paths:
            raise InputError(
                f"data must be a folder of images, got none in '{self.folder}' that ends in {', '.join(SUFFIXES)}. "
                "Choose another folder."
            )

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
        unreadable: dict[str, str] = {}
        for _ in range(4 * len(self.paths)):
            path = self.paths[chosen]
            if str(path) not in unreadable:
                try:
                    return Sample(self._cut(read_image(path)[0], path, rng), unreadable)
                except ImageError as error:
                    unreadable[str(path)] = str(error)
            chosen = int(rng.integers(len(self.paths)))
        raise ImageError(
            f"data must hold images that can be read, got '{self.folder}' with {len(unreadable)} that cannot, "
            f"the last because: {next(reversed(unreadable.values()))}"
        )

    def _cut(self, image: Tensor, path: Path, rng: np.random.Generator) -> Tensor:
        height, width = image.shape[-2:]
        side = self.crop
        if self.scale is not None:
            low, high = self.scale
            side = max(1, round(min(height, width) / rng.uniform(low, high)))
        elif min(height, width) < side:
            raise ImageError(
                f"image must be at least {side}x{side} for crops of that size, got {width}x{height} in '{path}'. "
                "Choose a smaller crop."
            )
        top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        square = image[:, top : top + side, left : left + side]
        if rng.random() < 0.5:
            square = square.flip(-1)
        return _resized(square, self.crop)

    def middles(self, count: int) -> Tensor:
        """The largest squares in the middles of the first `count` images that can be read: (N,3,S,S).

        Raises:
            ImageError: none can be read.
        """
        squares: list[Tensor] = []
        reason = ""
        for path in self.paths:
            if len(squares) == count:
                break
            try:
                image = read_image(path)[0]
            except ImageError as error:
                reason = str(error)
                continue
            side = min(image.shape[-2:])
            top, left = (image.shape[-2] - side) // 2, (image.shape[-1] - side) // 2
            squares.append(_resized(image[:, top : top + side, left : left + side], self.crop))
        if not squares:
            raise ImageError(f"data must hold images that can be read, got none in '{self.folder}': {reason}")
        return torch.stack(squares)


def _resized(square: Tensor, side: int) -> Tensor:
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
        worker_init_fn=_ignore_interrupts if workers else None,
        generator=torch.Generator(),  # or it would draw from the one that the steps draw from
    )
    return iter(loader)


def _collate(samples: Sequence[Sample]) -> Batch:
    unreadable = {path: why for sample in samples for path, why in sample.unreadable.items()}
    return Batch(torch.stack([sample.image for sample in samples]), unreadable)


def _ignore_interrupts(_: int) -> None:
    # Ctrl-C goes to all processes of a terminal; the main one decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Unreadable:
    """Counts image files that are skipped, with one warning each.

    Args:
        limit: how many are borne.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.paths: set[str] = set()

    def add(self, found: dict[str, str]) -> None:
        """Count files that could not be read.

        Raises:
            ImageError: they are more than the limit.
        """
        for path, why in found.items():
            if path in self.paths:
                continue
            self.paths.add(path)
            if len(self.paths) > self.limit:
                raise ImageError(
                    f"data must have at most {self.limit} images that cannot be read, got {len(self.paths)}, "
                    f"the last because: {why} Mend or remove them, or raise max_unreadable."
                )
            warnings.warn(f"skipped an image: {why}", stacklevel=2)
