"""Writing a file whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from opsin.errors import OpsinError


def check_writable(path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Return `path` if a file may be written there.

    Called before a long computation, so that a bad `--output` fails in the first second and not in the last.

    Raises:
        OpsinError: the folder does not exist, `path` is a folder, or a file is there and `overwrite` is False.
    """
    path = Path(path)
    if path.is_dir():
        raise OpsinError(f"output must be a file, got the folder '{path}'. Name a file in it.")
    if not path.parent.is_dir():
        raise OpsinError(f"output folder must exist, got '{path.parent}', which does not. Create it first.")
    if path.exists() and not overwrite:
        raise OpsinError(f"output must be a new file, got '{path}', which exists. Choose another name or overwrite it.")
    return path


@contextmanager
def atomic_path(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`, moved onto `path` if the block succeeds and removed if it fails.

    Example:
        >>> with atomic_path("result.png") as temporary:  # doctest: +SKIP
        ...     image.save(temporary)

    Raises:
        OpsinError: as `check_writable`.
    """
    path = check_writable(path, overwrite=overwrite)
    # The suffix is kept, so that a writer that chooses its format by the name sees the right one.
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp's 0600 would surprise on a shared folder
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
