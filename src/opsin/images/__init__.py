"""Image files to tensors and back: orientation, colour profiles, transparency and 16 bits done right."""

from __future__ import annotations

from opsin.images.picture import Picture, read_picture, write_picture
from opsin.images.reading import DEFAULT_MAX_PIXELS, read_image
from opsin.images.resizing import resize, target_size
from opsin.images.writing import WRITABLE_SUFFIXES, save_pil, write_image

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "WRITABLE_SUFFIXES",
    "Picture",
    "read_image",
    "read_picture",
    "resize",
    "save_pil",
    "target_size",
    "write_image",
    "write_picture",
]
