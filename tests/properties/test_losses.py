"""What holds for every loss, on images that hypothesis makes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import opsin
from opsin.distances import DISTANCES

SYMMETRIC = list(DISTANCES)
NETWORK = opsin.VGG("vgg11", "random").double()
TAPS = ["image", "conv1_1", "relu2_1"]


@st.composite
def images(draw: st.DrawFn, n: int = 2) -> Tensor:
    """(n,3,H,W) in [0,1], among them constant, black and white ones."""
    height, width = draw(st.integers(4, 12)), draw(st.integers(4, 12))
    kind = draw(st.sampled_from(["noise", "noise", "constant", "black", "white", "half black"]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    x = torch.rand(n, 3, height, width, generator=generator, dtype=torch.float64)
    if kind == "constant":
        x = x[:, :, :1, :1].expand_as(x).contiguous()
    elif kind in ("black", "white"):
        x = torch.full_like(x, float(kind == "white"))
    elif kind == "half black":
        x[..., : width // 2] = 0
    return x


def like(x: Tensor, seed: int, amount: float) -> Tensor:
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)
    return (x + amount * noise).clamp(0, 1)


def make(distance: str) -> opsin.PerceptualLoss:
    return opsin.build(NETWORK, TAPS, distance, reduction="none")


@pytest.mark.parametrize("distance", list(DISTANCES))
@settings(max_examples=15, deadline=None)
@given(x=images(), seed=st.integers(0, 100), amount=st.floats(0.01, 1.0))
def test_every_loss(distance: str, x: Tensor, seed: int, amount: float) -> None:
    loss = make(distance)
    y = like(x, seed, amount)
    value = loss(x, y)

    # zero at equality (Charbonnier's least value is eps), never below
    least = len(TAPS) * 1e-3 if distance == "charbonnier" else 0.0
    torch.testing.assert_close(loss(x, x), torch.full((2,), least, dtype=x.dtype), rtol=1e-9, atol=0)
    assert (value >= least * (1 - 1e-9)).all()

    # symmetric
    torch.testing.assert_close(loss(y, x), value, rtol=1e-9, atol=1e-15)

    # an image's loss does not depend on the batch it is in
    alone = torch.cat([loss(x[i, None], y[i, None]) for i in range(2)])
    torch.testing.assert_close(alone, value, rtol=1e-9, atol=1e-15)
    torch.testing.assert_close(loss(x.flip(0), y.flip(0)), value.flip(0), rtol=1e-9, atol=1e-15)

    # kept targets change nothing
    torch.testing.assert_close(loss(x, loss.targets(target=y)), value, rtol=1e-12, atol=0)

    # gradients are finite: here, at equality, and where everything is black
    for a, b in ((x, y), (x, x), (torch.zeros_like(x), y), (x, torch.zeros_like(x))):
        z = a.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(loss(z, b).sum(), z)
        assert gradient.isfinite().all()


@pytest.mark.parametrize("distance", ["l1", "l2", "euclidean"])
@settings(max_examples=20, deadline=None)
@given(x=images(1), seed=st.integers(0, 100))
def test_norms_obey_the_triangle_inequality(distance: str, x: Tensor, seed: int) -> None:
    loss = make(distance)
    y, z = like(x, seed, 0.3), like(x, seed + 1, 0.5)
    root = 0.5 if distance == "l2" else 1.0  # the mean square is no norm, its root is; per tap
    for tap in TAPS:
        single = loss.reweighted({t: float(t == tap) for t in TAPS})
        xy, yz, xz = (float(single(a, b)) ** root for a, b in ((x, y), (y, z), (x, z)))
        assert xz <= (xy + yz) * (1 + 1e-9)


@settings(max_examples=20, deadline=None)
@given(x=images(1), shift=st.integers(0, 11))
def test_statistics_forget_positions(x: Tensor, shift: int) -> None:
    for distance in ("gram", "mean_std"):
        loss = opsin.build("image", ["image"], distance, reduction="none")
        torch.testing.assert_close(loss(x.roll(shift, 3), x), torch.zeros(1, dtype=x.dtype), rtol=0, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(x=images(1), scale=st.floats(0.1, 1.0))
def test_unit_vectors_forget_brightness(x: Tensor, scale: float) -> None:
    for distance in ("cosine", "unit_l2"):
        loss = opsin.build("image", ["image"], distance, reduction="none")
        torch.testing.assert_close(loss(scale * x, x), torch.zeros(1, dtype=x.dtype), rtol=0, atol=1e-12)


@settings(max_examples=15, deadline=None)
@given(weights=st.lists(st.floats(-2, 2), min_size=3, max_size=3), x=images(1), seed=st.integers(0, 100))
def test_the_total_is_linear_in_the_weights(weights: list[float], x: Tensor, seed: int) -> None:
    y = like(x, seed, 0.2)
    loss = opsin.build(NETWORK, dict(zip(TAPS, weights, strict=True)), "l1")
    result = loss.evaluate(x, target=y)
    expected = sum(w * result.terms[tap] for tap, w in zip(TAPS, weights, strict=True))
    torch.testing.assert_close(result.total, torch.zeros_like(result.total) + expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close((2.5 * loss).evaluate(x, target=y).total, 2.5 * result.total, rtol=1e-9, atol=1e-12)
