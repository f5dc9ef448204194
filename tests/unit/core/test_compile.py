"""torch.compile: one graph, the values and gradients of eager execution, and no second graph for other targets."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

import opsin
from opsin import _native

pytestmark = pytest.mark.skipif(torch.__version__ < "2.5", reason="torch.compile of 2.4 cannot trace dict.setdefault")

SIZE = 16


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """Graphs count towards a limit for each function."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def vgg() -> opsin.VGG:
    return opsin.VGG("vgg11", "random")


def built() -> opsin.PerceptualLoss:
    return opsin.build(vgg(), {"conv1_1": 1.0, "relu2_1": 0.5}, "l2")


def named() -> opsin.PerceptualLoss:
    return opsin.build(vgg(), ["relu2_1"], "cosine") + 2.0 * opsin.build(vgg(), ["relu1_1"], "gram", reference="style")


def joint() -> opsin.PerceptualLoss:
    return (
        opsin.published.lpips("vgg", weights="random")
        + 0.5 * opsin.build("vgg16", ["relu1_2"], "gram", "random", reference="style")
        + opsin.build("squeezenet1_1", ["relu1"], "l1", "random")
    )


LOSSES: dict[str, Callable[[], opsin.PerceptualLoss]] = {
    "lpips": lambda: opsin.published.lpips("vgg", weights="random"),
    "build": built,
    "gram": lambda: opsin.build(vgg(), ["relu1_1", "relu2_1"], "gram"),
    "focal frequency": opsin.published.focal_frequency,
    "several references": named,
    "joint": joint,
}


@pytest.fixture(params=["direct", "auto", "winograd"])
def _algorithm(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "winograd" and not _native.available():
        pytest.skip(f"no native library: {_native.why_not()}")
    monkeypatch.setenv("OPSIN_CONV", request.param)


def images(count: int = 2) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, 2, 3, SIZE, SIZE, generator=generator).unbind()


def with_gradient(loss: Callable[..., Tensor], x: Tensor, *arguments: object, **named: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_(True)
    value = loss(x, *arguments, **named)
    return value.detach(), torch.autograd.grad(value, x)[0]


def assert_same(got: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    torch.testing.assert_close(got[0], expected[0], rtol=1e-5, atol=0)
    assert float((got[1] - expected[1]).norm()) <= 1e-5 * float(expected[1].norm())


@pytest.mark.usefixtures("_algorithm")
@pytest.mark.parametrize("name", LOSSES)
def test_kept_targets_in_one_graph_for_all(name: str) -> None:
    loss = LOSSES[name]()
    x, *others = images(4)
    kept = [loss.targets(**dict.fromkeys(loss.references, y)) for y in others]
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(loss, fullgraph=True, backend=counter)
    for targets in kept:
        assert_same(with_gradient(compiled, x, targets), with_gradient(loss, x, targets))
    assert counter.frame_count == 1


@pytest.mark.parametrize("name", ["lpips", "build", "several references"])
def test_references_in_one_graph(name: str) -> None:
    loss = LOSSES[name]()
    x, *others = images(3)
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(loss, fullgraph=True, backend=counter)
    for y in others:
        rest = dict.fromkeys(loss.references[1:], y)
        assert_same(with_gradient(compiled, x, y, **rest), with_gradient(loss, x, y, **rest))
    assert counter.frame_count == 1


def test_the_count_of_graphs_can_be_wrong() -> None:
    loss = built()
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(loss, fullgraph=True, backend=counter, dynamic=False)
    for side in (SIZE, SIZE + 4):
        compiled(*torch.rand(2, 1, 3, side, side))
    assert counter.frame_count == 2


def test_a_step_with_its_generator_in_one_graph() -> None:
    torch.manual_seed(0)
    loss, (z, y) = named(), images()
    generator = torch.nn.Conv2d(3, 3, 3, padding=1)
    targets = loss.targets(target=y, style=y)

    def step(z: Tensor) -> Tensor:
        return loss(torch.sigmoid(generator(z)), targets)

    got = torch.compile(step, fullgraph=True, backend="aot_eager")(z)
    gradients = torch.autograd.grad(got, [*generator.parameters()])
    expected = step(z)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(gradients, torch.autograd.grad(expected, [*generator.parameters()]))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # inductor's own
@pytest.mark.skipif(not (shutil.which("c++") or shutil.which("g++")), reason="inductor compiles C++: no compiler here")
@pytest.mark.usefixtures("_algorithm")
@pytest.mark.parametrize("name", sorted(LOSSES.keys() - {"focal frequency"}))  # inductor warns of complex numbers
def test_inductor(name: str) -> None:
    loss = LOSSES[name]()
    x, y = images()
    targets = loss.targets(**dict.fromkeys(loss.references, y))
    got = with_gradient(torch.compile(loss, fullgraph=True), x, targets)
    assert_same(got, with_gradient(loss, x, targets))
