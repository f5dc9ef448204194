"""A folder of pictures, and settings of runs that take milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Maps are so small that threads would mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Six pictures of several sizes."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = ("a.png", "b.jpg", "more/c.webp", "d.bmp", "e.png", "f.png")
    for name, size in zip(names, ((40, 33), (48, 64), (32, 32), (20, 24), (33, 70), (64, 64)), strict=True):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
        coarse.resize(size, Image.Resampling.BICUBIC).save(folder / name)
    return folder


@pytest.fixture
def given(pictures: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """What is given of a run of a few steps, with a network of random weights."""

    def make(**options: Any) -> dict[str, Any]:
        plain: dict[str, Any] = {
            "data": pictures,
            "output": tmp_path / "run",
            "steps": 3,
            "batch": 4,
            "size": 32,
            "generator": "tiny",
            "network": "efficientnet_lite0",
            "weights": "random",
            "discriminator_width": 2,
            "workers": 0,
            "device": "cpu",
            "sample_every": 2,
            "checkpoint_every": 2,
        }
        return {**plain, **options}

    return make
