"""Small networks of every kind that enlarge images."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from opsin.networks import Upscaler, make_upscaler

# As narrow as each can be made.
TINY = {
    "srresnet": (8, 1),
    "msrresnet": (8, 1),
    "edsr": (8, 1),
    "rrdb": (8, 1),
    "compact": (8, 2),
    "span": (8, None),
    "rcan": (16, 1),
    "swinir": (12, 1),
}


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Upscaler]:
    """Makes a small network of a name and a scale, always with the same weights."""

    def make(name: str, scale: int = 2) -> Upscaler:
        width, blocks = TINY[name]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            return make_upscaler(name, scale, width=width, blocks=blocks)

    return make
