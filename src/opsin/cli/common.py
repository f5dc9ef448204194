"""What several commands do."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opsin.errors import InputError

if TYPE_CHECKING:
    import torch


def get_device(name: str) -> torch.device:
    """The device of a name.

    Raises:
        InputError: this machine has none of that name.
    """
    import torch

    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # whether there is such a device, and it computes
    except (RuntimeError, AssertionError, ImportError, NotImplementedError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise InputError(f"device must be one of this machine, got {name!r}: {reason}. Use --device cpu.") from error
    return device


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
