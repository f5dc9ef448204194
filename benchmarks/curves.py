"""Lines over a number that grows: what runs reached at which point of their way."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw

from opsin.report.drawing import FAINT, INK, LINE, PAPER, font, text, wrap
from opsin.report.scatter import axis_of

_WIDTH, _PLOT, _MARGIN = 1000, 460, 36
_TITLE, _LABEL, _TICK, _NOTE = 26, 18, 16, 13
_FINE = 3  # lines are drawn larger, then made small: Pillow's have no smooth edges

Colour = tuple[int, int, int]
Runs = Sequence[Sequence[float]]
"""Of each run its values, one at each place."""


def curves(
    title: str,
    places: Sequence[int],
    lines: Mapping[str, tuple[Colour, Runs]],
    *,
    across: str,
    upwards: str,
    notes: Sequence[str] = (),
) -> Image.Image:
    """Draw the mean of the runs of each name as a thick line, and each run as a thin one; the axis upwards begins at 0.

    Args:
        title: at the head.
        places: where the values are.
        lines: the colour and the runs of each name.
        across: what the places are.
        upwards: what the values are.
        notes: lines at the foot, small.
    """
    left, right = _MARGIN + 70, _WIDTH - _MARGIN - 130
    top = _MARGIN + 84
    bottom = top + _PLOT
    foot = [piece for note in notes for piece in wrap(note, _WIDTH - 2 * _MARGIN, _NOTE)]
    height = bottom + 78 + (12 + 19 * len(foot) if foot else 0) + _MARGIN // 2
    axis = axis_of([0.0, *(value for _, runs in lines.values() for run in runs for value in run)])
    highest = axis.high

    def at(place: float, value: float) -> tuple[float, float]:
        return left + (right - left) * place / places[-1], bottom - (bottom - top) * value / highest

    fine = Image.new("RGB", (_FINE * _WIDTH, _FINE * height), PAPER)
    brush = ImageDraw.Draw(fine)
    ticks = [tick for tick in axis.ticks if tick >= 0]
    for tick in ticks:
        y = _FINE * at(0, tick)[1]
        brush.line((_FINE * left, y, _FINE * right, y), fill=LINE, width=_FINE)
    for colour, runs in lines.values():
        pale = tuple(round(0.55 * 255 + 0.45 * c) for c in colour)
        for values, shade, wide in [(run, pale, 1.5) for run in runs] + [(_mean(runs), colour, 4)]:
            points = [tuple(_FINE * c for c in at(p, v)) for p, v in zip(places, values, strict=True)]
            brush.line(points, fill=shade, width=round(_FINE * wide), joint="curve")
        for point in (at(p, v) for p, v in zip(places, _mean(runs), strict=True)):
            x, y = (_FINE * c for c in point)
            brush.ellipse((x - 5 * _FINE, y - 5 * _FINE, x + 5 * _FINE, y + 5 * _FINE), fill=colour)
    sheet = fine.resize((_WIDTH, height), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(sheet)
    text(draw, (_MARGIN, _MARGIN - 6), title, _TITLE)
    text(draw, (_MARGIN, _MARGIN + 40), upwards, _LABEL, FAINT)
    text(draw, ((left + right) / 2, bottom + 40), across, _LABEL, FAINT, anchor="ma")
    for tick in ticks:
        text(draw, (left - 12, at(0, tick)[1]), axis.label(tick), _TICK, FAINT, anchor="rm")
    for place in places:
        text(draw, (at(place, 0)[0], bottom + 12), f"{place:,}".replace(",", " "), _TICK, FAINT, anchor="ma")
    for name, (colour, runs) in lines.items():
        x, y = at(places[-1], _mean(runs)[-1])
        text(draw, (x + 14, y), name, _LABEL, colour, anchor="lm")
        if font(_LABEL).getlength(name) > _WIDTH - x - 14:
            raise ValueError(f"no room for the name '{name}'")
    for i, piece in enumerate(foot):
        text(draw, (_MARGIN, bottom + 84 + 19 * i), piece, _NOTE, INK)
    return sheet


def _mean(runs: Runs) -> list[float]:
    return [statistics.mean(values) for values in zip(*runs, strict=True)]
