"""From an opened Pillow image to its samples, whatever the mode: depth kept, transparency apart."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from opsin.errors import ImageError

Floats = npt.NDArray[np.float32]

_BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANAR_CONFIGURATION = 258, 262, 284  # TIFF tags
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
    _route_planes_through_libtiff(image)
    raw_mode = _raw_mode(image)
    if raw_mode == "LA;16B":
        return _decode_grey_alpha_16(image)
    layout, _, order = raw_mode.partition(";")
    if (
        layout in _DEEP_LAYOUTS
        and order in _DEEP_ORDERS
        and not _is_planar(image)
        and _unpackers_pick_bytes()
    ):
        return _decode_colour_16(file, image, layout, order)
    image.load()
    if image.mode == "F" or image.mode.startswith("I"):
        return _deep_grey(image, raw_mode)
    return _eight_bits(image, raw_mode)


def _raw_mode(image: ImageFile.ImageFile) -> str:
    arguments: Any = image.tile[0][3] if image.tile else ""
    if isinstance(arguments, tuple) and arguments:
        arguments = arguments[0]
    return arguments if isinstance(arguments, str) else ""


def _set_raw_mode(image: ImageFile.ImageFile, raw_mode: str) -> None:
    tiles: list[Any] = []
    for tile in image.tile:
        old: Any = tile[3]
        arguments = (raw_mode, *old[1:]) if isinstance(old, tuple) else raw_mode
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


def _decode_colour_16(file: IO[bytes], image: ImageFile.ImageFile, layout: str, order: str) -> Pixels:
    # Pillow has no mode for 16 bit colour: it unpacks the high byte of each sample and drops the low one.
    # Decoding a second time with the opposite byte order declared makes it take the low byte instead.
    little = order == "16L" or (order == "16N" and sys.byteorder == "little")
    high_order, low_order = ("16L", "16B") if little else ("16B", "16L")
    # The unpacker for premultiplied samples would divide bytes, each by the same byte of alpha; that waits.
    base = "RGBA" if layout == "RGBa" else layout
    _set_raw_mode(image, f"{base};{high_order}")
    image.load()
    with Image.open(file, formats=[str(image.format)]) as again:
        _set_raw_mode(again, f"{base};{low_order}")
        again.load()
        low = np.asarray(again).astype(np.uint16)
    high = np.asarray(image).astype(np.uint16)
    samples = high << 8 | low
    colour = _scale(samples[..., :3], 65535)
    alpha = _scale(samples[..., 3], 65535) if samples.shape[-1] == 4 else None
    if layout == "RGBa" and alpha is not None:
        opacity = alpha[..., None]
        colour = np.divide(colour, opacity, out=np.zeros_like(colour), where=opacity > 0).clip(0, 1)
    transparency = image.info.get("transparency")
    if isinstance(transparency, tuple) and alpha is None:
        alpha = _scale((samples != np.array(transparency)).any(-1), 1)
    return Pixels(colour, alpha)


def _decode_grey_alpha_16(image: ImageFile.ImageFile) -> Pixels:
    # PNG's 16 bit grey with alpha has four bytes a pixel, as 8 bit RGBA has, and is read as that.
    _set_raw_mode(image, "RGBA")
    image.load()
    octets = np.asarray(image).astype(np.uint16)
    samples = octets[..., 0::2] << 8 | octets[..., 1::2]
    return Pixels(_scale(samples[..., :1], 65535), _scale(samples[..., 1], 65535))


def _is_planar(image: ImageFile.ImageFile) -> bool:
    return isinstance(image, TiffImageFile) and image.tag_v2.get(_PLANAR_CONFIGURATION) == _SEPARATE_PLANES


def _route_planes_through_libtiff(image: ImageFile.ImageFile) -> None:
    # Pillow takes uncompressed planes of 16 bits for planes of 8, and gives noise without an error. Its
    # libtiff decoder, used for compressed files only, reads them right (of colour, the high bytes).
    if not isinstance(image, TiffImageFile) or not _is_planar(image) or image.use_load_libtiff:
        return
    if 16 not in np.atleast_1d(image.tag_v2.get(_BITS_PER_SAMPLE, 1)):
        return
    width, height = image.tag_v2[256], image.tag_v2[257]
    raw_mode = f"{image.mode.partition(';')[0]};16N"
    tile: Any = ("libtiff", (0, 0, width, height), 0, (raw_mode, False, image.tag_v2.offset))
    image.tile = [type(image.tile[0])(*tile) if hasattr(image.tile[0], "_replace") else tile]
    image.use_load_libtiff = True


# --- grey, deeper than 8 bits


def _deep_grey(image: ImageFile.ImageFile, raw_mode: str) -> Pixels:
    values = np.asarray(image)
    top = 1 if image.mode == "F" else 4095 if raw_mode == "I;12" else 65535
    # Written so that a NaN fails too.
    if not (values.min() >= 0 and values.max() <= top):
        kind = "floating point samples in [0, 1]" if image.mode == "F" else f"integer samples in [0, {top}]"
        raise ImageError(
            f"a grey image must hold {kind}, got [{values.min():g}, {values.max():g}]. Rescale it "
            "to that range."
        )
    colour = _scale(values[..., None], top)
    if isinstance(image, TiffImageFile) and image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        colour = 1 - colour  # Pillow turns 8 bit samples over, deeper ones it leaves
    transparency = image.info.get("transparency")
    return Pixels(colour, _scale(values != transparency, 1) if isinstance(transparency, int) else None)


# --- 8 bits


def _eight_bits(image: Image.Image, raw_mode: str) -> Pixels:
    transparency = image.info.get("transparency")
    mode = {"P": "RGBA", "PA": "RGBA", "La": "LA", "RGBa": "RGBA", "1": "L"}.get(image.mode, image.mode)
    if mode not in {"L", "LA", "RGB", "RGBA", "CMYK", "LAB"}:
        mode = "RGB"
    if image.mode != mode:
        image = image.convert(mode)
    if mode in {"LA", "RGBA"}:
        *bands, alpha = image.split()
        return Pixels(Image.merge(mode[:-1], bands), _scale(np.asarray(alpha), 255))
    if mode == "L" and isinstance(transparency, int):
        # The transparent level is in the file's own depth, and Pillow has stretched the samples to 8 bits.
        stretch = {"1": 255, "L;2": 85, "L;4": 17}.get(raw_mode, 1)
        return Pixels(image, _scale(np.asarray(image) != transparency * stretch, 1))
    if mode == "RGB" and isinstance(transparency, tuple):
        return Pixels(image, _scale((np.asarray(image) != np.array(transparency)).any(-1), 1))
    return Pixels(image, None)


def _scale(values: npt.NDArray[Any], top: int) -> Floats:
    return np.divide(values, top, dtype=np.float32)
