"""Finished frames in a folder, without loss, so that an interrupted run can go on."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from opsin.errors import InputError, OpsinError
from opsin.files import atomic_path
from opsin.images import read_image, write_image
from opsin.stylize.identity import check_same_run

_HEAD = "run.json"
# Also what a run that was killed in the middle of writing leaves.
_OURS = re.compile(r"\d{6}\.png|run\.json|\.(\d{6}-.*\.png|run-.*\.json)")


class FrameStore:
    """A folder of frames, numbered from 0, of one run.

    Args:
        folder: where they are; it is made if it isn't there, its parent must be.
        identity: what tells the run from others, plain values.
        resume: go on with the frames that are there.
        overwrite: otherwise remove them.

    Raises:
        InputError: the folder is there, and neither is wanted.
        OpsinError: nothing to resume, frames of another run, or a folder that no run has made.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        identity: Mapping[str, Any],
        *,
        resume: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.folder = Path(folder)
        mine = json.loads(json.dumps(dict(identity)))  # as it comes back from the file
        if resume:
            self._compare(mine)
        else:
            self._begin(mine, overwrite=overwrite)
        self.count = 0
        while self._path(self.count).exists():
            self.count += 1

    def load(self, index: int) -> Tensor:
        """A finished frame, (1,3,H,W) in [0,1].

        Raises:
            ImageError: it is damaged.
        """
        return read_image(self._path(index))

    def save(self, image: Tensor) -> Tensor:
        """Keep the next frame, and return what `load` will.

        Raises:
            ImageError: it can't be written.
        """
        write_image(self._path(self.count), image)
        self.count += 1
        return _as_stored(image)

    def remove(self) -> None:
        """Remove the folder, and nothing in it that isn't ours."""
        for path in list(self.folder.iterdir()):
            if _OURS.fullmatch(path.name):
                path.unlink()
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:06d}.png"

    def _begin(self, identity: dict[str, Any], *, overwrite: bool) -> None:
        if self.folder.exists():
            if not (self.folder / _HEAD).is_file():
                raise OpsinError(
                    f"the folder of frames must be new, got '{self.folder}', which holds something else. Name another."
                )
            if not overwrite:
                raise InputError(
                    f"the folder of frames must be new, got '{self.folder}', where a run has left "
                    f"{len(list(self.folder.glob('[0-9]*.png')))}. Resume that run, or overwrite it."
                )
            self.remove()
        self.folder.mkdir(exist_ok=True)
        with atomic_path(self.folder / _HEAD) as temporary:
            temporary.write_text(json.dumps(identity, indent=1), encoding="utf-8")

    def _compare(self, mine: dict[str, Any]) -> None:
        try:
            theirs = json.loads((self.folder / _HEAD).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise OpsinError(
                f"the folder to go on from must be that of an interrupted run, got '{self.folder}', which isn't. "
                "Begin anew without it."
            ) from error
        check_same_run("frames", theirs, mine)


def _as_stored(image: Tensor) -> Tensor:
    """An image in the 256 levels of a file."""
    return image.detach().clamp(0, 1).mul(255).round().div(255).to(torch.float32)
