"""Scores and correlations beside second, slow implementations of their definitions."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

from opsin.errors import MissingExtraError
from opsin.scoring.judging import correlation
from opsin.scoring.judging.correlation import (
    Logistic,
    average_precision,
    fit_logistic,
    krcc,
    people_2afc,
    plcc,
    srcc,
    two_afc,
)

pytest.importorskip("scipy", reason="extra 'judge'")


def draw(count: int, seed: int = 0, *, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Two columns that go together somewhat."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=count)
    y = x + rng.normal(size=count)
    return (np.round(x), np.round(y)) if ties else (x, y)


def slow_2afc(d0, d1, judge):
    total = 0.0
    for a, b, j in zip(d0, d1, judge, strict=True):
        if a < b:
            total += 1 - j
        elif b < a:
            total += j
        else:
            total += 0.5
    return total / len(judge)


def slow_average_precision(distance, same):
    """By its definition: at each threshold a precision and a recall, and the best precision from there on."""
    points = []
    for threshold in sorted(set(distance)):
        taken = [s for d, s in zip(distance, same, strict=True) if d <= threshold]
        points.append((sum(taken) / sum(same), sum(taken) / len(taken)))
    area, before = 0.0, 0.0
    for i, (recall, _) in enumerate(points):
        area += (recall - before) * max(precision for _, precision in points[i:])
        before = recall
    return area


def slow_ranks(values):
    return np.array([np.mean([k + 1 for k, v in enumerate(sorted(values)) if v == value]) for value in values])


def slow_kendall(x, y):
    pairs = [(i, j) for i in range(len(x)) for j in range(i)]
    agree = sum(np.sign(x[i] - x[j]) * np.sign(y[i] - y[j]) for i, j in pairs)
    apart = [sum(v[i] != v[j] for i, j in pairs) for v in (x, y)]
    return agree / math.sqrt(apart[0] * apart[1])


class TestTwoAfc:
    def test_is_the_loop(self):
        rng = np.random.default_rng(0)
        d0, d1 = np.round(rng.random((2, 200)), 1)  # with equal ones among them
        judge = rng.integers(6, size=200) / 5
        assert (d0 == d1).any()
        assert two_afc(d0, d1, judge).mean() == pytest.approx(slow_2afc(d0, d1, judge), abs=1e-12)
        assert two_afc(d1, d0, judge).mean() != pytest.approx(slow_2afc(d0, d1, judge), abs=1e-3)

    def test_infinite_distances(self):
        infinite = np.array([-math.inf, -math.inf, 1.0])
        assert two_afc(infinite, np.array([-math.inf, 1.0, -math.inf]), np.full(3, 0.2)).tolist() == [0.5, 0.8, 0.2]

    def test_people(self):
        """The paper's example: of four who agree and one who does not, one is right 68 % of the time."""
        assert people_2afc(np.array([0.8, 0.2, 1.0, 0.5])) == pytest.approx([0.68, 0.68, 1.0, 0.5])


class TestAveragePrecision:
    @pytest.mark.parametrize("digits", [16, 1])
    @pytest.mark.parametrize("seed", range(5))
    def test_is_the_definition(self, seed, digits):
        rng = np.random.default_rng(seed)
        distance = np.round(rng.random(60), digits)
        same = rng.integers(4, size=60) / 3
        assert average_precision(distance, same) == pytest.approx(slow_average_precision(distance, same), abs=1e-12)
        assert average_precision(-distance, same) != pytest.approx(slow_average_precision(distance, same), abs=1e-3)

    def test_the_order_of_files_is_of_no_matter(self):
        distance, same = np.zeros(4), np.array([1.0, 0.0, 1.0, 0.0])
        assert average_precision(distance, same) == average_precision(distance, same[::-1]) == 0.5

    def test_perfect_and_none(self):
        assert average_precision(np.arange(4.0), np.array([1.0, 1.0, 0.0, 0.0])) == 1
        assert math.isnan(average_precision(np.arange(3.0), np.zeros(3)))

    def test_of_infinite_distances(self):
        assert average_precision(np.array([-math.inf, 0.0, 1.0]), np.array([1.0, 0.0, 0.0])) == 1


class TestRanks:
    @pytest.mark.parametrize("ties", [False, True])
    def test_srcc_is_pearsons_of_ranks(self, ties):
        x, y = draw(40, ties=ties)
        slow = np.corrcoef(slow_ranks(x), slow_ranks(y))[0, 1]
        assert srcc(x, y) == pytest.approx(slow, abs=1e-12)
        assert srcc(-x, y) == pytest.approx(-slow, abs=1e-12)

    @pytest.mark.parametrize("ties", [False, True])
    def test_krcc_is_the_count_of_pairs(self, ties):
        x, y = draw(40, ties=ties)
        assert krcc(x, y) == pytest.approx(slow_kendall(x, y), abs=1e-12)
        assert krcc(-x, y) == pytest.approx(-slow_kendall(x, y), abs=1e-12)

    def test_monotone_curves_change_neither(self):
        x, y = draw(40)
        assert srcc(np.exp(x), y) == srcc(x, y)
        assert krcc(np.exp(x), y) == krcc(x, y)

    def test_infinite_values_have_a_rank(self):
        x, y = np.array([1.0, 2.0, 3.0, math.inf]), np.arange(4.0)
        assert srcc(x, y) == pytest.approx(1)
        assert krcc(x, y) == pytest.approx(1)

    def test_what_does_not_vary_has_none(self):
        for of in (srcc, krcc, plcc):
            assert math.isnan(of(np.ones(9), np.arange(9.0)))
            assert math.isnan(of(np.arange(9.0), np.ones(9)))
            assert math.isnan(of(np.ones(1), np.ones(1)))


class TestLogistic:
    @pytest.mark.parametrize(
        "beta",
        [
            (4.0, 3.0, 0.5, 0.2, 1.0),
            (-60.0, 12.0, 0.1, -3.0, 40.0),
            (5.0, 0.7, -1.0, 0.0, 0.0),
            (0.0, 1.0, 0.0, 2.0, 7.0),
        ],
    )
    @pytest.mark.parametrize(("middle", "scale"), [(0.0, 1.0), (30.0, 5.0), (0.01, 0.001)])
    def test_data_on_a_curve_are_fitted(self, beta, middle, scale):
        x = middle + scale * np.random.default_rng(0).normal(size=200)
        b1, b2, b3, b4, b5 = beta
        y = Logistic((b1, b2 / scale, middle + scale * b3, b4 / scale, b5))(x)
        np.testing.assert_allclose(fit_logistic(x, y)(x), y, rtol=0, atol=1e-5 * np.ptp(y))
        assert plcc(x, y) == pytest.approx(1, abs=1e-9)

    def test_the_formula(self):
        x = np.linspace(-3, 3, 7)
        b1, b2, b3, b4, b5 = beta = (4.0, 3.0, 0.5, 0.2, 1.0)
        plain = b1 * (0.5 - 1 / (1 + np.exp(b2 * (x - b3)))) + b4 * x + b5
        np.testing.assert_allclose(Logistic(beta)(x), plain, rtol=1e-12)

    def test_slopes(self):
        x, beta, step = np.linspace(-2, 2, 9), np.array([4.0, 3.0, 0.5, 0.2, 1.0]), 1e-6
        numeric = [
            (correlation._logistic(x, *(beta + step * e)) - correlation._logistic(x, *(beta - step * e))) / (2 * step)
            for e in np.eye(5)
        ]
        np.testing.assert_allclose(correlation._slopes(x, *beta), np.stack(numeric, axis=1), rtol=0, atol=1e-8)

    def test_no_worse_than_a_straight_line_and_a_plain_search(self):
        from scipy.optimize import curve_fit

        for seed in range(5):
            x, y = draw(100, seed)
            y = np.tanh(2 * y)
            line = np.polyval(np.polyfit(x, y, 1), x)
            begin = [y.max(), 1.0, x.mean(), 0.1, 0.1]
            plain, _ = curve_fit(
                lambda x, a, b, c, d, e: a * (0.5 - 1 / (1 + np.exp(b * (x - c)))) + d * x + e, x, y, begin, maxfev=9999
            )
            fitted = fit_logistic(x, y)(x)
            mine = ((fitted - y) ** 2).sum()
            assert mine <= ((line - y) ** 2).sum() + 1e-9
            assert mine <= ((Logistic(tuple(plain))(x) - y) ** 2).sum() * (1 + 1e-6)
            assert plcc(x, y) == pytest.approx(np.corrcoef(fitted, y)[0, 1], abs=1e-12)

    def test_a_curve_is_more_than_pearson(self):
        x, _ = draw(200)
        y = np.tanh(4 * x)
        assert np.corrcoef(x, y)[0, 1] < 0.92
        assert plcc(x, y) > 0.9999
        noise = np.random.default_rng(1).normal(size=200)
        assert plcc(x, noise) < 0.4  # and not of anything at all

    def test_infinite_values_are_left_out(self):
        x, y = draw(50)
        assert plcc(np.append(x, math.inf), np.append(y, 5.0)) == plcc(x, y)

    def test_few_values_have_none(self):
        x, y = draw(5)
        assert math.isnan(plcc(x, y))
        assert not math.isnan(plcc(*draw(6)))

    def test_a_fit_that_does_not_settle(self, monkeypatch):
        monkeypatch.setattr(correlation, "_MOST_CALLS", 1)
        x, y = draw(50)
        assert plcc(x, y) == pytest.approx(abs(np.corrcoef(x, y)[0, 1]), abs=1e-9)


def test_without_scipy(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    for of in (srcc, krcc, plcc):
        with pytest.raises(MissingExtraError, match=r"pip install 'opsin\[judge\]'"):
            of(*draw(10))
    assert average_precision(np.arange(2.0), np.ones(2)) == 1  # needs none
