"""A network with the names of VGG-19's layers that takes milliseconds."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn

import opsin


@pytest.fixture(scope="session")
def network() -> opsin.Extractor:
    """16 blocks of 12 channels, random from a seed."""
    generator = torch.Generator().manual_seed(0)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = 3
    for block, count in enumerate((2, 2, 4, 4, 4), start=1):
        for k in range(1, count + 1):
            conv = nn.Conv2d(channels, 12, 3, padding=1)
            with torch.no_grad():
                conv.weight.normal_(0, (2 / (9 * channels)) ** 0.5, generator=generator)
                conv.bias.zero_()
            layers[f"conv{block}_{k}"], layers[f"relu{block}_{k}"] = conv, nn.ReLU()
            channels = 12
        layers[f"pool{block}"] = nn.MaxPool2d(2, ceil_mode=True)
    return opsin.ModuleExtractor(nn.Sequential(layers), name="small")
