"""The plot of perception against distortion: PSNR across, a perceptual distance upwards, a point for each model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from opsin.report.drawing import ACCENT, FAINT, INK, LINE, PAPER, font, text, wrap
from opsin.report.scatter import Axis, Box, axis_of, leader, place_labels

FILTERS = ("bicubic", "lanczos")
"""What is drawn hollow: no network, there to compare with."""

_WIDTH, _PLOT, _MARGIN = 1120, 640, 40
_TITLE, _LABEL, _TICK, _NOTE = 30, 20, 17, 14
_RADIUS, _FINE = 9, 4

_At = Callable[[tuple[float, float]], tuple[float, float]]


@dataclass(frozen=True)
class Point:
    """A model's means.

    Attributes:
        model: its name.
        psnr: in decibels; more is closer to the photo.
        distance: perceptual; less is closer to the photo.
    """

    model: str
    psnr: float
    distance: float

    @property
    def is_finite(self) -> bool:
        """Whether it has a place in a plot: the PSNR of equal images is infinite."""
        return math.isfinite(self.psnr) and math.isfinite(self.distance)


def drawn(points: Sequence[Point]) -> tuple[list[Point], list[str]]:
    """The points that have a place in a plot, and a line about each other one."""
    left_out = [f"not drawn: {p.model}, PSNR {p.psnr:.4g} dB, distance {p.distance:.4g}" for p in points]
    return [p for p in points if p.is_finite], [
        line for p, line in zip(points, left_out, strict=True) if not p.is_finite
    ]


def tradeoff_figure(
    points: Sequence[Point], *, metric: str, title: str = "Perception and distortion", notes: Sequence[str] = ()
) -> Image.Image:
    """Draw PSNR against a perceptual distance.

    Args:
        points: one a model; what is not finite is named below instead.
        metric: the distance's name.
        title: at the head.
        notes: lines at the foot, small.

    Reference: "The Perception-Distortion Tradeoff", Yochai Blau, Tomer Michaeli, 2018, https://arxiv.org/abs/1711.06077
    """
    shown, left_out = drawn(points)
    foot = [piece for note in (*left_out, *notes) for piece in _pieces(note, _WIDTH - 2 * _MARGIN)]
    heading = wrap(title, _WIDTH - 2 * _MARGIN, _TITLE)
    top = _MARGIN + (_TITLE + 8) * len(heading) + 48
    height = top + _PLOT + 92 + 19 * len(foot) + _MARGIN
    sheet = Image.new("RGB", (_WIDTH, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, line in enumerate(heading):
        text(draw, (_MARGIN, _MARGIN - 8 + i * (_TITLE + 8)), line, _TITLE)
    across = axis_of([p.psnr for p in shown] or [0.0], wanted=8)
    upward = axis_of([p.distance for p in shown] or [0.0])
    wide = max(font(_TICK).getlength(upward.label(tick)) for tick in upward.ticks) if upward.ticks else 0
    frame = (_MARGIN + wide + 12, float(top), float(_WIDTH - _MARGIN), float(top + _PLOT))
    text(draw, (_MARGIN, top - 34), f"{metric}: less is closer to the photo", _LABEL, INK)
    text(draw, (frame[2], frame[3] + 44), "PSNR in dB: more is closer to the photo", _LABEL, INK, anchor="ra")
    _grid(draw, frame, across, upward)
    middles = [_middle(p, frame, across, upward) for p in shown]
    hint = _hint(sheet, draw, frame, middles)
    sizes = [(font(_LABEL).getlength(p.model), _LABEL + 4.0) for p in shown]
    inner = (frame[0] + 6, frame[1] + 4, frame[2] - 6, frame[3] - 4)
    boxes = place_labels(middles, sizes, inner, radius=_RADIUS, taken=[hint])
    for middle, box in zip(middles, boxes, strict=True):
        end = leader(middle, box, _RADIUS)
        if end is not None:
            draw.line((*middle, *end), fill=FAINT)
    for point, middle, box in zip(shown, middles, boxes, strict=True):
        _mark(sheet, middle, hollow=point.model in FILTERS)
        text(draw, (box[0], (box[1] + box[3]) / 2), point.model, _LABEL, INK, anchor="lm")
    for i, line in enumerate(foot):
        text(draw, (_MARGIN, frame[3] + 92 + i * 19), line, _NOTE, FAINT)
    return sheet


def _middle(point: Point, frame: Box, across: Axis, upward: Axis) -> tuple[float, float]:
    return (
        frame[0] + across.place(point.psnr) * (frame[2] - frame[0]),
        frame[3] - upward.place(point.distance) * (frame[3] - frame[1]),
    )


def _grid(draw: ImageDraw.ImageDraw, frame: Box, across: Axis, upward: Axis) -> None:
    for tick in across.ticks:
        x = frame[0] + across.place(tick) * (frame[2] - frame[0])
        draw.line((x, frame[1], x, frame[3] + 6), fill=LINE)
        text(draw, (x, frame[3] + 12), across.label(tick), _TICK, FAINT, anchor="ma")
    for tick in upward.ticks:
        y = frame[3] - upward.place(tick) * (frame[3] - frame[1])
        draw.line((frame[0] - 6, y, frame[2], y), fill=LINE)
        text(draw, (frame[0] - 10, y), upward.label(tick), _TICK, FAINT, anchor="rm")
    draw.line((frame[0], frame[1], frame[0], frame[3], frame[2], frame[3]), fill=FAINT, width=2)


def _hint(sheet: Image.Image, draw: ImageDraw.ImageDraw, frame: Box, middles: Sequence[tuple[float, float]]) -> Box:
    """An arrow to where both are better; returns the box it takes."""
    # The corner itself is where the best would be, and the one above it mostly is empty too.
    box = (frame[2] - 112, frame[3] - 70, frame[2] - 12, frame[3] - 12)
    if any(box[0] - 20 < x and box[1] - 20 < y for x, y in middles):
        box = (frame[2] - 112, frame[1] + 12, frame[2] - 12, frame[1] + 70)
    text(draw, (box[0], box[1]), "better", _LABEL, ACCENT)
    start, end = (box[0] + 52, box[1] + 28), (box[2] - 4, box[3] - 4)
    _smooth(sheet, box, lambda pen, at: _arrow(pen, at(start), at(end)))
    return box


def _arrow(pen: ImageDraw.ImageDraw, start: tuple[float, float], end: tuple[float, float]) -> None:
    pen.line((*start, *end), fill=255, width=3 * _FINE)
    angle = math.atan2(end[1] - start[1], end[0] - start[0])
    wings = [
        (end[0] - 14 * _FINE * math.cos(angle + turn), end[1] - 14 * _FINE * math.sin(angle + turn))
        for turn in (-0.45, 0.45)
    ]
    pen.polygon([end, *wings], fill=255)


def _mark(sheet: Image.Image, middle: tuple[float, float], *, hollow: bool) -> None:
    x, y = middle
    around = (x - _RADIUS - 2, y - _RADIUS - 2, x + _RADIUS + 2, y + _RADIUS + 2)
    discs = [(_RADIUS + 1, PAPER), (_RADIUS, FAINT if hollow else ACCENT), *([(_RADIUS - 3, PAPER)] if hollow else [])]
    for radius, colour in discs:

        def disc(pen: ImageDraw.ImageDraw, at: _At, radius: int = radius) -> None:
            pen.ellipse((*at((x - radius, y - radius)), *at((x + radius, y + radius))), fill=255)

        _smooth(sheet, around, disc, colour)


def _smooth(
    sheet: Image.Image,
    box: Box,
    paint: Callable[[ImageDraw.ImageDraw, _At], None],
    colour: tuple[int, int, int] = ACCENT,
) -> None:
    """Paint without stairs: on a mask some times as large, scaled down."""
    left, top = math.floor(box[0]), math.floor(box[1])
    size = (math.ceil(box[2]) - left, math.ceil(box[3]) - top)
    mask = Image.new("L", (size[0] * _FINE, size[1] * _FINE))
    paint(ImageDraw.Draw(mask), lambda place: ((place[0] - left) * _FINE, (place[1] - top) * _FINE))
    mask = mask.resize(size, Image.Resampling.BOX)
    sheet.paste(Image.new("RGB", size, colour), (left, top), mask)


def _pieces(note: str, width: float) -> list[str]:
    """Lines of a note; one without spaces, as JSON may be, is broken anywhere."""
    lines: list[str] = []
    for piece in wrap(note, width, _NOTE):
        rest = piece
        while font(_NOTE).getlength(rest) > width:
            cut = next(i for i in range(len(rest) - 1, 0, -1) if font(_NOTE).getlength(rest[:i]) <= width)
            lines.append(rest[:cut])
            rest = rest[cut:]
        lines.append(rest)
    return lines
