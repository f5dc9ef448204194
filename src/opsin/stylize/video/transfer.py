"""A clip in the style of paintings, from file to file."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from opsin._version import __version__
from opsin.checks import whole
from opsin.errors import InputError
from opsin.extractors import Extractor, make_extractor
from opsin.files import check_writable
from opsin.images import resize
from opsin.results import Signature
from opsin.stylize.identity import hash_images
from opsin.stylize.inputs import check_image, check_weights
from opsin.stylize.planning import fitted
from opsin.stylize.settings import Settings
from opsin.stylize.video.clips import MAX_FRAMES, open_clip
from opsin.stylize.video.extras import require_cv2
from opsin.stylize.video.painting import ClipPainter, Stopped
from opsin.stylize.video.sequence import stylize_frames
from opsin.stylize.video.store import FrameStore
from opsin.stylize.video.writing import check_clip_suffix, sound_fits, write_clip


@dataclass(frozen=True)
class VideoProgress:
    """Where a run is.

    Attributes:
        frame: that is being made, from 0.
        frames: how many there are; None if the file doesn't say.
        step: of this frame, or of this scale of the first frame, from 1.
        steps: how many there are of it.
        seconds: since the run began or went on.
        total: the objective before this step.
        terms: its summands by name: "content", "style", "temporal" …
    """

    frame: int
    frames: int | None
    step: int
    steps: int
    seconds: float
    total: float
    terms: Mapping[str, float]


@dataclass(frozen=True)
class VideoResult:
    """What came out.

    Attributes:
        frames: how many are done.
        width: of them.
        height: of them.
        flicker: mean warping error of neighbours, see `opsin.stylize.video.flicker`.
        sound: "copied", "none" or, where the output's container can't hold it, "left out".
        stopped: why the run ended early; empty if it didn't. Then there is no output, and the folder of frames has
            those that are finished.
        settings: what it was made with, plain values.
        signature: networks, weights and terms of the loss.
    """

    frames: int
    width: int
    height: int
    flicker: float
    sound: str
    stopped: str
    settings: Mapping[str, Any]
    signature: Signature


def stylize_video(
    source: str | os.PathLike[str],
    style: Tensor | Sequence[Tensor],
    output: str | os.PathLike[str],
    *,
    style_weights: Sequence[float] | None = None,
    temporal_weight: float = 1.0,
    later_steps: int | None = None,
    extractor: Extractor | None = None,
    device: str | torch.device = "cpu",
    callback: Callable[[VideoProgress], object] | None = None,
    folder: str | os.PathLike[str] | None = None,
    keep_frames: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    max_frames: int = MAX_FRAMES,
    memory_limit: int | None = None,
    force: bool = False,
    **settings: Any,
) -> VideoResult:
    """Paint a clip in the style of paintings, frame by frame, so that it doesn't flicker.

    The first frame is made as `opsin.stylize.stylize` makes it. Each later one begins as the previous result, warped by
    the clip's optical flow, and is held to it where the flow can be trusted; see `stylize_frames`. Times, rate and
    sound are those of the clip.

    Finished frames are kept in a folder beside the output, as PNG, until that is written. A run that was interrupted,
    by the callback, an error or the power cut, goes on from there with `resume`, with the pixels of one that wasn't.

    Args:
        source: the clip, see `open_clip`.
        style: one painting or more, (1,3,H,W) in [0,1].
        output: the file to write: .mp4, .mov or .mkv.
        style_weights: of the paintings, in proportion.
        temporal_weight: how strongly frames are held to the previous ones, whatever the loss; 0 doesn't.
        later_steps: of frames but the first; half of `steps` if None, as they begin near their end.
        extractor: the network, in place of the settings `net` and `weights`.
        device: where to compute.
        callback: called with a `VideoProgress` after each step. The run stops if it returns true.
        folder: of finished frames; OUTPUT-frames beside the output if None.
        keep_frames: leave them there.
        resume: go on with the frames there.
        overwrite: replace the output, and frames of another run.
        max_frames: the most frames a clip may have.
        memory_limit: bytes; what is free if None.
        force: begin even if the estimate says that memory won't do.
        settings: see `opsin.stylize.Settings`; `size` is made even.

    Raises:
        ImageError: a source that is no video or is damaged, or an output that can't be written.
        InputError: images or numbers that do not fit; a clip too large, or too large for memory; frames of an earlier
            run, and neither `resume` nor `overwrite`.
        ChoiceError: an unknown name.
        OpsinError: an output that exists; nothing to resume, or of another run; a loss that isn't finite.
        MissingExtraError: PyAV or OpenCV is not installed.

    Reference: "Artistic style transfer for videos", Ruder, Dosovitskiy and Brox, 2016,
    https://arxiv.org/abs/1604.08610

    Example:
        >>> painting = opsin.read_image("painting.png")  # doctest: +SKIP
        >>> stylize_video("clip.mp4", painting, "painted.mp4", size=256).flicker  # doctest: +SKIP
        0.0012
    """
    made = Settings.of(settings)
    later_steps = max(1, made.steps // 2) if later_steps is None else whole("later_steps", later_steps)
    if not 0 <= temporal_weight < float("inf"):
        raise InputError(f"temporal_weight must be a number of at least 0, got {temporal_weight}. E.g. 1.")
    output = Path(output)
    check_clip_suffix(output)
    check_writable(output, overwrite=overwrite)
    require_cv2()
    clip = open_clip(source, max_frames=max_frames)
    paintings = [style] if isinstance(style, Tensor) else list(style)
    paintings = [check_image(painting, "style", device) for painting in paintings]
    weights = check_weights(style_weights, len(paintings))
    network = (extractor or make_extractor(made.net, made.weights, pooling=made.pooling)).to(torch.device(device))
    size = even_size(clip.height, clip.width, made.size)
    chosen = {**made.describe(), "temporal_weight": temporal_weight, "later_steps": later_steps}
    began = time.monotonic()

    def watch(step: int, steps: int, total: float, terms: Mapping[str, float]) -> bool:
        seconds = time.monotonic() - began
        progress = VideoProgress(store.count, clip.declared, step, steps, seconds, total, terms)
        return callback is not None and bool(callback(progress))

    def contents() -> Iterator[Tensor]:
        for at, image in clip.frames():
            times.append(at)
            yield resize(image.to(device), size)

    times: list[int] = []
    painter = ClipPainter(
        next(contents()),
        paintings,
        weights,
        made,
        later_steps=later_steps,
        extractor=network,
        watch=watch,
        memory_limit=memory_limit,
        force=force,
    )
    identity = {
        "settings": chosen,
        "size": size,
        "style weights": weights,
        "network": network.spec.key,
        "images": _digest(clip.path, paintings),
    }
    kept = output.with_name(f"{output.stem}-frames") if folder is None else folder
    store = FrameStore(kept, identity, resume=resume, overwrite=overwrite)
    times.clear()
    errors: list[float] = []
    stopped = ""
    try:
        for painted in stylize_frames(contents(), painter, store, temporal_weight=temporal_weight):
            errors += [] if painted.error is None else [painted.error]
    except Stopped:
        stopped = f"it was interrupted in frame {store.count + 1}; those before are in '{store.folder}'"
    if not stopped:
        described = {"opsin": __version__, "settings": chosen, "signature": str(painter.signature)}
        frames = ((at, store.load(index)) for index, at in enumerate(times))
        write_clip(output, frames, clip, overwrite=overwrite, metadata={"comment": json.dumps(described)})
        if not keep_frames:
            store.remove()
    return VideoResult(
        store.count,
        size[1],
        size[0],
        sum(errors) / max(1, len(errors)),
        "none" if clip.audio is None else "copied" if sound_fits(output, clip) else "left out",
        stopped,
        chosen,
        painter.signature,
    )


def even_size(height: int, width: int, longer_side: int) -> tuple[int, int]:
    """Height and width scaled to a longer side, both even, and of 16 pixels at least.

    Example:
        >>> even_size(1080, 1920, 255)
        (144, 256)
    """
    height, width = fitted(height, width, longer_side)
    return 2 * round(height / 2), 2 * round(width / 2)


def _digest(path: Path, paintings: Sequence[Tensor]) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return hash_images(paintings, digest)
