"""What losses need of references, kept on disk: another method scored later does not compute it again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from opsin._version import __version__
from opsin.distances import map_tensors
from opsin.errors import OpsinError
from opsin.loss import PerceptualLoss
from opsin.results import Targets
from opsin.states import load_state, save_state

DEFAULT_BYTES = 20 * 10**9
_KIND, _SUFFIX = "the targets of a loss", ".safetensors"
_KEPT = 0.9  # of the limit, after old ones were removed


class TargetCache:
    """Targets by the hash of the reference's file and of all that they depend on.

    A file each, written whole or not at all; several processes may share a folder. When the files take more than the
    limit, those that were not used for longest are removed. A damaged file counts as none.

    Args:
        folder: made if it is not there.
        loss: whose targets they are.
        preparation: what is done to references before.
        limit: bytes on disk.

    Raises:
        OpsinError: the folder cannot be written.
    """

    def __init__(
        self, folder: str | os.PathLike[str], loss: PerceptualLoss, preparation: Mapping[str, Any], limit: int
    ) -> None:
        self.folder, self.limit = Path(folder), limit
        keys = sorted({term.target_key(name) for term in loss.terms.values() for name in term.references})
        depends = {"opsin": __version__, "keys": keys, "preparation": dict(preparation)}
        self._salt = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._bytes = sum(size for _, size, _ in self._files())
        except OSError as error:
            raise OpsinError(
                f"cache must be a folder that can be written, got '{folder}' ({error.strerror}). Choose another."
            ) from error

    def path(self, digest: str) -> Path:
        """Where the targets of a reference are, by the SHA-256 of its file."""
        name = hashlib.sha256(f"{self._salt}{digest}".encode()).hexdigest()
        return self.folder / name[:2] / f"{name}{_SUFFIX}"

    def known(self, digest: str) -> bool:
        """Whether there are targets of a reference."""
        return self.path(digest).is_file()

    def get(self, digest: str) -> Targets | None:
        """The targets of a reference; None if there are none, or none that is whole."""
        path = self.path(digest)
        try:
            state = load_state(path, kind=_KIND)
            os.utime(path)  # used now
        except (OpsinError, OSError):
            with suppress(OSError):
                path.unlink()
            return None
        sizes = {name: tuple(size) for name, size in state["sizes"].items()}
        return Targets({k: map_tensors(_last_to_first, v) for k, v in state["statistics"].items()}, sizes)

    def put(self, digest: str, targets: Targets) -> None:
        """Keep the targets of a reference.

        Raises:
            OpsinError: the disk is full, or the folder cannot be written.
        """
        path = self.path(digest)
        path.parent.mkdir(exist_ok=True)
        statistics = {k: map_tensors(_first_to_last, v) for k, v in targets.items()}
        save_state(path, {"statistics": statistics, "sizes": dict(targets.sizes)}, kind=_KIND)
        self._bytes += path.stat().st_size
        if self._bytes > self.limit:
            self._make_room()

    def _make_room(self) -> None:
        files = sorted(self._files())
        total = sum(size for _, size, _ in files)
        for _, size, path in files:
            if total <= _KEPT * self.limit:
                break
            with suppress(OSError):  # another process was quicker
                path.unlink()
            total -= size
        self._bytes = total

    def _files(self) -> list[tuple[float, int, Path]]:
        """When each was used last, its bytes, and where it is."""
        found = []
        for path in self.folder.glob(f"??/*{_SUFFIX}"):
            with suppress(OSError):
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        return found


# Files hold numbers in the order of their indices. Maps are channels last, and are to come back so: sums of others are
# rounded differently.
def _first_to_last(t: Tensor) -> Tensor:
    return t.permute(0, 2, 3, 1) if t.ndim == 4 else t


def _last_to_first(t: Tensor) -> Tensor:
    return t.permute(0, 3, 1, 2) if t.ndim == 4 else t
