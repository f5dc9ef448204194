"""The exponential moving average of a network's weights."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Average:
    """Weights averaged over steps: a ← d·a + (1 - d)·w, d = min(decay, (1 + t)/(10 + t)) at step t.

    The smaller d of the first steps lets go of the initial weights.

    Args:
        network: whose weights are averaged.
        decay: at least 0 and below 1; with 0 the average is the weights themselves.

    Attributes:
        network: a copy of the network with the averaged weights.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.network = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after a step, counted from 0. Buffers are taken over as they are."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for mine, theirs in zip(self.network.parameters(), network.parameters(), strict=True):
            mine.lerp_(theirs, 1 - decay)
        for mine, theirs in zip(self.network.buffers(), network.buffers(), strict=True):
            mine.copy_(theirs)
