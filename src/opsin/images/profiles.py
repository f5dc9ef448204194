"""ICC colour profiles: bringing 8 bit images to sRGB, and the sRGB profile that written files carry."""

from __future__ import annotations

import io
import struct
from functools import cache, lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms

# Colour space signature of a profile -> the Pillow mode whose samples it describes.
_MODE_OF_SPACE = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}

# One level is what rounding costs on the way through lcms; a profile that moves no colour further is sRGB.
_SRGB_TOLERANCE = 1

# lcms samples the curve of a grey profile at few points, ten levels off in the dark, unless told not to. That
# is ten times slower, which the 256 levels that `_apply` asks for don't notice.
_NO_OPTIMISATION: Any = 0x0100  # by number, as its name moved between the versions of Pillow


@cache
def srgb_profile() -> bytes:
    """Return an sRGB profile to embed; always the same bytes, so that equal images make equal files."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # lcms stamps the present time into bytes 24..35 of the header.
    return data[:24] + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + data[36:]


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return an "L", "RGB", "CMYK" or "LAB" image as "RGB" in sRGB.

    A profile that lcms cannot parse, or that is for another colour space than the image's (CMYK on an RGB
    image), is ignored: the pixels are whole and sRGB is the usual meaning of an untagged file.
    """
    if image.mode == "LAB":
        lab = ImageCms.buildTransform(ImageCms.createProfile("LAB"), _srgb(), "LAB", "RGB")
        return _apply(image, lab)
    found = _transform(profile, image.mode) if profile else None
    if found is None:
        return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it
    mode, transform = found
    return _apply(image.convert(mode), transform)


def changes_pixels(profile: bytes | None, mode: str) -> bool:
    """Say whether `profile` is one that `to_srgb` would convert from, that is, usable and not sRGB itself."""
    return bool(profile) and _transform(profile, mode) is not None


# The images of a folder mostly share one profile, and building a transform takes longest.
@lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str) -> tuple[str, ImageCms.ImageCmsTransform] | None:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        header: Any = source.profile
        space = _MODE_OF_SPACE.get(header.xcolor_space.strip(), "")
        if space != mode and (space, mode) != ("RGB", "L"):
            return None
        flags: Any = _NO_OPTIMISATION if space == "L" else 0
        transform = ImageCms.buildTransform(source, _srgb(), space, "RGB", ImageCms.Intent.PERCEPTUAL, flags)
        if space != "CMYK" and _is_identity(transform, space):
            return None
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, AttributeError):
        return None
    return space, transform


def _is_identity(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    levels = np.arange(256, dtype=np.uint8)
    if mode == "RGB":
        levels = np.stack(np.meshgrid(*[levels[::15]] * 3), -1).reshape(-1, 3)
    probe = Image.fromarray(levels[None])
    before = np.asarray(probe.convert("RGB")).astype(int)
    after = np.asarray(_apply(probe, transform)).astype(int)
    return bool(np.abs(after - before).max() <= _SRGB_TOLERANCE)


def _apply(image: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    if image.mode != "L":
        return transform.apply(image)
    ramp = transform.apply(Image.fromarray(np.arange(256, dtype=np.uint8)[None]))
    return Image.fromarray(np.asarray(ramp)[0][np.asarray(image)])


def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(io.BytesIO(srgb_profile()))
