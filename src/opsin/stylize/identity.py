"""What a run that goes on must have in common with the one that was broken off."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from opsin.errors import OpsinError


def hash_images(images: Iterable[Tensor], digest: Any = None) -> str:
    """16 hex digits of a hash of images and their shapes, after what `digest` has seen already."""
    digest = hashlib.sha256() if digest is None else digest
    for image in images:
        digest.update(repr(tuple(image.shape)).encode() + image.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def check_same_run(what: str, there: Any, here: Mapping[str, Any]) -> None:
    """Raise unless what is to be gone on with was made with the same.

    Args:
        what: is to be gone on with, e.g. "checkpoint".
        there: what it says that it was made with.
        here: what is to be made now, by name.

    Raises:
        OpsinError: something differs; it tells what.
    """
    for name, now in here.items():
        then = there.get(name) if isinstance(there, dict) else there
        if then != now:
            raise OpsinError(
                f"the {what} must be of a run with the same {name}, got another: {then} there, {now} here. "
                "Take what it was begun with, or begin anew."
            )
