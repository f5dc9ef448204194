"""What the reading processes do: the images of a pair, decoded and brought to one size."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from opsin import _native
from opsin.checks import choice
from opsin.errors import ImageError, InputError, OpsinError
from opsin.images.reading import DEFAULT_MAX_PIXELS, parse_colour, read_array
from opsin.images.resizing import Size, resize, target_size
from opsin.scoring.places import read_bytes
from opsin.scoring.results import Pair

Pixels: TypeAlias = npt.NDArray[Any]
"""(H, W, 3): uint8, or float32 in [0,1]."""

MATCH = "match"

PILLOW_BILINEAR = "pillow-bilinear"


@dataclass(frozen=True)
class Preparation:
    """What is done to images before they are compared.

    Attributes:
        resize: "" for nothing, "match" for a distorted image to its reference's size, or a size as
            `opsin.images.resize` takes it, for both.
        crop: "" for nothing, "match" for the middle of all images of a pair that all of them have, or a size, likewise.
        background: the colour behind transparent pixels.
        max_pixels: the most that a file may announce.
        filter: of `resize`: "" for that of `opsin.images.resize`, "pillow-bilinear" for Pillow's, on 8 bits.

    Raises:
        InputError: no such size or colour.
        ChoiceError: no such filter.
    """

    resize: str = ""
    crop: str = ""
    background: str = "white"
    max_pixels: int = DEFAULT_MAX_PIXELS
    filter: str = ""

    def __post_init__(self) -> None:
        """Check the sizes, the filter and the colour."""
        parse_colour(self.background)
        if self.filter:
            choice("filter", self.filter, [PILLOW_BILINEAR])
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

    def with_images(self, change: Callable[[Any], Any]) -> Loaded:
        """The same, with what `change` makes of each image in its place."""
        reference = None if self.reference is None else change(self.reference)
        return self._replace(
            reference=reference, distorted={method: change(image) for method, image in self.distorted.items()}
        )


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
    reference: Pixels | None = None
    try:
        content = read_bytes(pair.reference)
        if known is not None:
            digest = hashlib.sha256(content).hexdigest()
        if known is None or not known(digest):
            reference = _resized(_decoded(pair.reference, preparation, content), preparation, None)
            if preparation.crop not in ("", MATCH):
                reference = _cropped(reference, preparation.crop)
    except OpsinError as error:
        return Loaded(number, None, digest, {}, dict.fromkeys(pair.distorted, f"reference: {error}"))
    distorted: dict[str, Pixels] = {}
    errors: dict[str, str] = {}
    for method, place in pair.distorted.items():
        try:
            pixels = _resized(_decoded(place, preparation), preparation, reference)
            distorted[method] = pixels if preparation.crop in ("", MATCH) else _cropped(pixels, preparation.crop)
        except OpsinError as error:
            errors[method] = str(error)
    if preparation.crop == MATCH and reference is not None:
        height, width = (min(sides) for sides in zip(*_sizes(reference, *distorted.values()), strict=True))
        reference = middle(reference, height, width)
        distorted = {method: middle(image, height, width) for method, image in distorted.items()}
    if reference is not None:
        for method in list(distorted):
            try:
                check_size(reference.shape[:2], distorted[method].shape[:2])
            except InputError as error:
                errors[method] = str(error)
                del distorted[method]
    return Loaded(number, reference, digest, distorted, errors)


def _sizes(*images: Pixels) -> list[tuple[int, int]]:
    return [(image.shape[0], image.shape[1]) for image in images]


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
    octets = all(image.dtype == np.uint8 for image in images)
    height, width = images[0].shape[:2]
    batch = _native.new_map((len(images), 3, height, width))
    np.stack(
        [image if octets else _floats(image) for image in images],
        out=batch.permute(0, 2, 3, 1).numpy(),
    )
    return batch.div_(255) if octets else batch


def _decoded(place: str, preparation: Preparation, content: bytes | None = None) -> Pixels:
    content = read_bytes(place) if content is None else content
    return read_array(place, background=preparation.background, max_pixels=preparation.max_pixels, content=content)


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


def _resized(image: Pixels, preparation: Preparation, reference: Pixels | None) -> Pixels:
    """An image brought to the size that is asked for; a reference has none."""
    size: Size = preparation.resize
    if size == MATCH:
        size = "" if reference is None else _sizes(reference)[0]
    height, width = image.shape[:2]
    if not size or (wanted := target_size(size, height, width)) == (height, width):
        return image
    if preparation.filter == PILLOW_BILINEAR:
        octets = image if image.dtype == np.uint8 else np.rint(image * 255).astype(np.uint8)
        return np.asarray(Image.fromarray(octets).resize((wanted[1], wanted[0]), Image.Resampling.BILINEAR))
    return resize(to_batch([image]).contiguous(), wanted)[0].permute(1, 2, 0).numpy()


def _floats(image: Pixels) -> Pixels:
    return np.divide(image, 255, dtype=np.float32) if image.dtype == np.uint8 else image
