"""Means, their confidence, and paired tests."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from opsin.results import Signature
from opsin.scoring.results import Metric, Pair, Scored, Scores
from opsin.scoring.statistics import interval, paired_test, spread, summarize


def scores_of(**methods: list[float]) -> Scores:
    count = len(next(iter(methods.values())))
    pairs = [Pair(str(i), "", dict.fromkeys(methods, "")) for i in range(count)]
    scores = Scores(pairs, list(methods), [Metric("l2"), Metric("psnr", higher=True)], Signature())
    for i in range(count):
        values = {m: [v[i], -v[i]] for m, v in methods.items() if not math.isnan(v[i])}
        scores.add(Scored(i, values, {m: "gone" for m in methods if m not in values}))
    return scores


def test_spread():
    found = spread(np.array([1.0, 2.0, 6.0, np.nan]))
    assert (found.count, found.mean, found.median) == (3, 3.0, 2.0)
    assert found.std == pytest.approx(np.std([1, 2, 6], ddof=1))
    assert found.low <= found.mean <= found.high
    alone = spread(np.array([2.0]))
    assert (alone.mean, alone.std, alone.low, alone.high) == (2, 0, 2, 2)
    assert spread(np.array([np.nan])).count == 0
    infinite = spread(np.array([1.0, np.inf]))
    assert infinite.mean == np.inf
    assert math.isnan(infinite.low)


def test_intervals_hold_the_true_mean_as_often_as_they_say():
    rng = np.random.default_rng(1)
    held = [low <= 1 <= high for low, high in (interval(rng.exponential(size=60)) for _ in range(400))]
    assert 0.90 < np.mean(held) < 0.98  # the bootstrap's are a little short of 95 % on 60 skewed values


def test_intervals_are_those_of_the_normal_distribution_for_many_values():
    values = np.random.default_rng(0).normal(5, 2, 20_000)
    low, high = interval(values)
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_few_pairs_are_tested_exactly():
    differences = np.array([0.3, -0.1, 0.5, 0.2, -0.05])
    flips = [abs(np.dot(s, differences)) for s in itertools.product((1, -1), repeat=5)]
    expected = np.mean([flip >= abs(differences.sum()) - 1e-12 for flip in flips])
    assert paired_test(differences) == pytest.approx(expected)
    assert paired_test(np.ones(1)) == 1


def test_many_pairs():
    rng = np.random.default_rng(0)
    assert paired_test(rng.normal(1, 1, 200)) == pytest.approx(1 / 2001)
    chance = [paired_test(rng.normal(0, 1, 40)) for _ in range(200)]
    assert 0.02 < np.mean([p < 0.1 for p in chance]) < 0.18


def test_which_method_is_better():
    found = {c.metric: c for c in summarize(scores_of(a=[1.0, 2, 3, 4], b=[2.0, 2, 5, 5])).comparisons}
    assert found["l2"].better == "a"
    assert found["l2"].difference == 1
    assert (found["l2"].wins, found["l2"].ties, found["l2"].count) == (3, 1, 4)
    assert found["psnr"].better == "a"  # more is closer, and values are negative
    flipped = {c.metric: c for c in summarize(scores_of(b=[2.0, 2, 5, 5], a=[1.0, 2, 3, 4])).comparisons}
    assert flipped["l2"].better == "a"
    assert flipped["l2"].p == found["l2"].p


def test_pairs_that_one_lacks_are_left_out():
    (first, _) = summarize(scores_of(a=[1.0, 9, 3], b=[2.0, math.nan, 5])).comparisons
    assert (first.count, first.difference) == (2, 1.5)
    summary = summarize(scores_of(a=[1.0], b=[math.nan]))
    assert summary.comparisons == ()
    assert summary.as_dict()["summary"]["b"]["l2"]["mean"] is None


def test_three_methods_are_compared_two_by_two():
    found = summarize(scores_of(a=[1.0, 2], b=[2.0, 3], c=[3.0, 4])).comparisons
    assert [(c.metric, c.better, c.worse) for c in found][:3] == [("l2", "a", "b"), ("l2", "a", "c"), ("l2", "b", "c")]
    assert len(found) == 6
