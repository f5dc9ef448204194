"""Where two images differ, as a picture."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from PIL import Image, ImageDraw

from opsin.report.drawing import FAINT, INK, PAPER, colour_bar, colourize, font, number, text, to_picture, wrap

_PANEL = 480  # the longer side of a panel
_LEAST_WIDTH = 170
_MARGIN, _GAP, _HEAD = 28, 20, 34


def heatmap_figure(
    reference: torch.Tensor,
    image: torch.Tensor,
    heat: torch.Tensor,
    *,
    title: str,
    caption: str,
    layers: Mapping[str, torch.Tensor] | None = None,
    names: tuple[str, str] = ("reference", "image"),
) -> Image.Image:
    """The reference, the image, and the heat map over the image beside its colour bar; below, one map per layer.

    Args:
        reference: (1,3,H,W) in [0,1].
        image: (1,3,H,W) in [0,1].
        heat: (1,1,H,W): the distance at each pixel.
        title: the line above.
        caption: the small print below.
        layers: name -> (1,1,H,W), drawn one by one, each on a scale of its own.
        names: above the first two panels.
    """
    top = float(heat.max())
    panels: list[tuple[str, Image.Image]] = [
        (names[0], _fit(to_picture(reference))),
        (names[1], _fit(to_picture(image))),
        ("where they differ", _fit(colourize(heat[0, 0], image, top))),
    ]
    bar = colour_bar(panels[0][1].height, top)
    # Narrow and flat pictures still need room for what is written over and beside them.
    width, height = max(panels[0][1].width, _LEAST_WIDTH), max(panels[0][1].height, bar.height)
    rows = [panels]
    per_row = len(panels)
    if layers:
        small = [
            (f"{name}  max {number(float(m.max()))}", _fit(colourize(m[0, 0], image, float(m.max()))))
            for name, m in layers.items()
        ]
        rows += [small[i : i + per_row] for i in range(0, len(small), per_row)]
    full_width = 2 * _MARGIN + max(
        per_row * width + (per_row - 1) * _GAP + 12 + bar.width, min(round(font(26).getlength(title)), 2 * _PANEL)
    )
    notes = wrap(caption, full_width - 2 * _MARGIN, 15)
    full_height = _MARGIN + 40 + len(rows) * (_HEAD + height + _GAP) + 14 + 20 * len(notes)
    sheet = Image.new("RGB", (full_width, full_height), PAPER)
    draw = ImageDraw.Draw(sheet)
    text(draw, (_MARGIN, _MARGIN - 4), _shorten(title, full_width - 2 * _MARGIN, 26), 26)
    y = _MARGIN + 40
    for row in rows:
        for i, (name, panel) in enumerate(row):
            x = _MARGIN + i * (width + _GAP)
            text(draw, (x, y + _HEAD - 8), _shorten(name, width, 18), 18, INK, anchor="ls")
            sheet.paste(panel, (x, y + _HEAD))
        y += _HEAD + height + _GAP
    sheet.paste(bar, (_MARGIN + per_row * (width + _GAP) - _GAP + 12, _MARGIN + 40 + _HEAD))
    for i, line in enumerate(notes):
        text(draw, (_MARGIN, y + 16 + 20 * i), line, 15, FAINT, anchor="ls")
    return sheet


def _fit(picture: Image.Image) -> Image.Image:
    """Scale to the size of a panel; small pictures keep their pixels' edges."""
    scale = _PANEL / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.NEAREST if scale > 2 else Image.Resampling.LANCZOS)


def _shorten(line: str, width: int, size: int) -> str:
    """Cut the middle out of a line that is wider than `width` pixels: names differ at their ends."""
    shorter, kept = line, len(line)
    while font(size).getlength(shorter) > width and kept > 2:
        kept -= 1
        shorter = f"{line[: kept - kept // 2]}…{line[len(line) - kept // 2 :]}"
    return shorter
