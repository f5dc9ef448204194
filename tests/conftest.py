"""Fixtures that all tests share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import opsin

torch.set_num_threads(2)


@pytest.fixture(scope="session")
def vgg() -> opsin.VGG:
    """A small VGG with random weights. Tests must not move or change it."""
    return opsin.VGG("vgg11", weights="random")


@pytest.fixture(scope="session")
def bundled() -> opsin.VGG:
    """VGG-19 with its real weights. Tests must not move or change it."""
    return opsin.VGG("vgg19", weights="bundled")


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    """Two batches of two images that are alike."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, 32, 32, generator=generator)
    y = (x + 0.1 * torch.randn(x.shape, generator=generator)).clamp(0, 1)
    return x, y


@pytest.fixture(scope="session")
def add_tone() -> Callable[[Any, Any, int], None]:
    """Fills a stream of sound of a container of PyAV's: samples of a tone, at 48 kHz."""

    def add(container: Any, stream: Any, samples: int) -> None:
        av = pytest.importorskip("av", reason="needs the extra video")
        wave = (8000 * np.sin(np.arange(samples) * 440 * 2 * np.pi / 48000)).astype(np.int16)
        heard = av.AudioFrame.from_ndarray(wave[None], "s16", "mono")
        heard.rate = 48000
        container.mux(stream.encode(heard))
        container.mux(stream.encode())

    return add
