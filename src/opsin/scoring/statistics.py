"""What many values come to: means with their confidence, and whether one method is better than another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from opsin.scoring.results import Scores

RESAMPLES = 2000
"""Of the bootstrap and of the test; always drawn from the same seed."""

CONFIDENCE = 0.95
_CHUNK = 500_000  # numbers drawn at once

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """A metric's values of one method.

    Attributes:
        count: of values.
        mean: their mean.
        median: their median.
        std: their standard deviation, of a sample.
        low: lower end of the mean's confidence interval.
        high: upper end of it.
    """

    count: int
    mean: float
    median: float
    std: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Two methods on the pairs that both have.

    Attributes:
        metric: what is compared.
        better: the method that is closer to the references on average.
        worse: the other.
        count: of pairs.
        difference: mean over the pairs of how much closer, in the metric's unit, 0 or more.
        low: lower end of its confidence interval.
        high: upper end of it.
        p: how often signs drawn at random give a mean as far from 0.
        wins: in how many pairs `better` is closer.
        ties: in how many both are the same.
    """

    metric: str
    better: str
    worse: str
    count: int
    difference: float
    low: float
    high: float
    p: float
    wins: int
    ties: int


@dataclass(frozen=True)
class Summary:
    """What a run comes to.

    Attributes:
        spreads: method -> metric -> its values.
        comparisons: for each metric and two methods.
    """

    spreads: Mapping[str, Mapping[str, Spread]]
    comparisons: tuple[Comparison, ...]

    def as_dict(self) -> dict[str, Any]:
        """As plain values; what is no number is None."""
        return {
            "summary": {
                method: {metric: _plain(asdict(spread)) for metric, spread in spreads.items()}
                for method, spreads in self.spreads.items()
            },
            "comparisons": [_plain(asdict(comparison)) for comparison in self.comparisons],
        }


def summarize(scores: Scores) -> Summary:
    """Means with bootstrap intervals (95 %, percentiles of 2000 resamples) and paired tests between methods.

    The test of a mean difference flips signs at random: p = (1 + flips as far from 0) / (1 + 2000), two-sided; with 10
    pairs or fewer all flips are taken. All is drawn from one seed: the same values give the same numbers.

    Reference: "Statistical significance tests for machine translation evaluation", Koehn, 2004; "An introduction to the
    bootstrap", Efron and Tibshirani, 1993

    Example:
        >>> from opsin.results import Signature
        >>> from opsin.scoring.results import Metric, Pair, Scored
        >>> scores = Scores([Pair("a", "r/a.png", {"m": "m/a.png"})], ["m"], [Metric("l2")], Signature())
        >>> scores.add(Scored(0, {"m": [0.5]}, {}))
        >>> summarize(scores).spreads["m"]["l2"].mean
        0.5
    """
    spreads = {
        method: {metric.name: spread(scores.of(method, metric.name)) for metric in scores.metrics}
        for method in scores.methods
    }
    comparisons = [
        found
        for metric in scores.metrics
        for a, b in combinations(scores.methods, 2)
        if (found := _compare(scores, metric.name, a, b, higher=metric.higher)) is not None
    ]
    return Summary(spreads, tuple(comparisons))


def spread(values: Values) -> Spread:
    """The spread of values; NaN are left out, ∞ (the PSNR of equal images) makes the mean ∞."""
    values = values[~np.isnan(values)]
    if not len(values):
        return Spread(0, *[float("nan")] * 5)
    low, high = interval(values)
    with np.errstate(invalid="ignore"):  # ∞ - ∞
        deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return Spread(len(values), float(values.mean()), float(np.median(values)), deviation, low, high)


def interval(values: Values) -> tuple[float, float]:
    """The confidence interval of a mean: percentiles of the means of resamples; NaN of infinite values."""
    if not np.isfinite(values).all():
        return float("nan"), float("nan")
    rng = np.random.default_rng(0)
    step = max(1, _CHUNK // len(values))
    parts = [min(step, RESAMPLES - first) for first in range(0, RESAMPLES, step)]
    means = np.concatenate([values[rng.integers(len(values), size=(n, len(values)))].mean(axis=1) for n in parts])
    outside = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [outside, 1 - outside])
    return float(low), float(high)


def paired_test(differences: Values) -> float:
    """Two-sided p of a mean of paired differences: how often random signs give one as far from 0."""
    count = len(differences)
    far = abs(differences.mean()) * (1 - 1e-12)  # the flips that change nothing must count
    if count <= 10:
        signs = 1 - 2 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
        return float((np.abs(signs @ differences) / count >= far).mean())
    rng = np.random.default_rng(0)
    step = max(1, _CHUNK // count)
    hits = 0
    for first in range(0, RESAMPLES, step):
        signs = 1 - 2 * rng.integers(2, size=(min(step, RESAMPLES - first), count), dtype=np.int8)
        hits += int((np.abs(signs @ differences) / count >= far).sum())
    return (1 + hits) / (1 + RESAMPLES)


def _compare(scores: Scores, metric: str, a: str, b: str, *, higher: bool) -> Comparison | None:
    first, second = scores.of(a, metric), scores.of(b, metric)
    both = np.isfinite(first) & np.isfinite(second)
    if not both.any():
        return None
    nearer = first[both] - second[both] if higher else second[both] - first[both]  # above 0 where `a` is closer
    if nearer.mean() < 0:
        a, b, nearer = b, a, -nearer
    low, high = interval(nearer)
    wins, ties = int((nearer > 0).sum()), int((nearer == 0).sum())
    return Comparison(metric, a, b, len(nearer), float(nearer.mean()), low, high, paired_test(nearer), wins, ties)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has neither NaN nor ∞."""
    return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in values.items()}
