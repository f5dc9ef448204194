"""What several commands do."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_codecs() -> Iterator[None]:
    """Keep stderr for our one line: libtiff writes there past Python, whatever the error is turned into."""
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # the caller closed it
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
