"""Bootstrap intervals: weights are repetitions, references go together, and the same draws give the same numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from opsin.scoring.judging import resampling
from opsin.scoring.judging.correlation import average_precision
from opsin.scoring.statistics import RESAMPLES

stats = pytest.importorskip("scipy.stats", reason="extra 'judge'")

COUNT, GROUPS = 60, 8


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    x = np.round(rng.normal(size=COUNT), 1)  # equal ones among them
    return x, x + rng.normal(size=COUNT), rng.integers(GROUPS, size=COUNT)


def repeated(group: np.ndarray, seed: int = 0, first: int = 20) -> list[np.ndarray]:
    """The items of the first resamples, each as often as its group was drawn."""
    weights = next(iter(resampling._draws(1 + int(group.max()), seed)))[:first]
    return [np.repeat(np.arange(len(group)), row[group].astype(int)) for row in weights]


def test_weighted_is_repeated(data):
    x, y, group = data
    spearmans, kendalls = resampling._spearmans(x, y, group), resampling._kendalls(x, y, group)
    pearsons = resampling._pearsons(x, y, group, GROUPS)
    assert len(spearmans) == len(kendalls) == len(pearsons) == RESAMPLES
    for number, taken in enumerate(repeated(group)):
        assert spearmans[number] == pytest.approx(stats.spearmanr(x[taken], y[taken]).statistic, abs=1e-10)
        assert kendalls[number] == pytest.approx(stats.kendalltau(x[taken], y[taken]).statistic, abs=1e-10)
        assert pearsons[number] == pytest.approx(stats.pearsonr(x[taken], y[taken]).statistic, abs=1e-10)
        assert spearmans[number] != pytest.approx(stats.spearmanr(x, y[::-1]).statistic, abs=1e-3)


def test_precisions_and_means_are_those_of_repeated_pairs():
    rng = np.random.default_rng(1)
    distance, same = np.round(rng.random(50), 1), rng.integers(4, size=50) / 3
    found, means = resampling.resampled_precisions(distance, same, 3), resampling.resampled_means(same, 3)
    for number, taken in enumerate(repeated(np.arange(50), 3)):
        assert found[number] == pytest.approx(average_precision(distance[taken], same[taken]), abs=1e-12)
        assert means[number] == pytest.approx(same[taken].mean(), abs=1e-12)


def test_chunks_change_nothing(data, monkeypatch):
    x, y, group = data
    whole = resampling.correlation_intervals(x, y, group.astype(str).tolist())
    monkeypatch.setattr(resampling, "_CHUNK", 7 * COUNT)
    found = resampling.correlation_intervals(x, y, group.astype(str).tolist())
    for name, interval in whole.items():
        assert found[name] == pytest.approx(interval, abs=1e-12)


def test_an_interval_holds_what_it_is_of(data):
    x, y, group = data
    names = group.astype(str).tolist()
    found = resampling.correlation_intervals(x, y, names)
    low, high = found["SRCC"]
    assert low < stats.spearmanr(x, y).statistic < high
    assert found["KRCC"][0] < stats.kendalltau(x, y).statistic < found["KRCC"][1]
    assert resampling.srcc_interval(x, y, names) == found["SRCC"]
    assert resampling.correlation_intervals(x, y, names) == found


def test_images_of_one_reference_say_less_than_as_many_of_several(data):
    """Of one judgement that is repeated, the interval does not shrink."""
    x, y, _ = data
    each = [str(i) for i in range(COUNT)]
    single = resampling.srcc_interval(x, y, each)
    thrice = resampling.srcc_interval(np.tile(x, 3), np.tile(y, 3), each * 3)
    assert thrice == pytest.approx(single, abs=0.01)


def test_where_there_is_none(data):
    x, y, _ = data
    found = resampling.correlation_intervals(x, y, ["one"] * COUNT)
    assert all(math.isnan(end) for ends in found.values() for end in ends)
    assert math.isnan(resampling.percentiles(np.full(RESAMPLES, np.nan))[0])


def test_equal_images_have_an_infinite_psnr(data):
    x, y, group = data
    infinite = np.where(x > 1.2, np.inf, x)
    found = resampling.correlation_intervals(infinite, y, group.astype(str).tolist())
    assert np.isfinite([*found["SRCC"], *found["PLCC"], *found["KRCC"]]).all()
