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
        width: of the widest picture of a row, in pixels; the others of the row get its height.
        notes: lines at the foot, small.
    """
    cells = [(wrap(caption, width, _CAPTION), to_picture(image)) for caption, image in pictures]
    rows = [_of_one_height(cells[i : i + columns], width) for i in range(0, len(cells), columns)]
    line = _CAPTION + 6
    heights = [row[0][1].height + 8 + line * max(len(lines) for lines, _ in row) for row in rows]
    across = min(columns, len(cells))
    whole = 2 * _MARGIN + across * width + (across - 1) * _GAP
    foot = [piece for note in notes for piece in wrap(note, whole - 2 * _MARGIN, _SMALL)]
    head = _MARGIN + _TITLE + 22
    tall = head + sum(heights) + _GAP * (len(rows) - 1) + (18 + 19 * len(foot) if foot else 0) + _MARGIN
    sheet = Image.new("RGB", (whole, tall), PAPER)
    draw = ImageDraw.Draw(sheet)
    text(draw, (_MARGIN, _MARGIN - 6), title, _TITLE)
    y = head
    for row, height in zip(rows, heights, strict=True):
        for column, (lines, picture) in enumerate(row):
            x = _MARGIN + column * (width + _GAP)
            sheet.paste(picture, (x, y))
            for i, piece in enumerate(lines):
                text(draw, (x, y + picture.height + 8 + i * line), piece, _CAPTION, INK)
        y += height + _GAP
    for i, piece in enumerate(foot):
        text(draw, (_MARGIN, y + i * 19), piece, _SMALL, FAINT)
    return sheet


def _of_one_height(row: Sequence[tuple[list[str], Image.Image]], width: int) -> list[tuple[list[str], Image.Image]]:
    """The pictures of a row scaled to the height at which the widest of them has `width`."""
    flattest = min(picture.height / picture.width for _, picture in row)
    height = max(1, round(width * flattest))
    return [
        (lines, p.resize((max(1, round(width * flattest * p.width / p.height)), height), Image.Resampling.LANCZOS))
        for lines, p in row
    ]
