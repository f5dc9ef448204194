"""Frame by frame: each begins as the previous result, moved as the clip moves, and is held to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from opsin.stylize.colors import match_colours
from opsin.stylize.objective import Objective
from opsin.stylize.video.flow import Motion, find_motion, warp, warping_error
from opsin.stylize.video.store import FrameStore
from opsin.stylize.video.temporal import temporal_objective

# The squared difference that costs as much as the picture's own loss at a temporal weight of 1.
_UNIT = 0.1**2


class Painter(Protocol):
    """What stylizes one frame; images are (1,3,H,W) in [0,1]."""

    def first(self, content: Tensor) -> Tensor:
        """Stylize a frame by itself."""
        ...

    def later(self, content: Tensor, init: Tensor, temporal: Objective) -> Tensor:
        """Stylize a frame from `init`, with a further objective beside the painter's own."""
        ...

    def loss(self, content: Tensor, image: Tensor) -> float:
        """The painter's own objective of an image made of a frame."""
        ...


@dataclass(frozen=True, eq=False)
class Painted:
    """A frame that is done.

    Attributes:
        image: (1,3,H,W) in the 256 levels of a file.
        error: see `warping_error`; None of the first frame.
    """

    image: Tensor
    error: float | None


def stylize_frames(
    frames: Iterable[Tensor], painter: Painter, store: FrameStore, *, temporal_weight: float
) -> Iterator[Painted]:
    """Stylize the frames of a clip one after the other; those that are in the store already are taken from there.

    The objective of a later frame is the painter's plus the temporal term

        temporal_weight · L₀ / 0.01 · mean over pixels p and channels of trusted(p) (x(p) - previous(p + flow(p)))²,

    where L₀ is the painter's objective of the first result. So a weight means the same whatever the size of the
    painter's losses: at 1, a picture that is off by a tenth of the range everywhere costs as much as the style and
    content of the first frame. What has been uncovered begins as the frame itself, in the colours of the previous
    result.

    Args:
        frames: (1,3,H,W) in [0,1], of one size.
        painter: what stylizes one of them.
        store: where finished ones are kept.
        temporal_weight: 0 or more.

    Reference: "Artistic style transfer for videos", Ruder, Dosovitskiy and Brox, 2016,
    https://arxiv.org/abs/1604.08610
    """
    scale = 0.0
    before: tuple[Tensor, Tensor] | None = None
    for index, content in enumerate(frames):
        done = store.load(index).to(content) if index < store.count else None
        if before is None:
            image = store.save(painter.first(content)) if done is None else done
            scale = painter.loss(content, image) / _UNIT
            yield Painted(image, None)
        else:
            motion = find_motion(before[0], content)
            image = done
            if image is None:
                init, temporal = _begin(content, before[1], motion, temporal_weight * scale)
                image = store.save(painter.later(content, init, temporal))
            yield Painted(image, warping_error(image, before[1], motion))
        before = content, image


def _begin(content: Tensor, previous: Tensor, motion: Motion, weight: float) -> tuple[Tensor, Objective]:
    """Where to begin with a frame, and what holds it to the previous result."""
    # Bilinear, each frame would be a little softer than the one before.
    warped = warp(previous, motion.flow, mode="bicubic").clamp(0, 1)
    # In the photo's own colours, what has been uncovered would keep them through the few steps of a later frame.
    init = match_colours(content, previous).lerp(warped, motion.seen)
    return init, temporal_objective(warped, motion.trusted, weight)
