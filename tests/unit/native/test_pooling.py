"""The native max pooling against torch's, to the bit."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import opsin
from opsin import _native
from opsin._native import pooling
from opsin._native.pooling import max_pool2x2, max_pool2x2_backward

pytestmark = pytest.mark.skipif(not _native.available(), reason=f"{_native.why_not()}")

torchs = nn.MaxPool2d(2, 2)


def rand(*shape: int, seed: int = 1) -> Tensor:
    """Few different values: many maxima are there twice."""
    return torch.randint(-3, 4, shape, generator=torch.Generator().manual_seed(seed)).float()


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 3), c=st.integers(1, 35), h=st.integers(2, 11), w=st.integers(2, 11), last=st.booleans())
def test_value_and_gradient_are_those_of_torch(n: int, c: int, h: int, w: int, last: bool) -> None:
    x = rand(n, c, h, w).contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    x.requires_grad_(True)
    y, expected = _native.pool(torchs, x), torchs(x)
    assert torch.equal(y, expected)
    assert y.is_contiguous(memory_format=torch.channels_last)
    g = torch.rand_like(expected)
    assert torch.equal(*(torch.autograd.grad(value, x, g)[0] for value in (y, expected)))


@pytest.mark.parametrize("special", [torch.nan, torch.inf, -torch.inf])
def test_what_is_no_number(special: float) -> None:
    x = rand(1, 9, 12, 12)
    x[rand(1, 9, 12, 12, seed=2) > 1] = special
    x.requires_grad_(True)
    y, expected = _native.pool(torchs, x), torchs(x)
    torch.testing.assert_close(y, expected, rtol=0, atol=0, equal_nan=True)
    g = torch.rand_like(expected)
    assert torch.equal(*(torch.autograd.grad(value, x, g)[0] for value in (y, expected)))


def test_second_order_gradients() -> None:
    x, g = rand(2, 5, 7, 6).requires_grad_(True), rand(2, 5, 3, 3, seed=2).requires_grad_(True)
    second = []
    for pool in (partial(_native.pool, torchs), torchs):
        (gradient,) = torch.autograd.grad(pool(x), x, g, create_graph=True)
        second.append(torch.autograd.grad(gradient.square().sum(), g)[0])
    assert torch.equal(*second)


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # opcheck's own
def test_the_operators_keep_the_rules_of_torch() -> None:
    x = rand(2, 5, 7, 6).requires_grad_(True)
    torch.library.opcheck(max_pool2x2, (x,))
    places = torch.randint(256, (2, 3, 3, 2, 1), dtype=torch.uint8)
    torch.library.opcheck(max_pool2x2_backward, (rand(2, 5, 3, 3).requires_grad_(True), places, 7, 6))


def not_native(*_: object) -> Tensor:
    raise AssertionError("the native pooling was called")


def test_what_it_is_not_made_for_goes_past_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooling, "max_pool2x2", not_native)
    x = rand(1, 4, 9, 9)
    with pytest.raises(AssertionError, match="native pooling"):
        _native.pool(torchs, x)
    assert torch.equal(_native.pool(torchs, x.double()), torchs(x.double()))
    for options in ({"ceil_mode": True}, {"padding": 1}, {"stride": 1}, {"dilation": 2}, {"kernel_size": 3}):
        layer = nn.MaxPool2d(**{"kernel_size": 2, "stride": 2, **options})
        assert torch.equal(_native.pool(layer, x), layer(x)), options
    ran = []
    hooked = nn.MaxPool2d(2, 2)
    hooked.register_forward_hook(lambda *_: ran.append(1))
    _native.pool(hooked, x)
    assert ran == [1]


def test_the_extractors_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooling, "max_pool2x2", not_native)
    with pytest.raises(AssertionError, match="native pooling"):
        opsin.VGG("vgg11", "random")(torch.rand(1, 3, 16, 16), ["pool1"])
