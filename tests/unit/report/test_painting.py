"""The demo's painting: the same each time, and of what it is said to be of."""

from __future__ import annotations

import numpy as np
import pytest

from opsin.errors import InputError
from opsin.report.painting import paint


@pytest.fixture(scope="module")
def painting() -> np.ndarray:
    return np.asarray(paint(128)).astype(float)


def test_it_is_the_same_each_time_and_another_with_another_seed(painting):
    assert painting.shape == (128, 128, 3)
    assert np.array_equal(np.asarray(paint(128)), painting)
    assert not np.array_equal(np.asarray(paint(128, seed=5)), painting)


def test_night_is_blue_and_eddies_are_bright_at_heart(painting):
    red, _, blue = painting.reshape(-1, 3).mean(axis=0)
    assert blue > red + 50
    assert painting[33:43, 31:41].mean() > painting.mean() + 50  # around (0.28, 0.30)


def test_a_size_that_is_none():
    with pytest.raises(InputError, match="size must be a whole number of at least 1, got 0"):
        paint(0)
