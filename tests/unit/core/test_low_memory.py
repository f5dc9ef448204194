"""memory="low" computes layers again: the same values and gradients to the bit, with less kept."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import opsin
from opsin.published.contextual import contextual
from opsin.published.gatys import gatys_style
from opsin.published.ldl import ldl
from opsin.published.lpips import lpips
from opsin.published.mmd import mmd_style
from opsin.published.sliced_wasserstein import sliced_wasserstein


def evaluate(loss: opsin.PerceptualLoss, memory: str, **options):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, 64, 80, generator=generator).requires_grad_(True)
    references = {name: torch.rand(2, 3, 64, 80, generator=generator) for name in loss.references}
    torch.manual_seed(1)  # for losses that draw
    result = loss.evaluate(x, **references, memory=memory, **options)
    (gradient,) = torch.autograd.grad(result.total.sum(), x)
    return result, gradient


def losses() -> dict[str, opsin.PerceptualLoss]:
    tiny = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3), nn.ReLU())
    module = opsin.ModuleExtractor(tiny)
    return {
        "lpips vgg": lpips("vgg", "random"),
        "lpips alex": lpips("alex", "random"),
        "lpips squeeze": lpips("squeeze", "random"),
        "style": gatys_style("vgg16", "random"),
        "many at one tap": lpips("vgg", "random")
        + gatys_style("vgg16", "random", layers={"relu1_2": 1.0, "relu2_2": 3.0})
        + opsin.build("vgg16", {"relu1_2": 0.3, "conv2_2": 0.0, "relu2_2": 2.0}, "l1", weights="random"),
        "batch norm": opsin.build("vgg11_bn", ["bn1_1", "pool1", "relu2_1"], "l2", weights="random"),
        "several taps": contextual("vgg11", "random", layers={"relu2_1": 1.0}),
        "draws": sliced_wasserstein("vgg11", "random", layers={"relu2_1": 1.0}),
        "kernel": mmd_style("vgg11", "random", layers={"relu2_1": 1.0}),
        "two references": ldl(),
        "module": opsin.PerceptualLoss([opsin.Term(module, "1", "l1"), opsin.Term(module, "2", "gram")]),
    }


@pytest.mark.parametrize("name", losses())
def test_equal_to_the_bit(name):
    loss = losses()[name]
    normal, slope = evaluate(loss, "normal")
    low, low_slope = evaluate(loss, "low")
    assert torch.equal(low.total, normal.total)
    assert list(low.terms) == list(normal.terms)
    assert all(torch.equal(low.terms[term], normal.terms[term]) for term in normal.terms)
    assert torch.equal(low_slope, slope)
    assert bool(slope.abs().max() > 0)


def test_maps_and_masks():
    mask = torch.zeros(1, 1, 64, 80)
    mask[..., 10:50, 20:70] = 1
    loss = lpips("vgg", "random")
    normal, slope = evaluate(loss, "normal", maps=True, mask=mask)
    low, low_slope = evaluate(loss, "low", maps=True, mask=mask)
    assert torch.equal(low.map, normal.map)
    assert torch.equal(low_slope, slope)


def kept(loss: opsin.PerceptualLoss, memory: str) -> int:
    """Bytes that the graph keeps for the gradient, each storage once."""
    x = torch.rand(1, 3, 128, 128, requires_grad=True)
    targets = loss.targets(target=x.detach().flip(3))
    storages = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        held.append(tensor)  # so that no address is used twice
        return tensor

    held: list[torch.Tensor] = []
    own = {t.untyped_storage().data_ptr() for t in targets.values()}
    own |= {p.untyped_storage().data_ptr() for e in loss.extractors for p in e.__dict__["_network"].parameters()}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        loss(x, targets, memory=memory)
    return sum(n for pointer, n in storages.items() if pointer not in own)


@pytest.mark.parametrize("loss", [lpips("vgg", "random"), gatys_style("vgg16", "random", reference="target")])
def test_it_keeps_a_fraction(loss):
    # Of the taps and a bit of each value of all else, the outputs of the poolings and the Gram matrices are left.
    assert kept(loss, "low") < 0.45 * kept(loss, "normal")


def test_it_can_be_differentiated_twice():
    loss = opsin.build("vgg11", ["relu1_1"], "l2", weights="random").to(torch.float64)
    x = torch.rand(1, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    slopes = []
    for memory in ("normal", "low"):
        (slope,) = torch.autograd.grad(loss(x, x.detach().flip(3), memory=memory), x, create_graph=True)
        slopes.append(torch.autograd.grad(slope.square().sum(), x)[0])
    torch.testing.assert_close(slopes[1], slopes[0], rtol=1e-12, atol=0)
    assert bool(slopes[0].abs().max() > 0)


def test_an_unknown_word():
    loss = opsin.build("vgg11", ["relu1_1"], "l2", weights="random")
    x = torch.rand(1, 3, 32, 32)
    with pytest.raises(opsin.ChoiceError, match="memory"):
        loss(x, x, memory="lo")
