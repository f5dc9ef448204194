"""A folder of photos, and settings of runs that take milliseconds."""

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
def photos(tmp_path: Path) -> Path:
    """Pictures of several formats, modes and sizes."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    rng = np.random.default_rng(0)
    sizes = {"a.png": (70, 51), "b.jpg": (64, 48), "more/c.webp": (40, 90), "d.bmp": (33, 32)}
    for name, (width, height) in sizes.items():
        coarse = Image.fromarray(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8))
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(folder / name)
    Image.fromarray(rng.integers(0, 256, (45, 45), dtype=np.uint8)).save(folder / "grey.png")
    return folder


@pytest.fixture
def given(photos: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """What is given of a run of a few steps; the loss's network is VGG-19 with the bundled weights."""

    def make(**options: Any) -> dict[str, Any]:
        plain: dict[str, Any] = {
            "data": photos,
            "output": tmp_path / "run",
            "steps": 4,
            "batch": 2,
            "crop": 32,
            "network": "compact",
            "width": 4,
            "blocks": 1,
            "discriminator_width": 2,
            "device": "cpu",
            "workers": 0,
            "sample_every": 2,
            "checkpoint_every": 1,
        }
        return {**plain, **options}

    return make
