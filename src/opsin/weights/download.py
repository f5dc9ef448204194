"""Fetching one file: whole and with the right hash, or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

from opsin.errors import WeightsError

_CHUNK = 1 << 18
_LOCAL = ("127.0.0.1", "localhost")


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Return the sha256 of a file in lower-case hex."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(1 << 20))
    with Path(path).open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
    return digest.hexdigest()


def download(
    url: str,
    destination: Path,
    sha256: str,
    *,
    progress: bool = False,
    timeout: float = 30.0,
    opener: Callable[..., Any] | None = None,
) -> Path:
    """Fetch `url` to `destination` and return `destination`.

    The file grows as `NAME.part` in the same folder and gets its name when its length and its hash are right,
    so that there is never half a file under that name. Processes that want one and the same file (the ranks
    of a distributed run) take turns: the first fetches it, the others wait and find it.

    Args:
        url: an https address (http for this machine only).
        destination: the file to write; its folder is made if need be.
        sha256: the hash that the file must have, or the first digits of it.
        progress: show a bar on stderr if that is a terminal.
        timeout: seconds without an answer after which the server is given up.
        opener: called as `opener(request, timeout=seconds)` in place of `urllib.request.urlopen`.

    Raises:
        WeightsError: the address isn't https, the server can't be reached or breaks off, the disk is full, or
            the file isn't the right one. Neither a file nor a part of one is left.
    """
    destination = Path(destination)
    by_hand = f"Or fetch {url} by hand and put it, named '{destination.name}', into the folder '{destination.parent}'."
    _check_address(url)
    try:
        if not destination.exists():
            destination.parent.mkdir(parents=True, exist_ok=True)
            with _locked(destination.with_name(destination.name + ".lock")):
                if not destination.exists():
                    connect = partial(opener or urllib.request.urlopen, timeout=timeout)
                    _fetch(url, destination, sha256, connect, progress=progress)
                    return destination
        digest = sha256_of(destination)
    except WeightsError as error:
        raise WeightsError(f"{error} {by_hand}") from error.__cause__
    except (OSError, HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()  # it is also the open response
        reason = " ".join(str(error).split()) or type(error).__name__
        raise WeightsError(
            f"weights file '{destination.name}' could not be downloaded from {url}: {reason}. "
            f"Check the connection and the folder, then try again. {by_hand}"
        ) from error
    if not digest.startswith(sha256):
        raise WeightsError(
            f"weights file '{destination}' must have a sha256 that begins with {sha256}, got {digest}. "
            f"Delete it and fetch it again. {by_hand}"
        )
    return destination


def _check_address(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOCAL):
        return
    raise WeightsError(f"address of a weights file must begin with https://, got '{url}'. Use an https address.")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    from filelock import FileLock  # only now: who downloads nothing need not wait for it

    with FileLock(str(path)):
        try:
            yield
        finally:
            # Removed while still held. A waiter opens the path anew for each try, so it can't keep hold of
            # the removed file. Windows refuses this; there filelock removes the file itself.
            with suppress(OSError):
                path.unlink()


def _fetch(url: str, destination: Path, sha256: str, connect: Callable[..., Any], *, progress: bool) -> None:
    part = destination.with_name(destination.name + ".part")
    # Left by a run that was killed; its bytes are not trusted, and its space is counted as free below.
    part.unlink(missing_ok=True)
    # The scheme is checked: file:// and the like don't get here.
    request = urllib.request.Request(url, headers={"User-Agent": "opsin"})  # noqa: S310
    try:
        with connect(request) as response:
            _check_address(response.geturl())  # a redirect may have left https
            length = response.headers.get("Content-Length") or ""
            expected = int(length) if length.isdecimal() else None
            free = shutil.disk_usage(destination.parent).free
            if expected is not None and expected > free:
                raise WeightsError(
                    f"free space in '{destination.parent}' must be {expected:,} bytes, got {free:,}. "
                    "Free some, or set OPSIN_WEIGHTS_DIR to a folder on another disk."
                )
            received, digest = _stream(response, part, _bar(progress, destination.name, expected))
        if expected is not None and received != expected:
            raise WeightsError(f"download of {url} must be {expected:,} bytes, got {received:,}. Try again.")
        if not digest.startswith(sha256):
            raise WeightsError(
                f"download of {url} must have a sha256 that begins with {sha256}, got {digest}. Try again."
            )
        part.replace(destination)
    except BaseException:  # Ctrl-C too
        part.unlink(missing_ok=True)
        raise


def _stream(response: Any, part: Path, bar: Any) -> tuple[int, str]:
    """Write the response's body to `part`; return its length and its sha256."""
    digest = hashlib.sha256()
    received = 0
    with part.open("wb") as file, bar as advance:
        while chunk := response.read(_CHUNK):
            file.write(chunk)
            digest.update(chunk)
            received += len(chunk)
            advance(len(chunk))
        file.flush()
        os.fsync(file.fileno())  # a file under its final name must survive a power cut whole
    return received, digest.hexdigest()


@contextmanager
def _bar(show: bool, name: str, total: int | None) -> Iterator[Callable[[int], None]]:
    if not (show and sys.stderr.isatty()):
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as shown:
        task = shown.add_task(name, total=total)
        yield lambda count: shown.advance(task, count)
