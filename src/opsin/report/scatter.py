"""Where things go in a plot of points: round numbers at the axes, and labels that do not lie on each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


@dataclass(frozen=True)
class Axis:
    """A range of values with round numbers in it.

    Attributes:
        low: the value at the axis's beginning.
        high: the value at its end.
        ticks: round values between.
        digits: after the point, for each tick to be told from the next.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    digits: int

    def place(self, value: float) -> float:
        """Where a value is: 0 at the beginning, 1 at the end."""
        return (value - self.low) / (self.high - self.low)

    def label(self, tick: float) -> str:
        """A tick as it is written."""
        return f"{tick:.{self.digits}f}"


def axis_of(values: Sequence[float], *, wanted: int = 6) -> Axis:
    """An axis on which all values lie, with room at both ends.

    Args:
        values: finite ones, at least one.
        wanted: about how many ticks.

    Example:
        >>> axis_of([26.1, 28.4], wanted=5).ticks
        (26.0, 26.5, 27.0, 27.5, 28.0, 28.5)
    """
    low, high = min(values), max(values)
    # Of equal values, or values that differ by rounding, only the place matters.
    spread = max(high - low, 1e-3 * max(abs(low), abs(high)), 1e-6)
    middle = (low + high) / 2
    low, high = middle - 0.62 * spread, middle + 0.62 * spread
    rough = (high - low) / wanted
    power = math.floor(math.log10(rough))
    size = rough / 10.0**power
    factor = 1 if size < 1.5 else 2 if size < 3 else 5 if size < 7 else 10
    if factor == 10:
        factor, power = 1, power + 1
    digits = max(0, -power)
    step = factor * 10.0**power
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return Axis(low, high, tuple(round(i * step, digits) + 0.0 for i in range(first, last + 1)), digits)


def place_labels(
    points: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    frame: Box,
    *,
    radius: float,
    taken: Sequence[Box] = (),
) -> list[Box]:
    """A box for the label of each point, near to it, within the frame, on no other label and no other point.

    Where there is no such place, it is the one that covers least.

    Args:
        points: middles of the points.
        sizes: width and height of each label.
        frame: all labels lie in it.
        radius: of the points.
        taken: boxes to keep free.
    """
    marks = [(x - radius, y - radius, x + radius, y + radius) for x, y in points]
    placed: dict[int, Box] = {}
    # Where it is narrow first: these have the fewest places to choose from.
    order = sorted(range(len(points)), key=lambda i: -sum(math.dist(points[i], other) < 90 for other in points))
    for i in order:
        others = [*marks, *placed.values(), *taken]
        best = min(_candidates(points[i], sizes[i], radius), key=_cost(others, frame))
        placed[i] = _moved_inside(best, frame)
    return [placed[i] for i in range(len(points))]


def overlap(a: Box, b: Box) -> float:
    """The area that two boxes share."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def leader(point: tuple[float, float], box: Box, radius: float) -> tuple[float, float] | None:
    """Where a line from a point to its label ends; None if they lie side by side."""
    x, y = (min(max(p, a), b) for p, a, b in zip(point, box[:2], box[2:], strict=True))
    return (x, y) if math.dist((x, y), point) > 2.2 * radius + 4 else None


def _candidates(point: tuple[float, float], size: tuple[float, float], radius: float) -> list[Box]:
    """Right, left, above, below, the corners; then the same and more directions further away."""
    (x, y), (width, height) = point, size
    boxes = []
    for ring in range(9):
        gap = radius + 4 + ring * 0.7 * height
        for turn in (0, 8, 4, 12, 2, 6, 14, 10) if not ring else (0, 8, 4, 12, 2, 6, 14, 10, 1, 7, 15, 9, 3, 5, 13, 11):
            dx, dy = math.cos(turn * math.pi / 8), -math.sin(turn * math.pi / 8)
            # The box's side or corner that looks at the point is at the distance.
            left = x + gap * dx - width * (1 - _step(dx)) / 2
            top = y + gap * dy - height * (1 - _step(dy)) / 2
            boxes.append((left, top, left + width, top + height))
    return boxes


def _step(direction: float) -> float:
    return 0.0 if abs(direction) < 0.3 else math.copysign(1.0, direction)


def _cost(others: Sequence[Box], frame: Box) -> Callable[[Box], float]:
    """What a box covers; of those that cover nothing, `min` takes the first."""

    def cost(box: Box) -> float:
        area = (box[2] - box[0]) * (box[3] - box[1])
        padded = (box[0] - 2, box[1] - 1, box[2] + 2, box[3] + 1)
        return sum(overlap(padded, other) for other in others) + 3 * (area - overlap(box, frame))

    return cost


def _moved_inside(box: Box, frame: Box) -> Box:
    dx = max(0.0, frame[0] - box[0]) - max(0.0, box[2] - frame[2])
    dy = max(0.0, frame[1] - box[1]) - max(0.0, box[3] - frame[3])
    return (box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy)
