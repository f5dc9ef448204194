"""Images on their way from the processes that read them, in memory that both sides see.

Through a pipe each image is written and read in pieces of 64 KiB, into memory that is new each time: for AlexNet that
takes as long as decoding.
"""

from __future__ import annotations

import math
import mmap
import weakref
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from opsin.scoring.reading import Pixels

_BLOCK = 1 << 18


class Place(NamedTuple):
    """Where an image is in an `Arena`.

    Attributes:
        start: its first byte.
        shape: of the array.
        dtype: of its values, as NumPy spells it.
    """

    start: int
    shape: tuple[int, ...]
    dtype: str


class Arena:
    """Memory that one process puts images into and another takes them from, used again when they are gone there.

    It must be made before the process that puts is forked. Where processes are started in another way it holds nothing:
    memory cannot be handed to them by a name that a kill would not leave behind, or that containers do not keep small.

    Args:
        size: bytes; what was never used takes none.
    """

    def __init__(self, size: int) -> None:
        blocks = size // _BLOCK
        self._memory = mmap.mmap(-1, max(1, blocks * _BLOCK))
        # Whether a block is in use: the one side sets it, the other clears it.
        self._used = np.frombuffer(mmap.mmap(-1, max(1, blocks)), dtype=np.bool_)[:blocks]

    def __reduce__(self) -> tuple[type[Arena], tuple[int]]:
        """What a process that was not forked gets: one without memory."""
        return Arena, (0,)

    def put(self, image: Pixels) -> Place | None:
        """Copy an image into free memory; None if there is not enough in one piece."""
        first = _run_of_free(self._used, -(-image.nbytes // _BLOCK))
        if first is None:
            return None
        place = Place(first * _BLOCK, image.shape, image.dtype.str)
        self._blocks(place)[:] = True
        _flat(self._memory, place)[...] = image.reshape(-1)
        return place

    def take(self, place: Place) -> Pixels:
        """The image that was put there, not copied; its memory is free when the last array that shows it is gone."""
        flat = _flat(self._memory, place)
        # All views hold this one: NumPy has them refer to the array that is nearest to the memory.
        weakref.finalize(flat, self._blocks(place).fill, False).atexit = False
        return flat.reshape(place.shape)

    def _blocks(self, place: Place) -> npt.NDArray[np.bool_]:
        size = math.prod(place.shape) * np.dtype(place.dtype).itemsize
        return self._used[place.start // _BLOCK :][: -(-size // _BLOCK)]

    @property
    def used(self) -> int:
        """Blocks in use."""
        return int(self._used.sum())


def _flat(memory: mmap.mmap, place: Place) -> Pixels:
    return np.frombuffer(memory, dtype=place.dtype, count=math.prod(place.shape), offset=place.start)


def _run_of_free(used: npt.NDArray[np.bool_], blocks: int) -> int | None:
    """The first of so many blocks in a row that are free."""
    # Between two of these, or beyond the ends, lies what is free.
    walls = np.concatenate([[-1], np.flatnonzero(used), [len(used)]])
    rooms = np.flatnonzero(np.diff(walls) > blocks)
    return int(walls[rooms[0]]) + 1 if len(rooms) else None
