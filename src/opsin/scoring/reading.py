"""What the reading processes do: the images of a pair, decoded and brought to one size."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from opsin.errors import ImageError, InputError, OpsinError
from opsin.images.reading import DEFAULT_MAX_PIXELS, read_array
from opsin.images.resizing import resize, target_size
from opsin.scoring.places import read_bytes
from opsin.scoring.results import Pair

Pixels: TypeAlias = npt.NDArray[Any]
"""(H, W, 3): uint8, or float32 in [0,1]."""

MATCH = "match"


@dataclass(frozen=True)
class Preparation:
    """What is done to images before they are compared.

    Attributes:
        resize: "" for nothing, "match" for a distorted image to its reference's size, or a size as
            `opsin.images.resize` takes it, for both.
        crop: "" for nothing, "match" for the middle of both that both have, or a size, likewise, for the middle.
        background: the colour behind transparent pixels.
        max_pixels: the most that a file may announce.

    Raises:
        InputError: no such size.
    """

    resize: str = ""
    crop: str = ""
    background: str = "white"
    max_pixels: int = DEFAULT_MAX_PIXELS

    def __post_init__(self) -> None:
        """Check the sizes."""
        for size in (self.resize, self.crop):
            if size not in ("", MATCH):
                target_size(size, 1, 1)

    @property
    def needs_both(self) -> bool:
        """Whether an image is prepared by what its reference is."""
        return MATCH in (self.resize, self.crop)

    def describe(self) -> dict[str, Any]:
        """As plain values, without what stays as it is."""
        return {k: v for k, v in asdict(self).items() if v and k != "max_pixels"}


class Loaded(NamedTuple):
    """A pair as the reading processes hand it over.

    Attributes:
        number: of the pair.
        reference: its pixels; None where they cannot be had, or where `digest` stands for them.
        digest: SHA-256 of the reference's file, if it was asked for.
        distorted: method -> pixels.
        errors: method -> why there are none.
    """

    number: int
    reference: Pixels | None
    digest: str
    distorted: Mapping[str, Pixels]
    errors: Mapping[str, str]


def load(
    number: int,
    pair: Pair,
    preparation: Preparation,
    *,
    known: Callable[[str], bool] | None = None,
) -> Loaded:
    """Read a pair; what cannot be read becomes an error of its methods.

    Args:
        number: of the pair.
        pair: the pair.
        preparation: what is done to the images.
        known: whether the pixels of a reference, by its file's digest, are not needed; None if they are.
    """
    digest = ""
    reference = None
    try:
        content = read_bytes(pair.reference)
        if known is not None:
            digest = hashlib.sha256(content).hexdigest()
        if not (digest and known is not None and known(digest)):
            reference = _decoded(pair.reference, preparation, content)
    except OpsinError as error:
        return Loaded(number, None, digest, {}, dict.fromkeys(pair.distorted, f"reference: {error}"))
    distorted: dict[str, Pixels] = {}
    errors: dict[str, str] = {}
    original = reference
    if reference is not None and not preparation.needs_both:
        reference = _prepared(reference, preparation)
    for method, place in pair.distorted.items():
        try:
            pixels = _decoded(place, preparation)
            if preparation.needs_both and original is not None:
                reference, pixels = matched(original, pixels, preparation)
            else:
                pixels = _prepared(pixels, preparation)
            if reference is not None:
                check_size(reference.shape[:2], pixels.shape[:2])
        except OpsinError as error:
            errors[method] = str(error)
        else:
            distorted[method] = pixels
    return Loaded(number, reference, digest, distorted, errors)


def check_size(reference: Sequence[int], distorted: Sequence[int]) -> None:
    """Raise unless two images, (height, width) each, can be compared.

    Raises:
        InputError: they are of different sizes.
    """
    if tuple(reference) != tuple(distorted):
        raise InputError(
            f"images must have one size, got {reference[1]}x{reference[0]} for the reference and "
            f"{distorted[1]}x{distorted[0]}. Use --resize match or --crop match."
        )


def to_batch(images: Sequence[Pixels]) -> Tensor:
    """Images of one size as a tensor (N,3,H,W) in [0,1], float32, channels last as networks take it."""
    if all(image.dtype == np.uint8 for image in images):
        batch = torch.from_numpy(np.stack(images)).float().div_(255)
    else:
        batch = torch.from_numpy(np.stack([_floats(image) for image in images]))
    return batch.permute(0, 3, 1, 2)


def _decoded(place: str, preparation: Preparation, content: bytes | None = None) -> Pixels:
    content = read_bytes(place) if content is None else content
    return read_array(place, background=preparation.background, max_pixels=preparation.max_pixels, content=content)


def matched(reference: Pixels, distorted: Pixels, preparation: Preparation) -> tuple[Pixels, Pixels]:
    """Both images as they are compared, where one is prepared by what the other is.

    Raises:
        ImageError: a middle of that size is not in them.
    """
    if preparation.resize == MATCH:
        distorted = _resized(distorted, reference.shape[:2])
    elif preparation.resize:
        reference, distorted = (_resized(image, preparation.resize) for image in (reference, distorted))
    if preparation.crop == MATCH:
        height, width = (min(a, b) for a, b in zip(reference.shape[:2], distorted.shape[:2], strict=True))
        return middle(reference, height, width), middle(distorted, height, width)
    if preparation.crop:
        reference, distorted = (_cropped(image, preparation.crop) for image in (reference, distorted))
    return reference, distorted


def _prepared(image: Pixels, preparation: Preparation) -> Pixels:
    """An image, prepared by itself."""
    if preparation.resize:
        image = _resized(image, preparation.resize)
    return _cropped(image, preparation.crop) if preparation.crop else image


def _cropped(image: Pixels, size: str) -> Pixels:
    height, width = image.shape[:2]
    # A number alone is the side of a square.
    rows, columns = target_size(size if "x" in size.lower() or "×" in size else f"{size}x{size}", height, width)
    if rows > height or columns > width:
        raise ImageError(f"image must be at least {columns}x{rows} for --crop {size}, got {width}x{height}.")
    return middle(image, rows, columns)


def middle(image: Pixels, height: int, width: int) -> Pixels:
    """The middle of an image."""
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return np.ascontiguousarray(image[top : top + height, left : left + width])


def _resized(image: Pixels, size: str | tuple[int, int]) -> Pixels:
    height, width = image.shape[:2]
    if target_size(size, height, width) == (height, width):
        return image
    return resize(to_batch([image]).contiguous(), size)[0].permute(1, 2, 0).numpy()


def _floats(image: Pixels) -> Pixels:
    return np.divide(image, 255, dtype=np.float32) if image.dtype == np.uint8 else image
