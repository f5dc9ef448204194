"""Channels as mixtures of channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def mix_channels(matrix: Sequence[Sequence[float]], x: Tensor) -> Tensor:
    """Σ_j m_ij x_j for each row i.

    By numbers and not by a tensor of them, which would be moved to the device on each call.

    Shape: x (N,C,...) -> (N,I,...).
    """
    channels = x.unbind(1)
    rows = []
    for row in matrix:
        first, *rest = (factor * channel for factor, channel in zip(row, channels, strict=True))
        rows.append(sum(rest, start=first))
    return torch.stack(rows, dim=1)
