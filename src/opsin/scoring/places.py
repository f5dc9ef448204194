"""Where images lie: on this machine, or wherever fsspec reaches (s3://, gs://, https://, zip:// …)."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any

from opsin.errors import ImageError, InputError
from opsin.images.listing import SUFFIXES, find_images
from opsin.images.reading import read_file

MAX_BYTES = 2**30
"""The largest file that is read from elsewhere."""


def is_url(place: str) -> bool:
    """Whether a place is one that fsspec opens.

    Example:
        >>> is_url("s3://bucket/photos"), is_url("photos")
        (True, False)
    """
    return "://" in place


def inside(folder: str, relative: str) -> str:
    """The place of a file in a folder, given by its path there.

    Example:
        >>> inside("zip://photos::all.zip", "a/b.png")
        'zip://photos/a/b.png::all.zip'
    """
    if not is_url(folder):
        return str(Path(folder) / relative)
    head, chained, tail = folder.partition("::")
    between = "" if head.endswith("/") else "/"
    return f"{head}{between}{relative}{chained}{tail}"


def list_images(folder: str) -> list[str]:
    """Paths of the images in a folder and below, relative to it, in order; hidden ones are left out.

    Raises:
        InputError: there is no such folder, or no image in it.
        ImageError: it cannot be reached.
    """
    if not is_url(folder):
        return [path.relative_to(folder).as_posix() for path in find_images(folder)]
    try:
        system, root = _fsspec().core.url_to_fs(folder)
        # Some know files alone.
        found = system.find(root)
    except Exception as error:  # each file system raises errors of its own
        raise _out_of_reach(folder, error) from error
    prefix = str(root).strip("/")
    relative = [PurePosixPath(path.strip("/").removeprefix(prefix).strip("/")) for path in found]
    kept = sorted(
        path.as_posix()
        for path in relative
        if path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in path.parts)
    )
    if not kept:
        raise InputError(
            f"data must be a folder of images, got none in '{folder}' that ends in {', '.join(SUFFIXES)}. "
            "Choose another folder."
        )
    return kept


def read_bytes(place: str) -> bytes:
    """All of a file.

    Raises:
        ImageError: it is not there, cannot be read, or is too large.
    """
    if not is_url(place):
        return read_file(place)
    try:
        with _fsspec().open(place, "rb") as file:
            content: bytes = file.read(MAX_BYTES + 1)
    except Exception as error:  # each file system raises errors of its own
        raise _out_of_reach(place, error) from error
    if len(content) > MAX_BYTES:
        raise ImageError(f"image must be a file of at most {MAX_BYTES:,} bytes, got a larger one, '{place}'.")
    return content


def is_there(place: str) -> bool:
    """Whether there is a file or a folder; True of places elsewhere, which only reading tells."""
    return is_url(place) or os.path.exists(place)  # noqa: PTH110 (no Path for each of a million)


def _out_of_reach(place: str, error: Exception) -> ImageError:
    said = " ".join(str(error).split())[:200] or type(error).__name__
    return ImageError(
        f"image must be one that fsspec can read, got '{place}' ({said}). Check it, and that the package for such "
        "places is installed."
    )


def _fsspec() -> Any:
    import fsspec  # torch brings it

    return fsspec
