"""Image files to tensors and back: orientation, colour profiles, transparency and 16 bits done right."""

from __future__ import annotations

from opsin.images.reading import DEFAULT_MAX_PIXELS, read_image
from opsin.images.resizing import resize, target_size
from opsin.images.writing import WRITABLE_SUFFIXES, save_pil, write_image

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "WRITABLE_SUFFIXES",
    "read_image",
    "resize",
    "save_pil",
    "target_size",
    "write_image",
]
