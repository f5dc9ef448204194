"""A painting that is nobody's: short strokes along a field of eddies, by night.

Style transfer wants a painting to be shown with, and no package of sample photos has one.
"""

from __future__ import annotations

import math
import random

from PIL import Image, ImageDraw, ImageFilter

from opsin.checks import whole

_CANVAS = 1024  # pixels a side; all sizes are made of it
# Where the eddies are, in parts of the canvas, and how strongly they turn: to the right if positive.
_EDDIES = ((0.28, 0.30, 1.0), (0.70, 0.42, -1.2), (0.50, 0.80, 0.8), (0.90, 0.10, 1.0), (0.12, 0.72, -0.9))
_GROUND = (20, 40, 110)
_PALETTE = (
    (16, 32, 96),
    (28, 62, 150),
    (52, 100, 190),
    (110, 160, 215),
    (190, 215, 225),
    (14, 24, 60),
    (240, 205, 80),
    (250, 235, 150),
    (60, 120, 130),
)
# How often each colour is taken far from an eddy, around one, and at its heart.
_FAR = (2.0, 3.0, 3.0, 2.0, 1.0, 2.0, 0.15, 0.1, 1.0)
_AROUND = (0.0, 0.5, 2.0, 4.0, 4.0, 0.0, 1.0, 1.0, 0.5)
_HEART = (0.0, 0.0, 0.3, 1.0, 2.0, 0.0, 5.0, 4.0, 0.2)
_BRUSHES = ((26, 2600), (15, 5200), (9, 6500))  # width in pixels and number of strokes, broad ones below
_STEP = 0.009  # of a stroke along the field, in parts of the canvas


def paint(size: int = 768, seed: int = 4) -> Image.Image:
    """Draw the painting, size x size pixels, in a second or two. It is the same on every run.

    Args:
        size: of a side; past 1024 there is no more detail.
        seed: of where strokes are, and their colours.

    Raises:
        InputError: a size below 1.

    Example:
        >>> paint(64).size
        (64, 64)
    """
    whole("size", size)
    rng = random.Random(seed)  # noqa: S311 (strokes, no secrets)
    canvas = Image.new("RGB", (_CANVAS, _CANVAS), _GROUND)
    draw = ImageDraw.Draw(canvas)
    for width, count in _BRUSHES:
        for _ in range(count):
            x, y = rng.random(), rng.random()
            colour = _colour(rng, x, y)
            points = _stroke(x, y, rng.randint(5, 11))
            draw.line(points, fill=colour, width=int(width * rng.uniform(0.5, 1)), joint="curve")
    return canvas.filter(ImageFilter.GaussianBlur(1)).resize((size, size), Image.Resampling.LANCZOS)


def _colour(rng: random.Random, x: float, y: float) -> tuple[int, int, int]:
    """A colour for a stroke from there, off the palette a little."""
    near = min(math.hypot(x - at_x, y - at_y) for at_x, at_y, _ in _EDDIES)
    chances = _HEART if near < 0.075 else _AROUND if near < 0.13 else _FAR
    (chosen,) = rng.choices(_PALETTE, chances)
    red, green, blue = (min(255, max(0, round(rng.gauss(level, 10)))) for level in chosen)
    return red, green, blue


def _stroke(x: float, y: float, steps: int) -> list[tuple[float, float]]:
    """Points along the field, in pixels."""
    points = [(_CANVAS * x, _CANVAS * y)]
    for _ in range(steps):
        u, v = _flow(x, y)
        x, y = x + _STEP * u, y + _STEP * v
        points.append((_CANVAS * x, _CANVAS * y))
    return points


def _flow(x: float, y: float) -> tuple[float, float]:
    """The direction of strokes at a place, of length 1."""
    u, v = 0.35, 0.12 * math.sin(6 * x)
    for at_x, at_y, turn in _EDDIES:
        dx, dy = x - at_x, y - at_y
        squared = dx * dx + dy * dy + 0.004
        weight = 2 * turn * math.exp(-squared / 0.05) / math.sqrt(squared)
        u, v = u - dy * weight, v + dx * weight
    length = math.hypot(u, v) + 1e-9
    return u / length, v / length
