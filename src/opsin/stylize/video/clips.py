"""Reading a clip frame by frame, upright, with what its other half, the writer, must know of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from opsin.errors import ImageError, InputError
from opsin.stylize.video.extras import require_av

MAX_FRAMES = 18_000
"""The most frames read unless more are asked for: ten minutes at 30 a second."""

MAX_PIXELS = 8192 * 4320
"""The most pixels of a frame."""

# Containers by FFmpeg's names. Others include playlists, which name further files, and "videos" of plain text.
_DEMUXERS = "mov,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf,gif"

_UNSPECIFIED, _SMPTE2084, _ARIB_STD_B67 = 2, 16, 18  # of the numbers that H.273 gives to colours
_BT709, _BT601 = 1, 5  # of swscale's
_LOWEST_HD = 720


@dataclass(frozen=True)
class Clip:
    """A clip's head.

    Attributes:
        path: where it is.
        width: of its frames as they are shown.
        height: of them.
        rate: frames a second, on average.
        time_base: seconds that its times count.
        declared: how many frames it says that it has; None if it doesn't say.
        aspect: width of a pixel by its height.
        audio: name of the sound's codec, None if there is no sound.
        max_frames: `frames` yields no more.
    """

    path: Path
    width: int
    height: int
    rate: Fraction
    time_base: Fraction
    declared: int | None
    aspect: Fraction
    audio: str | None
    max_frames: int = MAX_FRAMES

    def frames(self) -> Iterator[tuple[int, Tensor]]:
        """Decode one frame after the other: its time in `time_base`, growing, and the image (1,3,H,W) in [0,1].

        Raises:
            ImageError: a damaged file, or frames that change in size.
            InputError: more than `max_frames`.
        """
        with opened(self.path) as container:
            stream = video_stream(container, self.path)
            step = max(1, round(1 / (self.rate * self.time_base)))
            begins = round(start_of(container) / self.time_base)
            time = -1
            for count, frame in enumerate(container.decode(stream)):
                if count == self.max_frames:
                    raise _too_many(self.path, f"more than {self.max_frames}", self.max_frames)
                image = _to_tensor(frame)
                if image.shape[-2:] != (self.height, self.width):
                    raise ImageError(
                        f"clip must keep its size, got frame {count} of {image.shape[-1]}x{image.shape[-2]} after "
                        f"{self.width}x{self.height} in '{self.path}'. Convert it first."
                    )
                # Files without times exist, and ones in which they stand still.
                here = None if frame.pts is None else frame.pts - begins
                if count == 0:
                    time = here or 0
                else:
                    time = time + step if here is None else max(here, time + 1)
                yield time, image


def open_clip(path: str | os.PathLike[str], *, max_frames: int = MAX_FRAMES, max_pixels: int = MAX_PIXELS) -> Clip:
    """Read the head of a clip and its first frame.

    MP4, MOV, Matroska, WebM, AVI, MPEG, FLV, Ogg, ASF and GIF, with whatever codec FFmpeg decodes. Frames are turned as
    the file says, and converted to RGB by the matrix that it names; where none is named, BT.709 from 720 lines on and
    BT.601 below.

    Args:
        path: the file.
        max_frames: the most frames that are read.
        max_pixels: the most pixels a frame may have.

    Raises:
        ImageError: no file, or one that isn't a video, is damaged, or of high dynamic range (PQ or HLG).
        InputError: more frames or pixels than allowed.
        MissingExtraError: PyAV is not installed.

    Example:
        >>> open_clip("holiday.mp4").rate  # doctest: +SKIP
        Fraction(30000, 1001)
    """
    path = Path(path)
    if not path.is_file():
        got = "is none" if path.exists() else "does not exist"
        raise ImageError(f"clip must be a file, got '{path}', which {got}. Check the name.")
    with opened(path) as container:
        stream = video_stream(container, path)
        coded = stream.codec_context
        if coded.width * coded.height > max_pixels:
            raise InputError(
                f"clip must have {max_pixels:,} pixels a frame at most, got {coded.width}x{coded.height} in '{path}'. "
                "Make it smaller first, or allow more."
            )
        if stream.frames > max_frames:
            raise _too_many(path, str(stream.frames), max_frames)
        first = next(container.decode(stream), None)
        if first is None:
            raise ImageError(f"clip must have a frame, got none in '{path}'. Is the file whole?")
        if coded.color_trc in {_SMPTE2084, _ARIB_STD_B67}:
            raise ImageError(
                f"clip must be of standard dynamic range, got PQ or HLG in '{path}'. Convert it to BT.709 first."
            )
        height, width = _to_tensor(first).shape[-2:]
        aspect = Fraction(stream.sample_aspect_ratio or 1)
        sound = container.streams.audio
        return Clip(
            path,
            width,
            height,
            Fraction(stream.average_rate or stream.guessed_rate or 25),
            Fraction(stream.time_base),
            stream.frames or None,
            1 / aspect if _lies_on_its_side(_matrix_of(first)) else aspect,
            sound[0].codec_context.name if sound else None,
            max_frames,
        )


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a clip with PyAV; whatever FFmpeg says of it is an error of ours."""
    # An absolute path, as FFmpeg takes what stands before a colon for a protocol; and of protocols only files.
    options = {"format_whitelist": _DEMUXERS, "protocol_whitelist": "file"}
    av = require_av()
    try:
        with av.open(str(path.absolute()), options=options) as container:
            yield container
    except av.error.FFmpegError as error:
        raise ImageError(
            f"clip must be a whole video of a known format, got '{path}' ({error.strerror}). Is it one?"
        ) from error


def video_stream(container: Any, path: Path) -> Any:
    """The first stream of moving pictures; that of a song's cover is none."""
    still = require_av().stream.Disposition.attached_pic
    for stream in container.streams.video:
        if not stream.disposition & still:
            return stream
    raise ImageError(f"clip must have moving pictures, got none in '{path}'. Name a video.")


def start_of(container: Any) -> Fraction:
    """Seconds at which the file begins: not always 0, e.g. in what was cut out of a broadcast."""
    return Fraction(container.start_time or 0, require_av().time_base)


def _too_many(path: Path, got: str, most: int) -> InputError:
    return InputError(f"clip must have {most} frames at most, got {got} in '{path}'. Cut it, or allow more.")


def _to_tensor(frame: Any) -> Tensor:
    matrix = frame.colorspace
    if matrix == _UNSPECIFIED:
        matrix = _BT709 if frame.height >= _LOWEST_HD else _BT601
    image = _upright(frame.to_ndarray(format="rgb24", src_colorspace=matrix), _matrix_of(frame))
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float().div_(255)


def _matrix_of(frame: Any) -> np.ndarray:
    """The 3x3 matrix by which a frame is to be shown, (x, y, 1) its rows' factors."""
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            return np.frombuffer(bytes(data), np.int32).reshape(3, 3)
    return np.eye(3, dtype=np.int32)


def _lies_on_its_side(matrix: np.ndarray) -> bool:
    return abs(matrix[0, 1]) > abs(matrix[0, 0])


def _upright(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Turn and mirror (H,W,3) by quarters, as cameras do; what lies between is taken for the nearest."""
    across, down = matrix[0, 0], matrix[1, 1]
    if _lies_on_its_side(matrix):
        image = image.swapaxes(0, 1)
        across, down = matrix[1, 0], matrix[0, 1]
    return image[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]
