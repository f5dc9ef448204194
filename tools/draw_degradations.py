"""Draw what degradations make of a photo, docs/images/degradations.jpg.

    python tools/draw_degradations.py

Small images are enlarged by repeating their pixels. The photo is scikit-image's. The same picture comes out each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage import data
from torch import Tensor

from opsin.report.sheet import contact_sheet
from opsin.superres.degradations import make_degradation

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "degradations.jpg"
SCALE, SIZE, COLUMNS = 4, 192, 4
# Upper and left edge of the crop.
TOP, LEFT = 16, 126
NOTE = "Each small image is 48 pixels wide. The photo: Eileen Collins, by NASA (public domain)."


def photo() -> Tensor:
    """The crop of the sample photo, (3,SIZE,SIZE) in [0,1]."""
    pixels = data.astronaut()[TOP : TOP + SIZE, LEFT : LEFT + SIZE]
    return torch.from_numpy(pixels.astype(np.float32) / 255).permute(2, 0, 1).contiguous()


def cells() -> Iterator[tuple[str, Tensor]]:
    """Captions, and images (1,3,SIZE,SIZE)."""
    image = photo()
    yield "the photo", image[None]
    for name, draws in [("bicubic", 1), ("blur-noise-jpeg", 2), ("real-esrgan", 8)]:
        degradation = make_degradation(name, SCALE)
        for seed in range(draws):
            small = degradation(image, np.random.default_rng(seed))
            large = small.repeat_interleave(SCALE, -1).repeat_interleave(SCALE, -2)
            yield name if draws == 1 else f"{name}, seed {seed}", large[None]


def draw() -> Image.Image:
    """The sheet."""
    return contact_sheet(
        f"What degradations make of a photo, {SCALE} times smaller",
        list(cells()),
        columns=COLUMNS,
        width=SIZE,
        notes=[NOTE],
    )


def main() -> None:
    """Draw the sheet."""
    draw().save(PICTURE, quality=80)


if __name__ == "__main__":
    main()
