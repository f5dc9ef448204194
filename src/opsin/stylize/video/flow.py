"""How a clip moves: optical flow, what it uncovers, and images warped by it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from opsin.errors import InputError
from opsin.stylize.colors import luminance
from opsin.stylize.video.extras import require_cv2

# What OpenCV's flow needs, rounded up to what its patches of 8 pixels can follow.
SMALLEST_SIDE = 16


@dataclass(frozen=True, eq=False)
class Motion:
    """Where the pixels of a frame were in the previous one.

    Attributes:
        flow: (1,2,H,W), in pixels, x first: the pixel at p was at p + flow(p).
        seen: (1,1,H,W), 1 where p was visible then, 0 where it has been uncovered or come into the picture.
        trusted: (1,1,H,W), `seen` without the boundaries of motion, where flow is least sure.
    """

    flow: Tensor
    seen: Tensor
    trusted: Tensor


def find_motion(previous: Tensor, current: Tensor) -> Motion:
    """Find where the pixels of `current` were in `previous`.

    With w the flow from `previous` to `current`, ŵ that back, and w̃(p) = w(p + ŵ(p)), a pixel is uncovered if
    |w̃ + ŵ|² > 0.01 (|w̃|² + |ŵ|²) + 0.5, and on a boundary of motion if |∇û|² + |∇v̂|² > 0.01 |ŵ|² + 0.002.

    The flow is OpenCV's DIS at full size, on the grey levels of both.

    Shape: (1,3,H,W) each, in [0,1]; 16 pixels a side at least.

    Raises:
        InputError: images of other shapes.
        MissingExtraError: OpenCV is not installed.

    Reference: "Artistic style transfer for videos", Ruder, Dosovitskiy and Brox, 2016,
    https://arxiv.org/abs/1604.08610; flow: "Fast optical flow using dense inverse search", Kroeger et al., 2016,
    https://arxiv.org/abs/1603.03590

    Example:
        >>> frame = torch.rand(1, 3, 32, 32)
        >>> find_motion(frame, frame).flow.shape
        torch.Size([1, 2, 32, 32])
    """
    if previous.shape != current.shape or current.ndim != 4 or current.shape[:2] != (1, 3):
        raise InputError(
            f"frames must be two images (1,3,H,W) of one size, got {tuple(previous.shape)} and "
            f"{tuple(current.shape)}. Resize them."
        )
    if min(current.shape[-2:]) < SMALLEST_SIDE:
        raise InputError(
            f"frames must have {SMALLEST_SIDE} pixels a side at least, got {current.shape[-1]}x{current.shape[-2]}. "
            "Make them larger."
        )
    there, here = _grey(previous), _grey(current)
    backward = _dis(here, there).to(current)
    forward = _dis(there, here).to(current)
    returned = warp(forward, backward)
    lost = _squared(returned + backward) > 0.01 * (_squared(returned) + _squared(backward)) + 0.5
    seen = inside(backward) & ~lost
    dy, dx = torch.gradient(backward, dim=(-2, -1))
    boundary = _squared(dy) + _squared(dx) > 0.01 * _squared(backward) + 0.002
    return Motion(backward, seen.to(current), (seen & ~boundary).to(current))


def warp(image: Tensor, flow: Tensor, *, mode: str = "bilinear") -> Tensor:
    """An image read at p + flow(p), between pixels "bilinear" or "bicubic"; beyond its borders they are repeated.

    Shape: (1,C,H,W), (1,2,H,W) -> (1,C,H,W).

    Example:
        >>> row = torch.tensor([[[[0.0, 1.0, 2.0]]]])
        >>> warp(row, torch.tensor([[[[1.0, 0.5, 1.0]], [[0.0, 0.0, 0.0]]]]))
        tensor([[[[1.0000, 1.5000, 2.0000]]]])
    """
    height, width = image.shape[-2:]
    x, y = _positions(flow)
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)
    return F.grid_sample(image, grid, mode=mode, padding_mode="border", align_corners=False)


def inside(flow: Tensor) -> Tensor:
    """Whether p + flow(p) lies on the image, half a pixel around centres included: (1,2,H,W) -> (1,1,H,W), bool."""
    height, width = flow.shape[-2:]
    x, y = _positions(flow)
    return ((x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5))[:, None]


def warping_error(result: Tensor, previous: Tensor, motion: Motion) -> float:
    """Mean over trusted pixels p and channels of (result(p) - previous(p + flow(p)))²; 0 where none is trusted.

    Shape: (1,C,H,W) each.

    Reference: "Learning blind video temporal consistency", Lai et al., 2018, https://arxiv.org/abs/1808.00449
    """
    squared = (result - warp(previous, motion.flow)).square().mean(dim=1, keepdim=True)
    return float((motion.trusted * squared).sum() / motion.trusted.sum().clamp(min=1))


def flicker(results: Iterable[Tensor], frames: Iterable[Tensor]) -> float:
    """How much results flicker that were made of frames: the mean `warping_error` of neighbours, 0 for a single one.

    The motion is that of the frames.

    Args:
        results: images (1,3,H,W) in [0,1].
        frames: what they were made of, as many and of their size.

    Raises:
        InputError: images of other shapes, or not as many.
        MissingExtraError: OpenCV is not installed.

    Example:
        >>> photo = torch.rand(1, 3, 32, 32)
        >>> flicker([photo, photo], [photo, photo])
        0.0
    """
    errors: list[float] = []
    before: tuple[Tensor, Tensor] | None = None
    for result, frame in zip_longest(results, frames):
        if result is None or frame is None:
            raise InputError("results must be as many as frames, got more of one. Give each its frame.")
        if before is not None:
            errors.append(warping_error(result, before[0], find_motion(before[1], frame)))
        before = result, frame
    return sum(errors) / len(errors) if errors else 0.0


def _positions(flow: Tensor) -> tuple[Tensor, Tensor]:
    height, width = flow.shape[-2:]
    y = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None]
    x = torch.arange(width, device=flow.device, dtype=flow.dtype)
    return x + flow[:, 0], y + flow[:, 1]


def _squared(vectors: Tensor) -> Tensor:
    return vectors.square().sum(dim=1, keepdim=True)


def _grey(image: Tensor) -> np.ndarray:
    return luminance(image.detach())[0, 0].mul(255).round().clamp(0, 255).to("cpu", torch.uint8).numpy()


def _dis(a: np.ndarray, b: np.ndarray) -> Tensor:
    """The flow from `a` to `b`, (1,2,H,W): a(p) = b(p + flow(p))."""
    cv2 = require_cv2()
    method = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    method.setFinestScale(0)
    # DIS hands patches on from neighbour to neighbour within a thread's stripe, so that the number of threads shows in
    # the flow. With one it is the same on all machines.
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        flow: np.ndarray = method.calc(a, b, None)
    finally:
        cv2.setNumThreads(threads)
    return torch.from_numpy(flow).permute(2, 0, 1)[None].contiguous()
