"""Steps with kept targets that wait for nothing: what a CPU can show of it, and on a CUDA device."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException

import opsin
from opsin.published.listing import LOSSES

SIZE = 64
Make = Callable[[str], opsin.PerceptualLoss]

# Those that read values in each step.
WAITING = {
    "e-lpips": DataDependentOutputException,  # draws sizes, shifts and orders of colours
    "contextual": DynamicOutputShapeException,  # keeps as many rows for the gradient as hold a maximum
}


def step(loss: opsin.PerceptualLoss, x: Tensor, targets: opsin.Targets) -> tuple[Tensor, Tensor]:
    x = x.detach().requires_grad_(True)
    value = loss(x, targets)
    return value.detach(), torch.autograd.grad(value, x)[0]


def step_without_values(loss: opsin.PerceptualLoss) -> None:
    # These tensors have shapes alone: whoever asks for a value raises.
    with FakeTensorMode(allow_non_fake_inputs=True):
        x, y = torch.rand(2, 2, 3, SIZE, SIZE).unbind()
        step(loss, x, loss.targets(**dict.fromkeys(loss.references, y)))


@pytest.mark.parametrize("name", sorted(LOSSES.keys() - WAITING))
def test_a_step_reads_no_values(name: str, make: Make) -> None:
    step_without_values(make(name))


@pytest.mark.parametrize("name", WAITING)
def test_these_read_values(name: str, make: Make) -> None:
    loss = make(name)
    with pytest.raises(WAITING[name]):
        step_without_values(loss)


def test_values_are_read_once_to_check_them() -> None:
    loss = opsin.build("vgg11", ["relu1_1"], "l2", "random")
    with pytest.raises(DataDependentOutputException):
        step_without_values(loss)
    x = torch.rand(1, 3, SIZE, SIZE)
    loss(x, x)
    step_without_values(loss)


COMMON = ["lpips-vgg", "dists", "johnson-feature", "johnson-style", "gatys-style", "esrgan", "focal-frequency"]


@pytest.fixture
def _no_waiting() -> Iterator[Callable[[], None]]:
    yield lambda: torch.cuda.set_sync_debug_mode("error")
    torch.cuda.set_sync_debug_mode("default")


def on_cuda(name: str, make: Make) -> tuple[opsin.PerceptualLoss, Tensor, opsin.Targets]:
    loss = make(name).to("cuda")
    x, y = torch.rand(2, 2, 3, SIZE, SIZE, device="cuda").unbind()
    return loss, x, loss.targets(**dict.fromkeys(loss.references, y))


@pytest.mark.gpu
@pytest.mark.parametrize("name", COMMON)
def test_cuda_does_not_wait(name: str, _no_waiting: Callable[[], None], make: Make) -> None:
    loss, x, targets = on_cuda(name, make)
    step(loss, x, targets)  # libraries set themselves up in the first one
    torch.cuda.synchronize()
    _no_waiting()
    step(loss, x, targets)


@pytest.mark.gpu
@pytest.mark.parametrize("name", COMMON)
def test_a_cuda_graph_of_a_step(name: str, make: Make) -> None:
    loss, x, targets = on_cuda(name, make)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step(loss, x, targets)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step(loss, x, targets)
    x.copy_(torch.rand_like(x))
    graph.replay()
    torch.testing.assert_close(captured, step(loss, x, targets), rtol=1e-4, atol=1e-6)
