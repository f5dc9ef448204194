"""Losses behind a generator in half precision: values near float32's, statistics in it, finite gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import opsin
from opsin.distances import tensors_of

HALVES = (torch.bfloat16, torch.float16)


def vgg() -> opsin.VGG:
    return opsin.VGG("vgg11", "random")


LOSSES: dict[str, Callable[[], opsin.PerceptualLoss]] = {
    "lpips": lambda: opsin.published.lpips("alex", weights="random"),
    "cosine": lambda: opsin.build(vgg(), ["relu1_1", "relu2_1"], "cosine"),
    "gram": lambda: opsin.build(vgg(), ["relu1_1", "relu2_1"], "gram"),
    "mean and deviation": lambda: opsin.build(vgg(), ["relu2_1"], "mean_std"),
    "dists": lambda: opsin.published.dists(weights="random"),
    "focal frequency": opsin.published.focal_frequency,
}


def pair(size: int = 32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 2, 3, 6, 6, generator=generator).flatten(0, 1)
    x, y = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear").unflatten(0, (2, 2)).unbind()
    return x, y


class Generator(torch.nn.Module):
    """Adds a little to its input: what a restoration network does."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, 3, padding=1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            torch.nn.init.normal_(self.conv.weight, std=0.05)
            torch.nn.init.zeros_(self.conv.bias)

    def forward(self, z: Tensor) -> Tensor:
        return (z.to(self.conv.weight.dtype) + self.conv(z)).clamp(0, 1)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("kept", [True, False], ids=["kept targets", "references"])
@pytest.mark.parametrize("name", LOSSES)
def test_a_step_under_autocast(name: str, kept: bool, dtype: torch.dtype) -> None:
    loss, generator, (z, y) = LOSSES[name](), Generator(), pair()
    targets = loss.targets(target=y) if kept else y
    with torch.no_grad():
        expected = loss(generator(z), targets)
    with torch.autocast("cpu", dtype=dtype):
        x = generator(z).to(dtype)
        value = loss(x, targets)
    value.backward()
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.detach(), expected, rtol=0.02, atol=0)
    gradient = generator.conv.weight.grad
    assert gradient is not None
    assert gradient.isfinite().all()
    if dtype == torch.bfloat16:  # small gradients vanish in float16: there is torch.amp.GradScaler for that
        assert gradient.abs().sum() > 0


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", ["lpips", "gram", "focal frequency"])
def test_a_generator_in_half_precision_without_autocast(name: str, dtype: torch.dtype) -> None:
    """As a model on `.half()`: its output alone is half, and the caller converts it."""
    loss, generator, (z, y) = LOSSES[name](), Generator(), pair()
    expected = loss(generator(z), y).detach()
    half = generator.to(dtype)
    value = loss(half(z.to(dtype)).float(), y)
    value.backward()
    torch.testing.assert_close(value.detach(), expected, rtol=0.02, atol=0)
    assert half.conv.weight.grad is not None
    assert half.conv.weight.grad.isfinite().all()


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", LOSSES)
def test_statistics_and_values_stay_in_float32(name: str, dtype: torch.dtype) -> None:
    loss, (x, y) = LOSSES[name](), pair()
    with torch.autocast("cpu", dtype=dtype):
        targets = loss.targets(target=y.to(dtype))
        result = loss.evaluate(x.to(dtype), targets)
    kept = [tensor for statistic in targets.values() for tensor in tensors_of(statistic)]
    assert {t.dtype for t in (*kept, result.total, *result.terms.values())} == {torch.float32}


def test_a_gram_matrix_would_overflow_in_half_precision() -> None:
    """What float32 statistics are for: features of VGG's size, whose products float16 cannot hold."""
    feature = torch.full((1, 2, 8, 8), 300.0, dtype=torch.float16)
    with torch.autocast("cpu", dtype=torch.float16):
        assert torch.matmul(feature.flatten(2), feature.flatten(2).mT).isinf().all()
        assert opsin.distances.Gram()(feature, 0 * feature).isfinite().all()
