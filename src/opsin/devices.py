"""Where to compute, and how much memory is there."""

from __future__ import annotations

import os
import re
from pathlib import Path

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


def available_memory(device: torch.device | None = None) -> int | None:
    """Bytes that can still be had on a device, None for the CPU; or None where nobody tells."""
    if device is not None and device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free
    if device is not None and device.type != "cpu":
        return None
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
