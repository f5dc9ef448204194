"""What all pictures share: colours, type, and the colour bar."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

INK, FAINT, PAPER, LINE = (28, 30, 34), (112, 118, 128), (255, 255, 255), (226, 229, 234)
ACCENT = (214, 84, 44)

# Inferno at seventeen even steps (matplotlib's colour map by Smith and van der Walt, CC0): dark is close, bright is
# far, and it reads the same in grey.
_INFERNO = (
    (0, 0, 4), (11, 7, 36), (33, 12, 74), (60, 9, 101), (87, 16, 110), (113, 25, 110), (138, 34, 106), (163, 44, 96),
    (188, 55, 84), (209, 70, 67), (227, 89, 51), (240, 112, 32), (249, 140, 10), (252, 171, 15), (247, 203, 58),
    (241, 235, 112), (252, 255, 164),
)  # fmt: skip


@cache
def colour_table() -> np.ndarray:
    """The colour map as 256 RGB rows, uint8."""
    stops = np.linspace(0, 255, len(_INFERNO))
    channels = [np.interp(np.arange(256), stops, [c[i] for c in _INFERNO]) for i in range(3)]
    table = np.stack(channels, axis=1).round().astype(np.uint8)
    table.setflags(write=False)  # it is one for all
    return table


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The typeface that ships with Pillow."""
    return ImageFont.load_default(size)


def text(
    draw: ImageDraw.ImageDraw,
    position: tuple[float, float],
    content: str,
    size: int,
    colour: tuple[int, int, int] = INK,
    anchor: str = "la",
) -> None:
    """Write a line of text; `anchor` is Pillow's."""
    draw.text(position, content, fill=colour, font=font(size), anchor=anchor)


def wrap(content: str, width: float, size: int) -> list[str]:
    """Break a line at its spaces so that none is wider than `width` pixels."""
    lines: list[str] = []
    for word in content.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font(size).getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def to_picture(image: torch.Tensor) -> Image.Image:
    """(1,3,H,W) or (3,H,W) in [0,1] to a Pillow image."""
    array = image.detach().reshape(3, *image.shape[-2:]).permute(1, 2, 0).clamp(0, 1).mul(255).round()
    return Image.fromarray(array.to(torch.uint8).cpu().numpy())


def colourize(heat: torch.Tensor, image: torch.Tensor, top: float) -> Image.Image:
    """A heat map laid over an image.

    The image is faint and grey, and the colour covers it the more the larger the value is, so that what is unchanged
    stays visible and what differs shows its colour undiluted.

    Args:
        heat: (H,W), from 0.
        image: (1,3,H,W) in [0,1].
        top: the value of the brightest colour.
    """
    level = (heat.detach().cpu() / top).clamp(0, 1) if top > 0 else torch.zeros(heat.shape)
    index = (level * 255).round().to(torch.uint8).numpy()
    colour = colour_table()[index].astype(np.float32)
    grey = (
        image.detach().cpu().reshape(3, *image.shape[-2:]) * torch.tensor([0.299, 0.587, 0.114]).reshape(3, 1, 1)
    ).sum(0)
    under = (grey.clamp(0, 1).numpy() * 150)[..., None].repeat(3, axis=2)
    cover = (0.35 + 0.65 * level.numpy() ** 0.5)[..., None]
    return Image.fromarray((under * (1 - cover) + colour * cover).round().clip(0, 255).astype(np.uint8))


def colour_bar(height: int, top: float, size: int = 18) -> Image.Image:
    """A vertical colour bar from 0 to `top` with its numbers; taller than `height` if they need it."""
    width = 20
    height = max(height, 5 * (size + 4))
    bar = Image.new("RGB", (width + 8 + 5 * size, height), PAPER)
    column = colour_table()[np.linspace(255, 0, height).round().astype(int)]
    bar.paste(Image.fromarray(np.repeat(column[:, None], width, axis=1)), (0, 0))
    draw = ImageDraw.Draw(bar)
    for i in range(5):
        y = round((height - 1) * (1 - i / 4))
        draw.line((width, y, width + 5, y), fill=FAINT)
        edge = "a" if i == 4 else "d" if i == 0 else "m"
        text(draw, (width + 9, y), number(top * i / 4), size, FAINT, anchor=f"l{edge}")
    return bar


def number(value: float) -> str:
    """A number in three digits, without needless zeros."""
    return "0" if value == 0 else f"{value:.3g}"
