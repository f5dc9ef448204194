"""Reading an image file as a tensor, with one kind of error for whatever may be wrong with it."""

from __future__ import annotations

import io
import os
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageColor

from opsin.checks import whole
from opsin.errors import ImageError, InputError, OpsinError
from opsin.images.decoding import Floats, Pixels, decode
from opsin.images.png import decode_plain
from opsin.images.profiles import changes_pixels, to_srgb

DEFAULT_MAX_PIXELS = 89_478_485
"""The most pixels read unless more are asked for: where Pillow starts to warn of decompression bombs."""

# Only these: Pillow's others include PostScript, which runs a program, and decoders that few people test.
_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")
_MAGIC = {
    b"\x89PNG": "PNG",
    b"\xff\xd8": "JPEG",
    b"RIFF": "WebP",
    b"II": "TIFF",
    b"MM": "TIFF",
    b"BM": "BMP",
    b"GIF8": "GIF",
}
_EXIF_ORIENTATION = 0x0112

Number = TypeVar("Number", np.float32, np.uint8)


class Upright(NamedTuple):
    """What a file holds, in sRGB and turned as it is to be seen.

    Attributes:
        colour: (H, W, 3) in [0, 1], also of grey files; what lies under transparency is as the file has it.
        alpha: (H, W) in [0, 1]; None where the file has no transparency.
        depth: 8 or 16 bits of each sample; 16 for all that is deeper than 8.
        grey: whether the file is grey.
    """

    colour: Floats
    alpha: Floats | None
    depth: int
    grey: bool


def read_image(
    path: str | os.PathLike[str], *, background: str = "white", max_pixels: int = DEFAULT_MAX_PIXELS
) -> torch.Tensor:
    """Read a PNG, JPEG, WebP, TIFF, BMP or GIF file as RGB.

    The picture is turned as its EXIF orientation says, converted from its embedded ICC profile to sRGB and
    laid over `background` where it is transparent (the blend is of sRGB values, as browsers do it). Of an
    animation or a file of several pages, the first is read. Grey is repeated to three channels; palettes, 1
    bit and CMYK become RGB.

    Depth: 16 bit grey, RGB and RGBA of PNG and TIFF keep their 16 bits, 12 bit grey TIFF its 12. Floating
    point grey TIFF is taken as it is and must lie in [0, 1]. Read at 8 bits: 16 bit CMYK, compressed 16 bit
    TIFF stored in separate planes, and 16 bit files whose ICC profile is not sRGB. Not read at all, as
    Pillow cannot: floating point RGB TIFF, 16 bit grey TIFF with alpha.

    Colour: a profile that cannot be parsed, or that is for another colour space than the image's, is ignored
    and the image taken as sRGB; so is a profile that moves no colour by more than one level of 255. An
    unreadable EXIF block counts as no orientation. PNG's gAMA and cHRM chunks are not applied. CMYK without a
    profile is converted by the plain formula.

    Args:
        path: the file.
        background: what shows through transparency: a colour name or "#rrggbb".
        max_pixels: the most pixels that the file's header may announce, checked before anything is decoded.
            Beyond twice `PIL.Image.MAX_IMAGE_PIXELS` Pillow refuses by itself.

    Shape:
        (1, 3, H, W), float32, contiguous, on the CPU.

    Range:
        [0, 1].

    Raises:
        ImageError: the file is missing, a folder, empty, unreadable, damaged, cut short, too large or not an
            image of these formats, or its samples have no fixed range.
        InputError: `background` is not an opaque colour, or `max_pixels` not a positive number.

    Example:
        >>> read_image("photo.jpg").shape  # doctest: +SKIP
        torch.Size([1, 3, 480, 640])
    """
    backdrop = parse_colour(background)
    return to_tensor(_laid_over(read_upright(path, max_pixels=max_pixels), backdrop))


def read_array(
    path: str | os.PathLike[str],
    *,
    background: str = "white",
    max_pixels: int = DEFAULT_MAX_PIXELS,
    content: bytes | None = None,
) -> Floats | npt.NDArray[np.uint8]:
    """Read what `read_image` reads as (H, W, 3): uint8 where the file has 8 bits and nothing to lay over, else floats.

    Divided by 255 in float32, the former are what `read_image` gives, in a quarter of the memory.

    Args:
        path: the file, or what it is called.
        background: see `read_image`.
        max_pixels: see `read_image`.
        content: the file's bytes, where they are at hand already; then nothing is read of `path`, and plain PNG is
            decoded by kornia-rs if that is installed.

    Raises:
        ImageError: as `read_image`.
        InputError: as `read_image`.
    """
    backdrop = parse_colour(background)
    check_max_pixels(max_pixels)
    # Beyond the default Pillow has a say, see `read_image`.
    plain = None if content is None else decode_plain(content, min(max_pixels, DEFAULT_MAX_PIXELS))
    if plain is not None:
        return plain
    pixels, _, orientation = _read(path, max_pixels, content)
    if pixels.alpha is None and isinstance(pixels.colour, Image.Image):
        return _orient(np.asarray(pixels.colour), orientation)
    return _laid_over(_upright(pixels, orientation, grey=False), backdrop)


def read_file(path: str | os.PathLike[str]) -> bytes:
    """The bytes of an image file, whatever is in it.

    Raises:
        ImageError: the file is missing, a folder, no regular file, or may not be read.
    """
    try:
        with _open_file(Path(path)) as file:
            return file.read()
    except OSError as error:
        raise ImageError(f"image must be a file that can be read, got '{path}' ({_one_line(error)}).") from error


def _laid_over(pixels: Upright, backdrop: Floats) -> Floats:
    if pixels.alpha is None:
        return pixels.colour
    alpha = pixels.alpha[..., None]
    return (pixels.colour * alpha + backdrop * (1 - alpha)).clip(0, 1)


def to_tensor(colour: Floats) -> torch.Tensor:
    """(H, W, C) -> (1, C, H, W), contiguous."""
    return torch.from_numpy(np.ascontiguousarray(colour.transpose(2, 0, 1)))[None]


def read_upright(path: str | os.PathLike[str], *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Upright:
    """Read a file as `read_image` does, but leave its transparency apart and say what it was.

    Raises:
        ImageError: as `read_image`.
        InputError: `max_pixels` is not a positive number.
    """
    pixels, grey, orientation = _read(path, max_pixels)
    return _upright(pixels, orientation, grey=grey)


def _upright(pixels: Pixels, orientation: int, *, grey: bool) -> Upright:
    depth = 16 if isinstance(pixels.colour, np.ndarray) else 8
    alpha = None if pixels.alpha is None else _orient(pixels.alpha, orientation)
    return Upright(_orient(_to_floats(pixels), orientation), alpha, depth, grey)


def _read(path: str | os.PathLike[str], max_pixels: int, content: bytes | None = None) -> tuple[Pixels, bool, int]:
    """The samples in sRGB, whether they are grey, and the orientation by EXIF."""
    check_max_pixels(max_pixels)
    path = Path(path) if content is None else path
    with _open_file(Path(path)) if content is None else io.BytesIO(content) as file, _quiet_pillow():
        try:
            return _decode_checked(file, path, max_pixels)
        except OpsinError:
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise ImageError(
                f"image must have at most {max_pixels:,} pixels, got '{path}', which announces more "
                f"({_one_line(error)}). Shrink it, or raise max_pixels and PIL.Image.MAX_IMAGE_PIXELS if you "
                "trust it."
            ) from error
        except Exception as error:  # Pillow's decoders raise anything at all on damaged bytes
            raise ImageError(
                f"image must be a whole, valid file, got '{path}', which is damaged or cut short "
                f"({_one_line(error)}). Get it again or save it anew."
            ) from error


def announced_size(path: str | os.PathLike[str], *, exactly: bool = False) -> tuple[int, int] | None:
    """Width and height of an image, turned upright, by the header of its file; None if that cannot be read.

    Args:
        path: the file.
        exactly: look behind the pixels too, where a PNG may say how it lies; all of it is read for that.
    """
    try:
        with _open_file(Path(path)) as file, _quiet_pillow(), Image.open(file, formats=_FORMATS) as image:
            if exactly:
                image.load()
            width, height = image.size
            # Pillow turns TIFF by itself while loading and then takes the tag away; PNG's own method would load.
            turned = _orientation(partial(Image.Image.getexif, image)) >= 5
            return (height, width) if turned else (width, height)
    except Exception:  # Pillow raises anything at all on damaged bytes; whoever reads the file is told
        return None


def check_max_pixels(max_pixels: int) -> None:
    """Raise InputError unless `max_pixels` is a positive whole number."""
    whole("max_pixels", max_pixels)


def parse_colour(colour: str) -> Floats:
    """The (3,) values in [0,1] of a background.

    Raises:
        InputError: it is not an opaque colour.
    """
    try:
        channels = ImageColor.getrgb(colour)
    except (ValueError, AttributeError, TypeError):
        channels = ()
    if len(channels) != 3:
        raise InputError(
            f"background must be an opaque colour, got {colour!r}. Give a name such as 'white' or '#rrggbb'."
        )
    return np.divide(channels, 255, dtype=np.float32)


def _open_file(path: Path) -> IO[bytes]:
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            return path.open("rb")
    except FileNotFoundError as error:
        raise ImageError(f"image must be a file that exists, got '{path}', which does not. Check the name.") from error
    except PermissionError as error:
        raise ImageError(
            f"image must be a file that you may read, got '{path}', which you may not. Change its permissions."
        ) from error
    except (OSError, ValueError) as error:
        raise ImageError(
            f"image must be a file that can be opened, got {str(path)!r} ({_one_line(error)}). Check the name."
        ) from error
    if stat.S_ISDIR(mode):
        raise ImageError(f"image must be a file, got the folder '{path}'. Name a file in it.")
    raise ImageError(f"image must be a regular file, got '{path}', a device or pipe. Copy it to a file first.")


def _decode_checked(file: IO[bytes], path: object, max_pixels: int) -> tuple[Pixels, bool, int]:
    start = file.read(4)
    if not start:
        raise ImageError(f"image must hold a picture, got '{path}', which is empty. Get it again or save it anew.")
    try:
        image = Image.open(file, formats=_FORMATS)
    except Image.UnidentifiedImageError as error:
        kind = next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None)
        what = (
            f"which begins like {kind} but is damaged or of a variety that Pillow cannot decode. Save it anew"
            if kind
            else "which is none of these. Convert it"
        )
        raise ImageError(f"image must be a PNG, JPEG, WebP, TIFF, BMP or GIF file, got '{path}', {what}.") from error
    with image:
        width, height = image.size
        if min(width, height) < 1:
            raise ImageError(f"image must have pixels, got {width}x{height} in '{path}'. Save it anew.")
        if width * height > max_pixels:
            raise ImageError(
                f"image must have at most {max_pixels:,} pixels, got {width}x{height} = {width * height:,} "
                f"in '{path}'. Shrink it, or raise max_pixels if you trust it."
            )
        try:
            pixels = decode(file, image)
        except ImageError as error:
            raise ImageError(f"cannot read '{path}': {error}") from None
        profile = _profile(image)
        grey = pixels.colour.shape[-1] == 1 if isinstance(pixels.colour, np.ndarray) else pixels.colour.mode == "L"
        if isinstance(pixels.colour, np.ndarray):
            mode = "L" if grey else "RGB"
            if changes_pixels(profile, mode):  # ImageCms has no 16 bit modes
                octets = np.rint(pixels.colour * 255).astype(np.uint8)
                grey_or_rgb = Image.fromarray(octets[..., 0] if mode == "L" else octets)
                pixels = Pixels(to_srgb(grey_or_rgb, profile), pixels.alpha)
        else:
            pixels = Pixels(to_srgb(pixels.colour, profile), pixels.alpha)
        # Asked for last: PNG may keep its EXIF behind the pixels, and Pillow turns TIFF by itself while
        # loading and then takes the tag away.
        return pixels, grey, _orientation(image.getexif)


def _profile(image: Image.Image) -> bytes | None:
    profile = image.info.get("icc_profile")
    return profile if isinstance(profile, bytes) else None


def _orientation(read: Callable[[], Image.Exif]) -> int:
    try:
        value = read().get(_EXIF_ORIENTATION, 1)
    except Exception:  # an unreadable EXIF block must not cost a whole picture
        return 1
    return value if value in range(2, 9) else 1


def _to_floats(pixels: Pixels) -> Floats:
    if isinstance(pixels.colour, np.ndarray):
        return np.repeat(pixels.colour, 3, axis=-1) if pixels.colour.shape[-1] == 1 else pixels.colour
    return np.divide(np.asarray(pixels.colour), 255, dtype=np.float32)


def _orient(colour: npt.NDArray[Number], orientation: int) -> npt.NDArray[Number]:
    # Orientations 5 to 8 have rows and columns exchanged; 2, 3, 6, 7 start at the right; 3, 4, 7, 8 at the
    # bottom.
    if orientation >= 5:
        colour = colour.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        colour = colour[:, ::-1]
    if orientation in (3, 4, 7, 8):
        colour = colour[::-1]
    return colour


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


_quiet_lock = threading.Lock()
_quiet_readers = 0
_quiet_filters: warnings.catch_warnings | None = None


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    # Pillow warns of what is either an error here (a bomb) or of no matter (an odd tag). Filters belong to
    # the process: without the count, two threads reading at once could leave each other's filters behind for
    # good.
    global _quiet_readers, _quiet_filters  # noqa: PLW0603
    with _quiet_lock:
        if _quiet_readers == 0:
            _quiet_filters = warnings.catch_warnings()
            _quiet_filters.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
        _quiet_readers += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_readers -= 1
            if _quiet_readers == 0 and _quiet_filters is not None:
                _quiet_filters.__exit__(None, None, None)
                _quiet_filters = None
