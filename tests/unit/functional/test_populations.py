"""Distances of populations, by closed forms and by brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from opsin.errors import InputError
from opsin.functional.populations import frechet_distance, kernel_distance, nearest, precision_recall, spread


def normal(n: int, c: int, seed: int = 0, shift: float = 0.0, scale: float = 1.0) -> Tensor:
    return torch.randn(n, c, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale + shift


def whitened(x: Tensor) -> Tensor:
    """Mean 0 and covariance 1, to rounding."""
    x = x - x.mean(0)
    return x @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(x.T))).T


def test_frechet_of_populations_whose_moments_are_known() -> None:
    x = whitened(normal(50, 3))
    mixing = torch.diag(torch.tensor([2.0, 3.0, 0.5], dtype=torch.float64))
    y = whitened(normal(40, 3, 1)) @ mixing + torch.tensor([1.0, 0.0, 2.0], dtype=torch.float64)
    expected = 5 + (1 - 2) ** 2 + (1 - 3) ** 2 + (1 - 0.5) ** 2
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(y, x) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("n", "m", "c"), [(60, 50, 5), (6, 9, 20), (200, 4, 16)])
def test_frechet_by_the_roots_of_the_product(n: int, m: int, c: int) -> None:
    x, y = normal(n, c), normal(m, c, 1, 0.3, 1.7) @ normal(c, c, 2)
    a, b = np.cov(x.numpy().T), np.cov(y.numpy().T)
    roots = np.sqrt(np.linalg.eigvals(a @ b).astype(complex)).real.sum()
    expected = float((x.mean(0) - y.mean(0)).square().sum()) + np.trace(a) + np.trace(b) - 2 * roots
    # Where no covariance has full rank, eigenvalues of 0 come out as 1e-16, and their roots as 1e-8.
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-5)
    assert frechet_distance(x, x.flip(0)) == pytest.approx(0, abs=1e-9 * float(np.trace(a)))


def test_kernel_by_brute_force() -> None:
    x, y = normal(4, 3), normal(4, 3, 1, 0.5)

    def k(a: Tensor, b: Tensor) -> float:
        return float((a @ b / 3 + 1) ** 3)

    def subset(p: Tensor, q: Tensor) -> float:
        n = len(p)
        xx = sum(k(p[i], p[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
        yy = sum(k(q[i], q[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
        return xx + yy - 2 * sum(k(a, b) for a in p for b in q) / n**2

    generator = torch.Generator().manual_seed(5)
    values = []
    for _ in range(7):
        i, j = (torch.randperm(4, generator=generator)[:2] for _ in range(2))
        values.append(subset(x[i], y[j]))
    found = kernel_distance(x, y, subsets=7, generator=torch.Generator().manual_seed(5))
    assert found.value == pytest.approx(np.mean(values), rel=1e-12)
    assert found.error == pytest.approx(np.std(values, ddof=1) / 2**0.5, rel=1e-12)


def test_the_kernel_distance_has_no_bias_and_tells_its_error() -> None:
    found = [kernel_distance(normal(80, 8, s), normal(90, 8, 100 + s), subsets=40) for s in range(30)]
    values = np.array([f.value for f in found])
    assert abs(values.mean()) < 3 * values.std() / 30**0.5
    errors = np.mean([f.error for f in found])
    assert 0.5 < errors / values.std() < 2
    assert kernel_distance(normal(80, 8), normal(90, 8, 1, 1.0)).value > 10 * errors


def test_precision_and_recall_by_brute_force() -> None:
    x, y = normal(40, 2), normal(30, 2, 1, 1.0)

    def inside(p: Tensor, q: Tensor) -> float:
        hits = 0
        for a in p:
            for b in q:
                radius = sorted(float((b - other).norm()) for other in q)[3]
                if float((a - b).norm()) <= radius:
                    hits += 1
                    break
        return hits / len(p)

    found = precision_recall(x, y)
    assert found == pytest.approx((inside(x, y), inside(y, x)), abs=1e-12)
    assert 0 < found.precision < 1


def test_a_constant_has_no_recall() -> None:
    y = normal(30, 4)
    found = precision_recall(y[:1].expand(30, -1), y)
    assert found.precision == 1
    assert found.recall == pytest.approx(1 / 30)
    assert spread(y[:1].expand(30, -1)) == pytest.approx(0, abs=1e-12)
    assert spread(whitened(y)) == pytest.approx((4 * 29 / 30) ** 0.5)


def test_nearest() -> None:
    y = normal(2500, 3)
    distances, indices = nearest(y[7:2100] + 1e-9, y, 2)
    torch.testing.assert_close(indices[:, 0], torch.arange(7, 2100))
    assert (distances[:, 0] < distances[:, 1]).all()
    with pytest.raises(InputError, match="count from 1"):
        nearest(y, y[:1], 2)


@pytest.mark.parametrize("measure", [frechet_distance, kernel_distance, precision_recall])
def test_what_is_refused(measure) -> None:
    x = normal(9, 3)
    for wrong in (x[:1], x[:, :2], x[0]):
        with pytest.raises(InputError, match="at least 2 rows"):
            measure(wrong, x)
    with pytest.raises(InputError, match="finite"):
        measure(x, x * float("nan"))
    with pytest.raises(InputError, match="more than 9"):
        precision_recall(x, x, neighbours=9)
