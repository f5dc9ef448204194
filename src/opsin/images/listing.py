"""The image files of a folder."""

from __future__ import annotations

import os
from pathlib import Path

from opsin.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif")


def find_images(folder: str | os.PathLike[str]) -> list[Path]:
    """The files below a folder that end in one of `SUFFIXES`, in order; hidden ones are left out.

    Raises:
        InputError: there is no such folder, or no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "a file" if folder.exists() else "nothing"
        raise InputError(f"data must be a folder of images, got '{folder}', which is {what}. Check the name.")
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )
    if not found:
        raise InputError(
            f"data must be a folder of images, got none in '{folder}' that ends in {', '.join(SUFFIXES)}. "
            "Choose another folder."
        )
    return found
