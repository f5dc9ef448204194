"""Whether torch is being watched at its work."""

from __future__ import annotations

import torch
from torch.autograd import forward_ad


def is_traced() -> bool:
    """Whether someone takes the computation apart who must find torch's own operators: export, tracing, torch.func."""
    if torch.compiler.is_compiling():
        return getattr(torch.compiler, "is_exporting", lambda: False)()
    return torch._C._get_tracing_state() is not None or (
        torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0
    )
