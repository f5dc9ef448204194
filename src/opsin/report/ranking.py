"""The demo's picture: what pixels rank close beside what a network ranks close."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image, ImageDraw

from opsin.report.drawing import ACCENT, FAINT, INK, LINE, PAPER, colour_bar, colourize, number, text, to_picture, wrap

_THUMB, _GAP, _MARGIN, _LABEL, _MIDDLE, _HEADER = 208, 14, 40, 150, 190, 300


@dataclass(frozen=True)
class Distorted:
    """One distorted version of the reference and what was measured of it."""

    name: str
    image: torch.Tensor  # (1,3,H,W) in [0,1]
    mse: float
    loss: float
    heat: torch.Tensor  # (1,1,H,W)


def ranking_figure(reference: torch.Tensor, items: Sequence[Distorted], *, captions: Sequence[str]) -> Image.Image:
    """Two columns, closest first: by pixel MSE on the left, by perceptual loss on the right with a heat map each.

    A line joins the two places of each distortion; it is coloured where they are two or more ranks apart.
    """
    by_mse = sorted(items, key=lambda item: item.mse)
    by_loss = sorted(items, key=lambda item: item.loss)
    top = max(float(item.heat.max()) for item in items)
    left_x = _MARGIN
    left_end = left_x + _LABEL + _THUMB
    right_x = left_end + _MIDDLE
    map_x = right_x + _THUMB + _GAP
    width = map_x + _THUMB + _GAP + _LABEL + _MARGIN
    notes = [line for caption in captions for line in wrap(caption, width - 2 * _MARGIN, 15)]
    height = _HEADER + len(items) * (_THUMB + _GAP) + 48 + 22 * len(notes)
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)

    photo = _thumb(to_picture(reference))
    sheet.paste(photo, (left_x, 36))
    text(draw, (left_x + _THUMB + 28, 40), "Which of these is closest to this photo?", 34)
    blurb = (
        "Pixel error counts how far each pixel moved. A perceptual loss counts how far the features of a pretrained "
        "network moved, which is nearer to how people judge. Closest first; lines join the same picture, coloured "
        "where the two disagree."
    )
    for i, line in enumerate(wrap(blurb, map_x - left_x - _THUMB - 60, 20)):
        text(draw, (left_x + _THUMB + 28, 98 + 30 * i), line, 20, FAINT)
    text(draw, (left_x, _HEADER - 14), "by pixel MSE", 22, INK, anchor="ls")
    text(draw, (right_x, _HEADER - 14), "by perceptual loss", 22, INK, anchor="ls")
    text(draw, (map_x, _HEADER - 14), "where it differs", 22, INK, anchor="ls")
    bar = colour_bar(_THUMB, top)
    sheet.paste(bar, (map_x + _THUMB - 20, 36))

    def row(rank: int) -> int:
        return _HEADER + rank * (_THUMB + _GAP)

    for rank, item in enumerate(by_mse):
        y = row(rank)
        other = by_loss.index(item)
        disagree = abs(other - rank) >= 2
        ends = (left_end + 8, y + _THUMB // 2), (right_x - 8, row(other) + _THUMB // 2)
        _smooth_line(sheet, *ends, ACCENT if disagree else LINE)
        _label(draw, left_x, y, rank, item.name, f"MSE {number(item.mse)}")
        sheet.paste(_thumb(to_picture(item.image)), (left_x + _LABEL, y))
    for rank, item in enumerate(by_loss):
        y = row(rank)
        sheet.paste(_thumb(to_picture(item.image)), (right_x, y))
        sheet.paste(_thumb(colourize(item.heat[0, 0], item.image, top)), (map_x, y))
        _label(draw, map_x + _THUMB + _GAP, y, rank, item.name, f"loss {number(item.loss)}")
    for i, line in enumerate(reversed(notes)):
        text(draw, (left_x, height - 24 - 22 * i), line, 15, FAINT, anchor="ls")
    return sheet


def _smooth_line(
    sheet: Image.Image, start: tuple[int, int], end: tuple[int, int], colour: tuple[int, int, int]
) -> None:
    """A line without stairs: drawn four times as large as a mask and scaled down."""
    pad, fine = 6, 4
    left, upper = min(start[0], end[0]) - pad, min(start[1], end[1]) - pad
    size = (abs(end[0] - start[0]) + 2 * pad, abs(end[1] - start[1]) + 2 * pad)
    mask = Image.new("L", (size[0] * fine, size[1] * fine))
    points = [((x - left) * fine, (y - upper) * fine) for x, y in (start, end)]
    ImageDraw.Draw(mask).line(points, fill=255, width=5 * fine)
    mask = mask.resize(size, Image.Resampling.LANCZOS)
    sheet.paste(Image.new("RGB", size, colour), (left, upper), mask)


def _label(draw: ImageDraw.ImageDraw, x: int, y: int, rank: int, name: str, value: str) -> None:
    text(draw, (x, y + 54), str(rank + 1), 44, FAINT, anchor="ls")
    text(draw, (x, y + 92), name, 24, INK, anchor="ls")
    text(draw, (x, y + 122), value, 20, FAINT, anchor="ls")


def _thumb(picture: Image.Image) -> Image.Image:
    """The middle square of a picture, at thumbnail size."""
    side = min(picture.size)
    left, upper = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, upper, left + side, upper + side))
    return square.resize((_THUMB, _THUMB), Image.Resampling.LANCZOS)
