"""What holds a frame to the previous one."""

from __future__ import annotations

from torch import Tensor

from opsin.stylize.colors import luminance
from opsin.stylize.objective import Objective, Value


def temporal_objective(warped: Tensor, trusted: Tensor, weight: float) -> Objective:
    """λ · mean over pixels p and channels of trusted(p) (x(p) - warped(p))².

    Args:
        warped: the previous result, warped to this frame, (1,3,H,W).
        trusted: 1 where that can be relied upon, else 0, (1,1,H,W).
        weight: λ.

    Shape: x (1,3,H,W), or a brightness (1,1,H,W), which is compared with that of `warped`.

    Reference: "Artistic style transfer for videos", Ruder, Dosovitskiy and Brox, 2016,
    https://arxiv.org/abs/1604.08610

    Example:
        >>> import torch
        >>> objective = temporal_objective(torch.zeros(1, 3, 8, 8), torch.ones(1, 1, 8, 8), 2.0)
        >>> float(objective(torch.ones(1, 3, 8, 8)).total)
        2.0
    """
    brightness = luminance(warped)

    def objective(x: Tensor) -> Value:
        y = brightness if x.shape[1] == 1 else warped
        total = weight * (trusted * (x - y).square()).mean()
        return Value(total, {"temporal": total.detach()})

    return objective
