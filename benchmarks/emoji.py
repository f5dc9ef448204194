"""Pictures to learn, made on the spot: the emoji of Google's Noto font (Debian's package fonts-noto-color-emoji)."""

from __future__ import annotations

import sys
import unicodedata
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
_GLYPH = 109  # the one size that the font has


def draw_emoji(folder: Path, font: Path, side: int) -> list[Path]:
    """Draw each emoji of the font that is one character, and no other's picture; the files, by code."""
    if not font.is_file():
        sys.exit(f"needs the font {font}: apt install fonts-noto-color-emoji, or --font")
    face = ImageFont.truetype(str(font), _GLYPH)
    room = round(1.25 * _GLYPH)

    def picture(text: str) -> Image.Image:
        canvas = Image.new("RGB", (room, room), "white")
        ImageDraw.Draw(canvas).text((room // 2, room // 2), text, font=face, embedded_color=True, anchor="mm")
        return canvas

    seen = {picture("\U0001fffe").tobytes(), Image.new("RGB", (room, room), "white").tobytes()}  # no glyph, and nothing
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for code in (*range(0x2190, 0x2C00), *range(0x1F000, 0x1FB00)):
        if unicodedata.category(chr(code)) not in ("So", "Sk", "Sm", "Cn"):
            continue
        drawn = picture(chr(code) + "\ufe0f")
        if drawn.tobytes() in seen:
            continue
        seen.add(drawn.tobytes())
        paths.append(folder / f"{code:x}.png")
        drawn.resize((side, side), Image.Resampling.LANCZOS).save(paths[-1])
    return sorted(paths)
