"""A contact sheet: pictures side by side, each with what it is."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw
from torch import Tensor

from opsin.report.drawing import FAINT, INK, PAPER, text, to_picture, wrap

_MARGIN, _GAP, _TITLE, _CAPTION, _SMALL = 36, 18, 26, 17, 13


def contact_sheet(
    title: str, pictures: Sequence[tuple[str, Tensor]], *, columns: int, width: int = 320, notes: Sequence[str] = ()
) -> Image.Image:
    """Draw pictures in rows under a title, with a caption below each.

    Args:
        title: what the sheet shows.
        pictures: captions and images (1,3,H,W) in [0,1].
        columns: pictures in a row.
        width: of each in pixels; the height follows.
        notes: lines at the foot, small.
    """
    cells = [(wrap(caption, width, _CAPTION), to_picture(image)) for caption, image in pictures]
    scaled = [
        (lines, cell.resize((width, max(1, round(cell.height * width / cell.width))), Image.Resampling.LANCZOS))
        for lines, cell in cells
    ]
    rows = [scaled[i : i + columns] for i in range(0, len(scaled), columns)]
    line = _CAPTION + 6
    heights = [max(p.height for _, p in row) + 8 + line * max(len(lines) for lines, _ in row) for row in rows]
    across = min(columns, len(scaled))
    whole = 2 * _MARGIN + across * width + (across - 1) * _GAP
    foot = [piece for note in notes for piece in wrap(note, whole - 2 * _MARGIN, _SMALL)]
    head = _MARGIN + _TITLE + 22
    tall = head + sum(heights) + _GAP * (len(rows) - 1) + (18 + 19 * len(foot) if foot else 0) + _MARGIN
    sheet = Image.new("RGB", (whole, tall), PAPER)
    draw = ImageDraw.Draw(sheet)
    text(draw, (_MARGIN, _MARGIN - 6), title, _TITLE)
    y = head
    for row, height in zip(rows, heights, strict=True):
        below = max(picture.height for _, picture in row)
        for column, (lines, picture) in enumerate(row):
            x = _MARGIN + column * (width + _GAP)
            sheet.paste(picture, (x, y))
            for i, piece in enumerate(lines):
                text(draw, (x, y + below + 8 + i * line), piece, _CAPTION, INK)
        y += height + _GAP
    for i, piece in enumerate(foot):
        text(draw, (_MARGIN, y + i * 19), piece, _SMALL, FAINT)
    return sheet
