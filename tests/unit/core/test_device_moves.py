"""A step makes no tensor of Python's numbers and moves none to its device: each such move waits for the device.

The device "meta" stands for the accelerator. Whether a step asks for values is the matter of test_accelerator.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import opsin
from opsin.published.listing import LOSSES

SIZE = 64
Make = Callable[[str], opsin.PerceptualLoss]
WAITING = {"contextual", "e-lpips"}  # they ask for values, of which meta tensors have none


class Moves(TorchDispatchMode):
    """Counts copies from one device to another."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ in ("_to_copy", "copy_"):
            self.seen["moved"] += sum(isinstance(a, Tensor) and a.device != result.device for a in args)
        return result


class Made(TorchFunctionMode):
    """Counts tensors made of Python's numbers, which lie on the CPU first."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen["made"] += func in (torch.tensor, torch.as_tensor, torch.asarray)
        return func(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def _no_autocast_on_meta(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch has none for this device."""
    monkeypatch.setattr(torch, "autocast", lambda device, **_: nullcontext())
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: False)


def moves(loss: opsin.PerceptualLoss) -> Counter[str]:
    """What the second step does."""
    loss = loss.to("meta")
    x, y = torch.rand(2, 2, 3, SIZE, SIZE, device="meta").unbind()
    x.requires_grad_(True)
    targets = loss.targets(**dict.fromkeys(loss.references, y))
    loss(x, targets).backward()
    with Made() as made, Moves() as moved:
        loss(x, targets).backward()
    return made.seen + moved.seen


@pytest.mark.parametrize("name", sorted(LOSSES.keys() - WAITING))
def test_a_step_moves_nothing(name: str, make: Make) -> None:
    assert not moves(make(name))


@pytest.mark.parametrize(
    ("what", "function"),
    [
        ("made", lambda x, y: (x - y).square().mean(dim=(1, 2, 3)) * torch.tensor(2.0, device=x.device)),
        ("moved", lambda x, y: (x - y).square().mean(dim=(1, 2, 3)) + torch.ones(2).to(x.device)),
    ],
)
def test_moves_are_noticed(what: str, function: Callable[[Tensor, Tensor], Tensor]) -> None:
    assert moves(opsin.build("image", distance=function, validate="never"))[what]
