"""Populations of features pulled together."""

from __future__ import annotations

import pytest
import torch

from opsin.errors import ChoiceError, InputError
from opsin.gan.matching import MATCHINGS, match_populations, pooled


def normal(seed: int, n: int = 24, c: int = 6) -> torch.Tensor:
    return torch.randn(n, c, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)


def test_moments_by_their_formula() -> None:
    x, y = normal(0), normal(1) * 3 + 1
    size = y.square().mean().sqrt()
    a, b = x / size, y / size
    expected = (a.mean(0) - b.mean(0)).square().sum() / 6 + (torch.cov(a.T) - torch.cov(b.T)).square().sum() / 36
    torch.testing.assert_close(match_populations("moments", x, y), expected, rtol=1e-5, atol=1e-6)


def test_the_kernel_by_its_formula() -> None:
    x, y = normal(0), normal(1) + 0.5
    size = y.square().mean().sqrt()
    a, b = x / size, y / size

    def mean(p: torch.Tensor, q: torch.Tensor) -> float:
        return sum(float((u @ v / 6 + 1) ** 3) for u in p for v in q) / len(p) / len(q)

    expected = mean(a, a) + mean(b, b) - 2 * mean(a, b)
    assert float(match_populations("kernel", x, y)) == pytest.approx(expected, rel=1e-4)
    assert float(match_populations("kernel", x, x)) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("kind", MATCHINGS)
def test_descent_brings_populations_together(kind: str) -> None:
    torch.manual_seed(0)
    x, y = normal(0).requires_grad_(True), normal(1) * 2 + 1
    y.requires_grad_(True)
    optimizer = torch.optim.Adam([x], lr=0.05)
    before = (x.mean(0) - y.mean(0)).norm().item(), abs(x.std() - y.std()).item()
    for _ in range(150):
        optimizer.zero_grad()
        match_populations(kind, x, y).backward()
        optimizer.step()
    assert y.grad is None
    assert (x.mean(0) - y.mean(0)).norm() < 0.5 * before[0]
    assert abs(x.std() - y.std()) < 0.5 * before[1]


@pytest.mark.parametrize("kind", MATCHINGS)
def test_the_scale_of_features_does_not_matter(kind: str) -> None:
    values = []
    for factor in (1.0, 300.0):
        torch.manual_seed(0)
        values.append(float(match_populations(kind, factor * normal(0), factor * (normal(1) + 1))))
    assert values[0] == pytest.approx(values[1], rel=1e-3)


def test_maps_become_vectors() -> None:
    maps = {"a": torch.ones(2, 3, 4, 5), "b": torch.full((2, 1, 2, 2), 7.0)}
    torch.testing.assert_close(pooled(maps), torch.tensor([[1.0, 1, 1, 7]] * 2))


def test_what_is_refused() -> None:
    with pytest.raises(ChoiceError, match="did you mean 'moments'"):
        match_populations("moment", normal(0), normal(1))
    with pytest.raises(InputError, match="at least 2 rows"):
        match_populations("moments", normal(0)[:1], normal(1))
    with pytest.raises(InputError, match="one size"):
        match_populations("sliced-wasserstein", normal(0)[:5], normal(1))
