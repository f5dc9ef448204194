"""Standard error without what libraries in C write there past Python."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def drop_stderr() -> None:
    """From now on file descriptor 2 leads nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


@contextmanager
def without_stderr() -> Iterator[int | None]:
    """Within it file descriptor 2 leads nowhere; gives another one that leads where it did, None if it was closed."""
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # the caller closed it
        yield None
        return
    try:
        drop_stderr()
        yield kept
    finally:
        os.dup2(kept, 2)
        os.close(kept)
