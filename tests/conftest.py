"""Fixtures that all tests share."""

from __future__ import annotations

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
