"""Perception against distortion: how far models are in pixels, and how far to the eye."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from opsin.report.drawing import ACCENT, FAINT, INK, LINE, PAPER, font, text, wrap

FILTERS = ("bicubic", "lanczos", "bilinear", "nearest")
"""Names that are drawn in grey: no model, but what models are held against."""

_TITLE, _LABEL, _TICK, _SMALL = 26, 17, 15, 13
_DOT = 8


@dataclass(frozen=True)
class Point:
    """A model's place: PSNR in dB and a perceptual distance, means over the same photos."""

    name: str
    psnr: float
    distance: float


@dataclass(frozen=True)
class Axis:
    """One direction of the plot.

    Attributes:
        low: the value at its beginning.
        high: the value at its end.
        ticks: round values between them.
        first: the pixel of `low`.
        last: the pixel of `high`.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    first: float
    last: float

    def place(self, value: float) -> float:
        """The pixel of a value."""
        return self.first + (value - self.low) / (self.high - self.low) * (self.last - self.first)

    def label(self, tick: float) -> str:
        """A tick as text, with as many digits as tell ticks apart."""
        step = self.ticks[1] - self.ticks[0] if len(self.ticks) > 1 else 1.0
        return f"{tick:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"

    @classmethod
    def over(cls, values: Sequence[float], first: float, last: float) -> Axis:
        """An axis that holds values, with some room around them."""
        low, high = min(values), max(values)
        spread = high - low or max(abs(low), 1.0) * 0.1
        low, high = low - 0.14 * spread, high + 0.14 * spread
        step = _round_step((high - low) / 5)
        ticks = [i * step for i in range(math.ceil(low / step), math.floor(high / step) + 1)]
        return cls(low, high, tuple(ticks), first, last)


@dataclass(frozen=True)
class Mark:
    """A point in pixels, and its name beside it: at (x, y), on the left, right or in the middle of `tx`."""

    point: Point
    x: float
    y: float
    tx: float
    ty: float
    side: str


@dataclass(frozen=True)
class Plot:
    """Where everything is; the picture and the page are drawn of it.

    Attributes:
        x: PSNR, to the right.
        y: the distance, upwards.
        marks: the points, in the order that they were given in.
        front: places of those that no other beats in both, from left to right.
    """

    x: Axis
    y: Axis
    marks: tuple[Mark, ...]
    front: tuple[tuple[float, float], ...]


def arrange(points: Sequence[Point], box: tuple[float, float, float, float], measure: Callable[[str], float]) -> Plot:
    """Lay out a plot.

    Args:
        points: the models.
        box: left, top, right and bottom of the area in pixels.
        measure: the width of a name in pixels.
    """
    left, top, right, bottom = box
    x = Axis.over([point.psnr for point in points], left, right)
    y = Axis.over([point.distance for point in points], bottom, top)
    places = [(x.place(point.psnr), y.place(point.distance)) for point in points]
    taken = [(px - _DOT, py - _DOT, px + _DOT, py + _DOT) for px, py in places]
    marks = []
    for point, (px, py) in zip(points, places, strict=True):
        mark, area = _label(point, px, py, measure(point.name), taken, box)
        taken.append(area)
        marks.append(mark)
    best = [
        place
        for point, place in zip(points, places, strict=True)
        if not any(other.psnr >= point.psnr and other.distance <= point.distance and other != point for other in points)
    ]
    return Plot(x, y, tuple(marks), tuple(sorted(best)))


def tradeoff_figure(points: Sequence[Point], *, metric: str, notes: Sequence[str] = ()) -> Image.Image:
    """Draw PSNR against a perceptual distance, a dot for each model; the better, the nearer to the lower right.

    Args:
        points: one a model, at least one; those of `FILTERS` are grey.
        metric: what the distance is called.
        notes: lines at the foot, small.
    """
    width, tall = 960, 620
    foot = [piece for note in notes for piece in wrap(note, width - 80, _SMALL)]
    sheet = Image.new("RGB", (width, tall + (20 + 19 * len(foot) if foot else 0)), PAPER)
    draw = ImageDraw.Draw(sheet)
    box = (110, 100, width - 50, tall - 80)
    plot = arrange(points, box, lambda name: font(_LABEL).getlength(name))
    left, top, right, bottom = box
    text(draw, (40, 32), "Perception and distortion", _TITLE)
    for tick in plot.x.ticks:
        px = plot.x.place(tick)
        draw.line((px, top, px, bottom), fill=LINE)
        text(draw, (px, bottom + 10), plot.x.label(tick), _TICK, FAINT, anchor="ma")
    for tick in plot.y.ticks:
        py = plot.y.place(tick)
        draw.line((left, py, right, py), fill=LINE)
        text(draw, (left - 10, py), plot.y.label(tick), _TICK, FAINT, anchor="rm")
    draw.line((left, bottom, right, bottom), fill=FAINT)
    draw.line((left, top, left, bottom), fill=FAINT)
    text(draw, ((left + right) / 2, bottom + 40), "PSNR on Y in dB, more is closer in pixels", _LABEL, INK, "ma")
    text(draw, (40, top - 18), f"{metric}, less is closer to the eye", _LABEL, INK, "ls")
    _better(draw, right, top - 18)
    if len(plot.front) > 1:
        draw.line(plot.front, fill=(238, 196, 178), width=3)
    for mark in plot.marks:
        grey = mark.point.name in FILTERS
        draw.ellipse((mark.x - _DOT, mark.y - _DOT, mark.x + _DOT, mark.y + _DOT), fill=FAINT if grey else ACCENT)
        anchor = {"left": "rm", "right": "lm", "middle": "mm"}[mark.side]
        text(draw, (mark.tx, mark.ty), mark.point.name, _LABEL, FAINT if grey else INK, anchor)
    for i, piece in enumerate(foot):
        text(draw, (40, tall + i * 19), piece, _SMALL, FAINT)
    return sheet


def _better(draw: ImageDraw.ImageDraw, right: float, base: float) -> None:
    """Which corner everyone wants to be in, over the plot: in it the arrow would lie on the best of all."""
    text(draw, (right - 26, base), "better", _LABEL, FAINT, "rs")
    end = (right, base + 2)
    draw.line((end[0] - 15, end[1] - 15, *end), fill=FAINT, width=2)
    draw.polygon([end, (end[0] - 9, end[1] - 3), (end[0] - 3, end[1] - 9)], fill=FAINT)


def _label(
    point: Point,
    px: float,
    py: float,
    wide: float,
    taken: Sequence[tuple[float, float, float, float]],
    box: tuple[float, float, float, float],
) -> tuple[Mark, tuple[float, float, float, float]]:
    """The first place around a dot where its name meets nothing; the least bad one if there is none."""
    half, off = _LABEL / 2 + 2, _DOT + 6
    tries = [("right", off, 0.0), ("left", -off, 0.0)]
    for far in (1.0, 1.7, 2.6):
        down = far * (_DOT + 12)
        tries += [("middle", 0.0, -down), ("middle", 0.0, down)]
        tries += [("right", off, -down), ("right", off, down), ("left", -off, -down), ("left", -off, down)]
    found: list[tuple[float, Mark, tuple[float, float, float, float]]] = []
    for side, dx, dy in tries:
        tx, ty = px + dx, py + dy
        start = {"right": tx, "left": tx - wide, "middle": tx - wide / 2}[side]
        area = (start - 3, ty - half, start + wide + 3, ty + half)
        outside = max(0.0, box[0] - area[0]) + max(0.0, area[2] - box[2])
        outside += max(0.0, box[1] - area[1]) + max(0.0, area[3] - box[3])
        cost = outside * 100 + sum(_overlap(area, other) for other in taken)
        found.append((cost, Mark(point, px, py, tx, ty, side), area))
        if not cost:
            break
    _, mark, area = min(found, key=lambda item: item[0])
    return mark, area


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _round_step(least: float) -> float:
    """1, 2 or 5 times a power of ten, not below `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
