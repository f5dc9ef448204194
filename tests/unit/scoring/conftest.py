"""Fixtures of the tests of scoring: folders of small images."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes an image of smooth noise below the test's folder."""

    def image(path: str, seed: int = 0, size: tuple[int, int] = (20, 16)) -> Path:
        rng = np.random.default_rng(seed)
        small = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        made = tmp_path / path
        made.parent.mkdir(parents=True, exist_ok=True)
        small.resize(size, Image.Resampling.BICUBIC).save(made)
        return made

    return image


@pytest.fixture
def folders(tmp_path: Path, write: Write) -> Callable[..., tuple[str, dict[str, str]]]:
    """Writes references and what methods made of them."""

    def make(count: int = 5, methods: Iterable[str] = ("a", "b"), size: tuple[int, int] = (20, 16)) -> tuple:
        for i in range(count):
            write(f"ref/{i:02d}.png", i, size)
            for k, method in enumerate(methods, start=1):
                write(f"{method}/{i:02d}.png", i + 100 * k, size)
        return str(tmp_path / "ref"), {method: str(tmp_path / method) for method in methods}

    return make
