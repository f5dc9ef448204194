"""Where to compute."""

from __future__ import annotations

import torch

from opsin.errors import InputError


def find_device(name: str) -> torch.device:
    """The device of a name, if this machine has it and it computes.

    Raises:
        InputError: it has not.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    # torch raises one or another of them, by how it was built.
    except (RuntimeError, AssertionError, ImportError, NotImplementedError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise InputError(f"device must be one of this machine, got {name!r}: {reason}. Use --device cpu.") from error
    return device
