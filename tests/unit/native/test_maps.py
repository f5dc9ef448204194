"""The map that an elementwise operator writes to: there only where nobody could tell the difference."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from opsin import _native
from opsin.extractors.base import Normalize

pytestmark = pytest.mark.skipif(not _native.available(), reason=f"{_native.why_not()}")


def image(dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, 200, 200, generator=generator, dtype=dtype).contiguous(memory_format=torch.channels_last)


def test_normalising_into_it_gives_the_same_bits(monkeypatch):
    x = image()
    before, normalize = x.clone(), Normalize("inet")
    made = normalize(x)
    monkeypatch.setattr(_native, "map_for", lambda *_: None)
    expected = normalize(x)
    assert torch.equal(made, expected) and torch.equal(x, before)
    assert made.stride() == expected.stride() == x.stride()


def test_its_memory_is_used_again():
    x = image()
    first = _native.map_for(x)
    assert first is not None and first.shape == x.shape
    place = first.data_ptr()
    second = _native.map_for(x)
    assert second is not None and second.data_ptr() != place
    del first
    third = _native.map_for(x)
    assert third is not None and third.data_ptr() == place


@pytest.mark.parametrize(
    "x",
    [
        pytest.param(image().contiguous(), id="another layout"),
        pytest.param(image()[0], id="no batch"),
        pytest.param(image(torch.float64), id="float64"),
        pytest.param(image().to("meta"), id="another device"),
        pytest.param(image().requires_grad_(), id="a graph"),
        pytest.param(nn.Parameter(image(), requires_grad=False), id="a subclass"),
    ],
)
def test_not_where_torch_must_make_its_own(x):
    assert _native.map_for(x) is None


def test_not_where_another_has_a_graph_or_a_dtype():
    assert _native.map_for(image(), torch.zeros(1, requires_grad=True)) is None
    assert _native.map_for(image(), torch.zeros(1, dtype=torch.float64)) is None


def test_a_graph_counts_only_where_it_is_recorded():
    with torch.no_grad():
        assert _native.map_for(image().requires_grad_()) is not None


def test_functions_that_take_the_computation_apart():
    normalize, x = Normalize("inet"), image()
    torch.testing.assert_close(torch.func.vmap(normalize)(x[None])[0], normalize(x), rtol=0, atol=0)
    gradient = torch.func.grad(lambda image: normalize(image).sum())(x)
    assert normalize.std is not None
    torch.testing.assert_close(gradient, (1 / normalize.std).expand_as(x))
