"""Writing a clip whole or not at all, with the times and the sound of the one it was made of."""

from __future__ import annotations

import io
import os
from collections.abc import Generator, Iterable, Mapping
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from opsin.errors import ImageError, InputError
from opsin.files import atomic_path
from opsin.stylize.video.clips import Clip, opened, start_of
from opsin.stylize.video.extras import require_av

WRITABLE_SUFFIXES = (".mp4", ".mov", ".mkv")
"""The endings of file names that `write_clip` knows."""

_H264, _MPEG4 = "libx264", "mpeg4"
# Stylized frames are full of strokes that a coarser quantizer would smear.
_QUALITY = {"crf": "17"}
_FINEST, _FINE = 2, 3  # quantizers of MPEG-4, for which nothing sets a quality
_MPEG4_TICKS = 65535  # the finest time base that it can count in
_BT709, _LIMITED = 1, 1  # of H.273: primaries, transfer and matrix alike; 16..235


def check_clip_suffix(path: str | os.PathLike[str]) -> None:
    """Raise unless `write_clip` knows the ending of the name.

    Raises:
        ImageError: it doesn't.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITABLE_SUFFIXES:
        raise ImageError(
            f"video file must end in {', '.join(WRITABLE_SUFFIXES)}, got '{path.name}'. Choose one of these endings."
        )


def sound_fits(path: str | os.PathLike[str], clip: Clip) -> bool:
    """Whether the sound of a clip can be copied into a file of that ending; also if it has none.

    Its beginning is copied in memory, as a codec that a container knows may still be refused, e.g. for its channels.
    """
    if clip.audio is None:
        return True
    av = require_av()
    sound = _Sound.packets_of(clip)
    template = next(sound)
    try:
        with av.open(io.BytesIO(), "w", format=_muxer(Path(path))) as container:
            if clip.audio not in container.supported_codecs:
                return False
            stream = container.add_stream_from_template(template)
            for packet in islice(sound, 1):
                packet.stream = stream
                container.mux(packet)
    except av.error.FFmpegError:
        return False
    finally:
        sound.close()
    return True


def write_clip(
    path: str | os.PathLike[str],
    frames: Iterable[tuple[int, Tensor]],
    clip: Clip,
    *,
    overwrite: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write frames made of those of a clip, with its times, its rate and its sound.

    H.264 (MPEG-4 where FFmpeg was built without x264) of 4:2:0 in BT.709, said in the file. The sound is copied as it
    is, unless the container can't hold it; see `sound_fits`.

    Args:
        path: where to; .mp4, .mov or .mkv.
        frames: times, as of `Clip.frames`, and images (1,3,H,W) in [0,1] of one size with even sides.
        clip: what they were made of.
        overwrite: whether a file that is there may be replaced.
        metadata: texts to keep in the file under keys that containers know, such as "comment".

    Raises:
        ImageError: the ending is unknown, or the file can't be written.
        InputError: no frame, or of another shape.
        OpsinError: as `opsin.files.check_writable`.
        MissingExtraError: PyAV is not installed.

    Example:
        >>> clip = open_clip("holiday.mp4")  # doctest: +SKIP
        >>> write_clip("negative.mp4", ((time, 1 - image) for time, image in clip.frames()), clip)  # doctest: +SKIP
    """
    path = Path(path)
    check_clip_suffix(path)
    sound = clip.audio is not None and sound_fits(path, clip)
    av = require_av()
    options = {} if _muxer(path) == "matroska" else {"movflags": "+faststart"}  # playing begins before all is there
    with atomic_path(path, overwrite=overwrite) as temporary:
        try:
            with av.open(str(temporary), "w", format=_muxer(path), options=options) as container:
                container.metadata.update(metadata or {})
                _write(container, frames, clip, sound=sound)
        except av.error.FFmpegError as error:  # of ours alone: `frames` and the sound come with errors of their own
            raise ImageError(
                f"clip must be written to '{path}', got {error.strerror}. Make room, or choose another name."
            ) from error


def _muxer(path: Path) -> str:
    return {".mkv": "matroska"}.get(path.suffix.lower(), path.suffix.lower()[1:])


def _write(container: Any, frames: Iterable[tuple[int, Tensor]], clip: Clip, *, sound: bool) -> None:
    images = iter(frames)
    first = next(images, None)
    if first is None:
        raise InputError("a clip must have a frame, got none. Hand over at least one.")
    height, width = first[1].shape[-2:]
    if height % 2 or width % 2:
        raise InputError(
            f"frames must have even sides, as video has one colour for four pixels, got {width}x{height}. Resize them."
        )
    stream = _add_pictures(container, clip, height, width)
    packets = _Sound(container, clip) if sound else None
    for time, image in chain([first], images):
        if tuple(image.shape) != (1, 3, height, width):
            raise InputError(
                f"frames must have shape {(1, 3, height, width)}, as the first, got {tuple(image.shape)}. Resize them."
            )
        if packets is not None:  # side by side, as players read both at once
            packets.write(until=time * clip.time_base)
        container.mux(stream.encode(_to_frame(image, time, clip.time_base)))
    container.mux(stream.encode())
    if packets is not None:
        packets.write(until=None)


def _add_pictures(container: Any, clip: Clip, height: int, width: int) -> Any:
    codec = _encoder()
    stream = container.add_stream(codec, rate=clip.rate)
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    context = stream.codec_context
    context.time_base = clip.time_base
    context.sample_aspect_ratio = clip.aspect
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = _LIMITED
    if codec == _H264:
        stream.options = _QUALITY
    else:
        context.time_base = clip.time_base.limit_denominator(_MPEG4_TICKS)
        context.qmin, context.qmax = _FINEST, _FINE
    return stream


def _encoder() -> str:
    av = require_av()
    try:
        return str(av.codec.Codec(_H264, "w").name)
    except av.codec.codec.UnknownCodecError:
        return _MPEG4


def _to_frame(image: Tensor, time: int, time_base: Fraction) -> Any:
    levels = image[0].detach().clamp(0, 1).mul(255).round().to("cpu", torch.uint8).permute(1, 2, 0)
    frame = require_av().VideoFrame.from_ndarray(levels.contiguous().numpy(), "rgb24")
    frame = frame.reformat(format="yuv420p", dst_colorspace=_BT709, dst_color_range=_LIMITED)
    frame.pts, frame.time_base = time, time_base
    return frame


class _Sound:
    """Packets of a clip's sound on their way into a container."""

    def __init__(self, container: Any, clip: Clip) -> None:
        self._container = container
        self._source = self.packets_of(clip)
        self._stream = container.add_stream_from_template(next(self._source))
        self._next = next(self._source, None)

    def write(self, until: Fraction | None) -> None:
        """Write what is heard until then, in seconds; all if None."""
        while self._next is not None:
            packet = self._next
            if until is not None and packet.dts * packet.time_base > until:
                return
            packet.stream = self._stream
            self._container.mux(packet)
            self._next = next(self._source, None)

    @staticmethod
    def packets_of(clip: Clip) -> Generator[Any, None, None]:
        """First the stream, then its packets, beginning when the clip does."""
        with opened(clip.path) as source:
            stream = source.streams.audio[0]
            yield stream
            begins = round(start_of(source) / stream.time_base)
            for packet in source.demux(stream):
                if packet.dts is None:  # the empty one that tells a decoder of the end
                    continue
                packet.dts -= begins
                packet.pts = packet.dts if packet.pts is None else packet.pts - begins
                yield packet
