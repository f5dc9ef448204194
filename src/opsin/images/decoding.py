"""From an opened Pillow image to its samples, whatever the mode: depth kept, transparency apart."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from opsin.errors import ImageError

Floats = npt.NDArray[np.float32]

_BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANAR_CONFIGURATION, _EXTRA_SAMPLES = 258, 262, 284, 338  # TIFF tags
_WHITE_IS_ZERO, _SEPARATE_PLANES = 0, 2
_DEEP_LAYOUTS = ("RGB", "RGBX", "RGBA", "RGBa")
_DEEP_ORDERS = ("16B", "16L", "16N")


@dataclass(frozen=True)
class Pixels:
    """The samples of one image, still in the file's own colour space.

    Attributes:
        colour: an 8 bit image of mode "L", "RGB", "CMYK" or "LAB"; or, of deeper files, an array (H, W, 1 or
            3) in [0, 1], grey or RGB.
        alpha: (H, W) in [0, 1], not multiplied into `colour`; None where the file has no transparency.
    """

    colour: Image.Image | Floats
    alpha: Floats | None


def decode(file: IO[bytes], image: ImageFile.ImageFile) -> Pixels:
    """Decode `image`, which was opened from `file` and not loaded yet.

    Raises:
        ImageError: the samples have no fixed range: floats outside of [0, 1], integers of more than 16 bits.
        Exception: anything that Pillow's decoders raise on a damaged file.
    """
    raw_mode = _raw_mode(image)
    if raw_mode == "LA;16B":
        return _decode_grey_alpha_16(image)
    order = _order_of_16_bit_colour(image, raw_mode)
    if order and _unpackers_pick_bytes():
        return _decode_colour_16(file, image, order)
    image.load()
    if image.mode == "F" or image.mode.startswith("I"):
        return _deep_grey(image, raw_mode)
    return _eight_bits(image, raw_mode)


def _raw_mode(image: ImageFile.ImageFile) -> str:
    arguments: Any = image.tile[0][3] if image.tile else ""
    if isinstance(arguments, tuple) and arguments:
        arguments = arguments[0]
    return arguments if isinstance(arguments, str) else ""


def _set_raw_mode(image: ImageFile.ImageFile, change: Callable[[str], str]) -> None:
    tiles: list[Any] = []
    for tile in image.tile:
        old: Any = tile[3]
        arguments = (change(old[0]), *old[1:]) if isinstance(old, tuple) else change(old)
        # Tiles are named tuples from Pillow 11 on, and it uses the names.
        tiles.append(tile._replace(args=arguments) if hasattr(tile, "_replace") else (*tile[:3], arguments))
    image.tile = tiles


# --- 16 bits


@cache
def _unpackers_pick_bytes() -> bool:
    # What `_decode_colour_16` rests on, true of every Pillow so far. One that rounds or reads 16 bits itself
    # falls back to its own reading.
    pixel = bytes([1, 2, 3, 4, 5, 6])
    big = Image.frombytes("RGB", (1, 1), pixel, "raw", "RGB;16B").tobytes()
    little = Image.frombytes("RGB", (1, 1), pixel, "raw", "RGB;16L").tobytes()
    return big == pixel[0::2] and little == pixel[1::2]


def _order_of_16_bit_colour(image: ImageFile.ImageFile, raw_mode: str) -> str:
    """Return "16B", "16L" or "16N" for 16 bit RGB, with alpha or without; else nothing."""
    layout, _, order = raw_mode.partition(";")
    if not isinstance(image, TiffImageFile) or image.tag_v2.get(_PLANAR_CONFIGURATION) != _SEPARATE_PLANES:
        return order if layout in _DEEP_LAYOUTS and order in _DEEP_ORDERS else ""
    if image.use_load_libtiff:
        return ""  # compressed planes go another way inside Pillow, which gives their high bytes only
    if image.mode not in {"RGB", "RGBA"} or 16 not in np.atleast_1d(image.tag_v2.get(_BITS_PER_SAMPLE, 1)):
        return ""
    # Pillow takes these planes for 8 bits deep and would give noise without an error.
    return "16L" if image.tag_v2.prefix == b"II" else "16B"


def _decode_colour_16(file: IO[bytes], image: ImageFile.ImageFile, order: str) -> Pixels:
    # Pillow has no mode for 16 bit colour: it unpacks the high byte of each sample and drops the low one.
    # Decoding a second time with the opposite byte order declared makes it take the low byte instead.
    little = order == "16L" or (order == "16N" and sys.byteorder == "little")
    high_order, low_order = ("16L", "16B") if little else ("16B", "16L")
    premultiplied = isinstance(image, TiffImageFile) and _premultiplied(image)

    def take(which: str) -> Callable[[str], str]:
        # Upper case: the unpacker of RGBa would divide bytes, each by the same byte of alpha. That waits.
        return lambda raw_mode: f"{raw_mode.partition(';')[0].upper()};{which}"

    _set_raw_mode(image, take(high_order))
    image.load()
    with Image.open(file, formats=[str(image.format)]) as again:
        _set_raw_mode(again, take(low_order))
        again.load()
        low = np.asarray(again).astype(np.uint16)
    high = np.asarray(image).astype(np.uint16)
    samples = high << 8 | low
    colour = _scale(samples[..., :3], 65535)
    alpha = _scale(samples[..., 3], 65535) if samples.shape[-1] == 4 else None
    if premultiplied and alpha is not None:
        opacity = alpha[..., None]
        colour = np.divide(colour, opacity, out=np.zeros_like(colour), where=opacity > 0).clip(0, 1)
    transparency = image.info.get("transparency")
    if isinstance(transparency, tuple) and alpha is None:
        alpha = _scale((samples != np.array(transparency)).any(-1), 1)
    return Pixels(colour, alpha)


def _decode_grey_alpha_16(image: ImageFile.ImageFile) -> Pixels:
    # PNG's 16 bit grey with alpha has four bytes a pixel, as 8 bit RGBA has, and is read as that.
    _set_raw_mode(image, lambda _: "RGBA")
    image.load()
    octets = np.asarray(image).astype(np.uint16)
    samples = octets[..., 0::2] << 8 | octets[..., 1::2]
    return Pixels(_scale(samples[..., :1], 65535), _scale(samples[..., 1], 65535))


def _premultiplied(image: TiffImageFile) -> bool:
    return 1 in np.atleast_1d(image.tag_v2.get(_EXTRA_SAMPLES, 0))


# --- grey, deeper than 8 bits


def _deep_grey(image: ImageFile.ImageFile, raw_mode: str) -> Pixels:
    values = np.asarray(image)
    top = 1 if image.mode == "F" else 4095 if raw_mode == "I;12" else 65535
    # Written so that a NaN fails too.
    if not (values.min() >= 0 and values.max() <= top):
        kind = "floating point samples in [0, 1]" if image.mode == "F" else f"integer samples in [0, {top}]"
        raise ImageError(
            f"a grey image must hold {kind}, got [{values.min():g}, {values.max():g}]. Rescale it to that range."
        )
    colour = _scale(values[..., None], top)
    if isinstance(image, TiffImageFile) and image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        colour = 1 - colour  # Pillow turns 8 bit samples over, deeper ones it leaves
    transparency = image.info.get("transparency")
    return Pixels(colour, _scale(values != transparency, 1) if isinstance(transparency, int) else None)


# --- 8 bits


def _eight_bits(image: Image.Image, raw_mode: str) -> Pixels:
    transparency = image.info.get("transparency")
    if image.mode == "1" and isinstance(transparency, int):
        transparency = 255 if transparency else 0  # 1 or 255, as the version of Pillow has it
    mode = {
        "P": "RGBA" if image.has_transparency_data else "RGB",
        "PA": "RGBA",
        "La": "LA",
        "RGBa": "RGBA",
        "1": "L",
    }.get(image.mode, image.mode)
    if mode not in {"L", "LA", "RGB", "RGBA", "CMYK", "LAB"}:
        mode = "RGB"
    if image.mode != mode:
        image = image.convert(mode)
    if mode in {"LA", "RGBA"}:
        *bands, alpha = image.split()
        return Pixels(Image.merge(mode[:-1], bands), _scale(np.asarray(alpha), 255))
    if mode == "L" and isinstance(transparency, int):
        # Pillow stretches samples of 2 and 4 bits to 8, but leaves the transparent level in the file's depth.
        stretch = {"L;2": 85, "L;4": 17}.get(raw_mode, 1)
        return Pixels(image, _scale(np.asarray(image) != transparency * stretch, 1))
    if mode == "RGB" and isinstance(transparency, tuple):
        return Pixels(image, _scale((np.asarray(image) != np.array(transparency)).any(-1), 1))
    return Pixels(image, None)


def _scale(values: npt.NDArray[Any], top: int) -> Floats:
    return np.divide(values, top, dtype=np.float32)
