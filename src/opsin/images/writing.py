"""Writing an image file whole or not at all, with its colours and its origin said in the file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from PIL import Image, PngImagePlugin

from opsin.errors import ImageError, InputError, OpsinError
from opsin.files import atomic_path
from opsin.images.profiles import srgb_profile

_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
WRITABLE_SUFFIXES = tuple(_FORMATS)
"""The endings of file names that `write_image` and `save_pil` know."""

_IMAGE_DESCRIPTION = 0x010E  # EXIF tag


def write_image(
    path: str | os.PathLike[str],
    image: torch.Tensor,
    *,
    overwrite: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a tensor as an 8 bit sRGB file, in the format that the suffix of `path` names.

    Values are clamped to [0, 1] and rounded to the nearest of 256 levels. PNG, TIFF, WebP and BMP are written
    without loss, JPEG at quality 95 without chroma subsampling. See `save_pil` for the rest.

    Shape:
        (3, H, W), (1, 3, H, W), (1, H, W) or (1, 1, H, W), floating point, on any device. One channel writes
        a grey file.

    Raises:
        InputError: `image` has another shape or type, or holds a NaN or an infinity.
        ImageError: as `save_pil`.
        OpsinError: as `save_pil`.

    Example:
        >>> write_image("grey.png", torch.full((3, 8, 8), 0.5))  # doctest: +SKIP
    """
    save_pil(path, _to_pil(image), overwrite=overwrite, metadata=metadata)


LONGEST_SIDES = {"JPEG": 65_535, "WEBP": 16_383}
"""Pixels a side that formats have room for."""


def check_size(path: str | os.PathLike[str], height: int, width: int) -> None:
    """Raise ImageError if the format that the suffix of `path` chooses has no room for an image of that size."""
    name = check_suffix(path)
    longest = LONGEST_SIDES.get(name)
    if longest is not None and max(height, width) > longest:
        raise ImageError(
            f"a {name} file must have at most {longest:,} pixels a side, got {width}x{height} for '{path}'. "
            "Write a PNG."
        )


def check_suffix(path: str | os.PathLike[str]) -> str:
    """Return Pillow's name of the format that the suffix of `path` chooses.

    Raises:
        ImageError: the suffix is unknown.
    """
    path = Path(path)
    name = _FORMATS.get(path.suffix.lower())
    if name is None:
        raise ImageError(
            f"image file must end in {', '.join(WRITABLE_SUFFIXES)}, got '{path.name}'. Choose one of these endings."
        )
    return name


def save_pil(
    path: str | os.PathLike[str],
    image: Image.Image,
    *,
    overwrite: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a Pillow image as `write_image` writes a tensor.

    The file appears under its name only once it is complete. Colour images are tagged as sRGB, or with their
    own profile (`image.info["icc_profile"]`) if they carry one; BMP cannot be tagged. The same image makes
    the same bytes on every run.

    Args:
        path: where to write; the suffix chooses the format.
        image: of a mode that the format can hold.
        overwrite: whether a file that is there may be replaced.
        metadata: texts to keep in the file: PNG text chunks; in JPEG, WebP and TIFF one JSON object in the
            EXIF ImageDescription; in BMP nothing.

    Raises:
        ImageError: the suffix is unknown, the format cannot hold the image, or the file cannot be written.
        InputError: a key of `metadata` is none that PNG allows (1 to 79 characters of Latin-1).
        OpsinError: the folder does not exist, `path` is a folder, or the file exists and `overwrite` is
            False.
    """
    path = Path(path)
    name = check_suffix(path)
    options = _options(name, image, dict(metadata or {}))
    if name == "WEBP" and image.mode in {"1", "L"}:
        image = image.convert("RGB")
    with whole_file(path, f"{image.width}x{image.height} pixels of mode {image.mode}", overwrite=overwrite) as file:
        image.save(file, format=name, **options)


@contextmanager
def whole_file(path: Path, what: str, *, overwrite: bool) -> Iterator[Path]:
    """`atomic_path` for an image, whatever goes wrong told in one kind of error.

    Raises:
        ImageError: it could not be written.
        OpsinError: as `save_pil`.
    """
    try:
        with atomic_path(path, overwrite=overwrite) as temporary:
            yield temporary
    except OpsinError:
        raise
    except Exception as error:  # an encoder's refusal, a full disk, a folder that may not be written in
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(
            f"image must be one that {check_suffix(path)} can hold, in a folder that can be written to, got "
            f"{what} for '{path}' ({reason}). Convert it, or choose another name."
        ) from error


def _options(name: str, image: Image.Image, metadata: dict[str, str]) -> dict[str, Any]:
    check_metadata(metadata)
    options: dict[str, Any] = {}
    if name == "JPEG":
        options.update(quality=95, subsampling="4:4:4")
    elif name == "WEBP":
        options.update(lossless=True, exact=True)
    elif name == "TIFF":
        options.update(compression="tiff_adobe_deflate")
    profile = image.info.get("icc_profile")
    # A profile of three channels does not fit a grey image.
    if profile is None and image.mode in {"RGB", "RGBA", "P"}:
        profile = srgb_profile()
    if name != "BMP" and profile:
        options["icc_profile"] = profile
    if name == "PNG" and metadata:
        options["pnginfo"] = text_chunks(metadata)
    elif metadata and name != "BMP":
        exif = Image.Exif()
        # JSON's escapes keep it to ASCII, all that an EXIF text may hold.
        exif[_IMAGE_DESCRIPTION] = json.dumps(metadata)
        options["exif"] = exif
    return options


def text_chunks(metadata: Mapping[str, str]) -> PngImagePlugin.PngInfo:
    """Texts as PNG keeps them."""
    chunks = PngImagePlugin.PngInfo()
    for key, text in metadata.items():
        chunks.add_text(key, text)
    return chunks


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Raise InputError unless every format can keep it."""
    for key, text in metadata.items():
        if not (isinstance(key, str) and isinstance(text, str)):
            raise InputError(f"metadata must map texts to texts, got {key!r}: {text!r}. Convert both with str().")
        encodable = all(ord(character) < 256 and character.isprintable() for character in key)
        if not (encodable and 1 <= len(key) <= 79):
            raise InputError(
                f"a metadata key must have 1 to 79 printable characters of Latin-1, got {key!r}. Choose a plainer key."
            )


def _to_pil(image: torch.Tensor) -> Image.Image:
    if not isinstance(image, torch.Tensor) or not image.is_floating_point():
        got = image.dtype if isinstance(image, torch.Tensor) else type(image).__name__
        raise InputError(f"image must be a floating point tensor in [0, 1], got {got}. Divide 8 bit values by 255.")
    shape = tuple(image.shape)
    single = shape[1:] if len(shape) == 4 and shape[0] == 1 else shape
    if len(single) != 3 or single[0] not in {1, 3} or 0 in single:
        raise InputError(
            f"image must have shape (3, H, W), (1, 3, H, W), (1, H, W) or (1, 1, H, W), got {shape}. "
            "Write the images of a batch one by one."
        )
    values = image.detach().reshape(single).to("cpu", torch.float32)
    if not bool(torch.isfinite(values).all()):
        raise InputError("image must be finite, got a NaN or an infinity. Look for the step that diverged.")
    levels = values.clamp(0, 1).mul(255).round().to(torch.uint8)
    if single[0] == 1:
        return Image.fromarray(levels[0].numpy())
    return Image.fromarray(levels.permute(1, 2, 0).contiguous().numpy())
