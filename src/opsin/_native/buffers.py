"""Memory of large maps: from the system, and used again as soon as a map is gone.

A step makes and frees the same maps each time, megabytes each. Between them malloc puts small things that stay, so that
the room of one map does not do for the next: a process came to hold twice what was in use. And what malloc gives back
to the system it gets anew page by page, zeroed.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import mmap
import threading
import weakref
from collections.abc import Sequence

import torch
from torch import Tensor

# Below, malloc is as good.
_LEAST = 1 << 18
# Bytes that lie ready. 256 MiB make an LPIPS step on a batch of 4 at 256 pixels up to a fifth faster, but what lies
# ready then is so much that a process grows by other amounts than `opsin.peak_memory` says.
_READY = 64 << 20
# From here on in pages of 2 MiB, if the system allows it: zeroing small ones takes longer than many a layer.
_HUGE = 4 << 20
# Not shared with child processes, as mmap's own default is.
_PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_ANONYMOUS") else {}


class Pool:
    """Buffers that nobody uses at the moment.

    Args:
        limit: bytes that it keeps; what is beyond goes back to the system, what lay unused longest first.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._ready: list[mmap.mmap] = []
        # Buffers come back when a tensor dies: in any thread, and in the middle of the lines below.
        self._lock = threading.RLock()

    def take(self, size: int) -> mmap.mmap:
        """A buffer of `size` bytes at least, and not of more than twice as many."""
        with self._lock:
            fitting = [(len(buffer), i) for i, buffer in enumerate(self._ready) if size <= len(buffer) <= 2 * size]
            if fitting:
                return self._ready.pop(min(fitting)[1])
        return _from_system(size)

    def give(self, buffer: mmap.mmap) -> None:
        """Take back a buffer that is no longer used."""
        with self._lock:
            self._ready.append(buffer)
            while sum(map(len, self._ready)) > self._limit:
                del self._ready[0]

    @property
    def sizes(self) -> list[int]:
        """Bytes of each buffer that lies ready."""
        return [len(buffer) for buffer in self._ready]


def _from_system(size: int) -> mmap.mmap:
    buffer = mmap.mmap(-1, size, **_PRIVATE)
    if size >= _HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a system without them: small ones do
            buffer.madvise(mmap.MADV_HUGEPAGE)
    return buffer


POOL = Pool(_READY)


def floats(shape: Sequence[int], strides: Sequence[int] | None = None, *, pool: Pool | None = POOL) -> Tensor:
    """A new tensor, float32, of any values.

    Args:
        shape: of it.
        strides: of a layout without gaps; contiguous if None.
        pool: where its memory comes from, and goes when the last tensor that uses it is gone. Without one it comes
            from the system and goes back to it, as is better for what stays.
    """
    count = math.prod(shape)
    size = -(-4 * count // mmap.PAGESIZE) * mmap.PAGESIZE
    if strides is None:
        strides = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    if size < _LEAST:
        return torch.empty_strided(tuple(shape), tuple(strides), dtype=torch.float32)
    buffer = _from_system(size) if pool is None else pool.take(size)
    # The tensor holds it, and it holds the buffer, which knows of no way to tell when it is let go.
    held = (ctypes.c_char * len(buffer)).from_buffer(buffer)
    if pool is not None:
        weakref.finalize(held, pool.give, buffer).atexit = False
    # In place, since to a view of another tensor autograd does not add in place.
    return torch.frombuffer(held, dtype=torch.float32, count=count).as_strided_(tuple(shape), tuple(strides))
