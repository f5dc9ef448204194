"""Memory through which reading processes hand over images."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle

import numpy as np
import pytest
import torch

from opsin.scoring.sharing import Arena, Place

BLOCK = 1 << 18


def image(blocks: float, dtype: str = "uint8") -> np.ndarray:
    size = int(blocks * BLOCK) // (3 * np.dtype(dtype).itemsize)
    return np.random.default_rng(0).integers(0, 256, (1, size, 3)).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_what_is_put_is_taken(dtype):
    arena = Arena(8 * BLOCK)
    first, second = image(1.5, dtype), image(0.2, dtype)
    places = [arena.put(one) for one in (first, second)]
    assert places[0] is not None and places[1] is not None
    for place, one in zip(places, (first, second), strict=True):
        taken = arena.take(place)
        assert taken.dtype == one.dtype and np.array_equal(taken, one)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
def test_from_a_forked_process():
    arena = Arena(8 * BLOCK)
    here, there = multiprocessing.get_context("fork").Pipe()
    process = multiprocessing.get_context("fork").Process(target=lambda: there.send(arena.put(image(3))))
    process.start()
    place = here.recv()
    process.join()
    same = np.array_equal(arena.take(place), image(3))
    assert same and arena.used == 0


def test_memory_is_used_again_when_nothing_shows_it():
    arena = Arena(4 * BLOCK)
    place = arena.put(image(3))
    assert place is not None and arena.used == 3
    taken = arena.take(place)
    part, tensor = taken[:, 5:9], torch.from_numpy(taken)
    del taken
    gc.collect()
    assert arena.put(image(3)) is None and arena.used == 3  # the part and the tensor show it
    del part
    assert arena.put(image(3)) is None
    del tensor
    assert arena.used == 0 and arena.put(image(3)) == place


def test_room_is_found_between_others():
    arena = Arena(6 * BLOCK)
    places = [arena.put(image(2)) for _ in range(3)]
    assert [place and place.start for place in places] == [0, 2 * BLOCK, 4 * BLOCK]
    assert arena.put(image(0.1)) is None
    assert places[1] is not None
    arena.take(places[1])
    assert arena.put(image(2.5)) is None
    found = arena.put(image(1))
    assert found is not None and found.start == 2 * BLOCK


def test_what_is_larger_than_all_of_it_finds_no_room():
    assert Arena(2 * BLOCK).put(image(3)) is None


def test_a_process_that_was_not_forked_has_no_memory():
    """The image then goes through the pipe."""
    assert pickle.loads(pickle.dumps(Arena(2 * BLOCK))).put(image(1)) is None


def test_places_are_small():
    place = Arena(2 * BLOCK).put(image(1))
    assert isinstance(place, Place) and len(pickle.dumps(place)) < 200
