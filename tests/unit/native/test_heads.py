"""The native head of LPIPS against the formula in float64, what goes past it, and what it does to autograd."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import opsin
from opsin import _native
from opsin._native import heads
from opsin._native.heads import unit_l2, unit_l2_backward
from opsin.distances import Cosine, UnitL2

pytestmark = pytest.mark.skipif(not _native.available(), reason=f"{_native.why_not()}")


def rand(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def exact(x: Tensor, y: Tensor, weights: Tensor | None = None, eps: float = 1e-10) -> Tensor:
    """The formula in torch: `takes_unit_l2` knows no float64."""
    return UnitL2(None if weights is None else weights, eps).double().compare(x.double(), y.double())


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 4),
    one=st.booleans(),
    channels=st.integers(2, 70),
    h=st.integers(1, 17),
    w=st.integers(1, 17),
    weighted=st.booleans(),
    last=st.booleans(),
)
def test_value_and_gradient_are_those_of_float64(
    n: int, one: bool, channels: int, h: int, w: int, weighted: bool, last: bool
) -> None:
    memory = torch.channels_last if last else torch.contiguous_format
    x = rand(n, channels, h, w).contiguous(memory_format=memory)
    y = rand(1 if one else n, channels, h, w, seed=2)
    x[:, :, 0, 0], y[:, :, -1, -1] = 0, 0
    weights = rand(channels, seed=3).abs() if weighted else None
    x.requires_grad_(True)
    d = UnitL2(weights).compare(x, y)
    expected = exact(x, y, weights)
    g = rand(n, seed=4)
    (gradient,) = torch.autograd.grad(d, x, g)
    (wanted,) = torch.autograd.grad(expected, x, g.double())
    torch.testing.assert_close(d, expected.float(), rtol=1e-6, atol=1e-7)
    # What two unit vectors have in common cancels: rounding is a fraction of the terms, not of what is left.
    lengths = torch.linalg.vector_norm(x.detach(), dim=1)
    terms = float(g.abs().max() / lengths[lengths > 0].min()) / (h * w) if lengths.any() else 0.0
    torch.testing.assert_close(gradient, wanted.float(), rtol=1e-5, atol=2e-6 * terms)
    assert not gradient[:, :, 0, 0].any()


def test_a_wrong_weight_is_noticed() -> None:
    x, y, weights = rand(2, 8, 5, 5), rand(2, 8, 5, 5, seed=2), torch.ones(8)
    d = unit_l2(x, y, weights, 1e-10)
    weights[3] = 1.01
    with pytest.raises(AssertionError):
        torch.testing.assert_close(d, exact(x, y, weights).float(), rtol=1e-5, atol=0)


def test_epsilon_counts() -> None:
    x, y = rand(1, 8, 5, 5), rand(1, 8, 5, 5, seed=2)
    torch.testing.assert_close(UnitL2(eps=1.0)(x, y), exact(x, y, eps=1.0).float(), rtol=1e-6, atol=0)


def test_cosine_is_half_of_it() -> None:
    x, y = rand(2, 8, 5, 5), rand(1, 8, 5, 5, seed=2)
    torch.testing.assert_close(Cosine()(x, y), Cosine()(x.double(), y.double()).float(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("distance", [UnitL2(), Cosine()])
def test_equal_maps_have_distance_0_to_the_bit(distance: opsin.Distance) -> None:
    x = rand(2, 37, 9, 9)
    assert not distance(x, x.clone()).any()


def test_parts_of_maps_are_read_where_they_are() -> None:
    """What tiles hand in."""
    whole = rand(2, 16, 20, 24).contiguous(memory_format=torch.channels_last)
    y = rand(1, 16, 30, 30, seed=2).contiguous(memory_format=torch.channels_last)[:, :, 5:14, 7:18]
    x = whole[:, :, 3:12, 4:15].requires_grad_(True)
    d = unit_l2(x, y, None, 1e-10)
    assert torch.equal(d, unit_l2(x.clone(), y.clone(), None, 1e-10))
    (gradient,) = torch.autograd.grad(d.sum(), x)
    (wanted,) = torch.autograd.grad(exact(x, y).sum(), x)
    torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=1e-8)


def test_the_same_with_any_threads_and_in_any_batch() -> None:
    x, y = rand(3, 16, 33, 31).requires_grad_(True), rand(3, 16, 33, 31, seed=2)

    def both(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        d = unit_l2(x, y, None, 1e-10)
        return d, torch.autograd.grad(d.sum(), x)[0]

    d, gradient = both(x, y)
    alone = both(x[1:2], y[1:2])
    assert torch.equal(alone[0], d[1:2])
    assert torch.equal(alone[1], gradient[1:2])
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        assert all(torch.equal(a, b) for a, b in zip(both(x, y), (d, gradient), strict=True))
    finally:
        torch.set_num_threads(threads)


def test_nan_is_not_hidden() -> None:
    for at in (0, 1):
        maps = [rand(2, 8, 4, 4), rand(2, 8, 4, 4, seed=2)]
        maps[at][1, 3, 2, 2] = torch.nan
        assert unit_l2(*maps, None, 1e-10).isnan().tolist() == [False, True]


@pytest.mark.parametrize("weights", [None, torch.arange(1.0, 7.0)])
def test_second_and_third_order_gradients(weights: Tensor | None) -> None:
    y, v = rand(1, 6, 3, 4, seed=2), rand(2, 6, 3, 4, seed=3)
    orders = []
    for dtype in (torch.float32, torch.float64):
        x = rand(2, 6, 3, 4).to(dtype).requires_grad_(True)
        distance = UnitL2(weights).to(dtype)
        d = (distance.compare(x, y.to(dtype)) * x.sum()).square().sum()
        taken = []
        for _ in range(3):
            (d,) = torch.autograd.grad(d, x, v.to(dtype) if taken else None, create_graph=True)
            taken.append(d)
        orders.append(taken)
    for a, b in zip(*orders, strict=True):
        assert (a - b).norm() / b.norm() < 1e-5


def test_second_order_gradients_at_zero_vectors() -> None:
    x, y = rand(1, 6, 3, 4), rand(1, 6, 3, 4, seed=2)
    x[:, :, 1], y[:, :, :, 2] = 0, 0
    x.requires_grad_(True)
    (gradient,) = torch.autograd.grad(unit_l2(x, y, None, 1e-10).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), x)
    assert second.isfinite().all()
    assert not second[:, :, 1].any()


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # opcheck's own
def test_the_operators_keep_the_rules_of_torch() -> None:
    x, y = rand(2, 5, 4, 3).requires_grad_(True), rand(1, 5, 4, 3, seed=2)
    for weights in (None, rand(5).abs()):
        torch.library.opcheck(unit_l2, (x, y, weights, 1e-10))
        torch.library.opcheck(unit_l2_backward, (rand(2), x.detach(), y, weights, 1e-10))


def not_native(*_: object) -> Tensor:
    raise AssertionError("the native head was called")


class Double(UnitL2):
    def map(self, x: Tensor, y: Tensor) -> Tensor:
        return 2 * super().map(x, y)


@pytest.mark.filterwarnings("ignore:`torch.jit.script:FutureWarning")  # jvp's own
def test_what_it_is_not_made_for_goes_past_it(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = rand(2, 8, 4, 5), rand(2, 8, 4, 5, seed=2)
    expected = UnitL2()(x, y)
    monkeypatch.setattr(_native, "unit_l2", not_native)
    with pytest.raises(AssertionError, match="native head"):
        UnitL2()(x, y)
    torch.testing.assert_close(UnitL2()(x.double(), y.double()).float(), expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(Double()(x, y), 2 * expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(UnitL2()(x, y.clone().requires_grad_(True)), expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(UnitL2()(x[:1], y).shape, expected.shape)
    torch.func.vmap(UnitL2(), in_dims=(0, None))(x[:, None], y[:1])
    torch.func.jvp(lambda t: UnitL2()(t, y), (x,), (x,))
    assert heads.takes_unit_l2(x, y)
    assert not heads.takes_unit_l2(x, y[..., :3])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not heads.takes_unit_l2(x, y)


def test_it_is_in_the_graph_of_a_compiled_loss_and_in_no_exported_one() -> None:
    calls: list[str] = []

    def backend(graph: torch.fx.GraphModule, _: object) -> object:
        calls.extend(str(node.target) for node in graph.graph.nodes)
        return graph.forward

    x, y = rand(1, 8, 6, 6).requires_grad_(True), rand(1, 8, 6, 6, seed=2)
    distance = UnitL2(torch.ones(8))
    compiled = torch.compile(distance, fullgraph=True, backend=backend)(x, y)
    torch.testing.assert_close(compiled, distance(x, y), rtol=0, atol=0)
    assert any("unit_l2" in name for name in calls)
    program = torch.export.export(distance, (x, y), strict=False)
    assert not [node for node in program.graph.nodes if "opsin" in str(node.target)]


def test_one_statistic_is_kept_for_all_distances_of_positions() -> None:
    vgg = opsin.VGG("vgg11", "random")
    loss = sum(opsin.build(vgg, ["relu1_1"], kind) for kind in ("l1", "l2", "cosine", "unit_l2"))
    targets = loss.targets(target=torch.rand(1, 3, 16, 16))
    assert targets.nbytes == 64 * 16 * 16 * 4
