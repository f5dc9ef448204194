"""Fixtures of the tests of losses as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import opsin
from opsin.published.listing import LOSSES

# Options with which a step takes a fraction of its time, and does the same.
SMALLER: dict[str, dict[str, Any]] = {"fdl": {"projections": 16, "patch": 2}, "strotss": {"max_points": 256}}


@pytest.fixture
def make() -> Callable[[str], opsin.PerceptualLoss]:
    """Makes a loss that `opsin losses` lists, with random weights; it never checks the images' values."""

    def made(name: str) -> opsin.PerceptualLoss:
        listed = LOSSES[name]
        options = {} if listed.network == "image" else {"weights": "random"}
        return listed.make(**options, **SMALLER.get(name, {}), validate="never")

    return made
