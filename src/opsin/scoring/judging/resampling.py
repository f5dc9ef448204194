"""Bootstrap intervals of what distances and people agree in: what has one reference is drawn together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from opsin.scoring.judging.correlation import FEWEST, SortedPairs, Values, fit_logistic
from opsin.scoring.statistics import CONFIDENCE, RESAMPLES

Interval = tuple[float, float]
NONE: Interval = (float("nan"), float("nan"))

_Group = npt.NDArray[np.intp]
_CHUNK = 1_000_000  # numbers at once


def percentiles(values: Values) -> Interval:
    """The interval of the statistic of resamples, as `CONFIDENCE` has it; NaN where it is mostly none."""
    kept = values[np.isfinite(values)]
    if len(kept) < RESAMPLES // 2:
        return NONE
    outside = (1 - CONFIDENCE) / 2
    low, high = np.quantile(kept, [outside, 1 - outside])
    return float(low), float(high)


def resampled_means(values: Values, seed: int) -> Values:
    """The means of resamples of values, (RESAMPLES,)."""
    return np.concatenate([weights @ values / len(values) for weights in _draws(len(values), seed)])


def resampled_precisions(distance: Values, same: Values, seed: int) -> Values:
    """The average precisions of resamples of pairs, (RESAMPLES,)."""
    pairs = SortedPairs(distance, same)
    return np.concatenate([pairs.average_precisions(weights) for weights in _draws(len(same), seed)])


def correlation_intervals(closeness: Values, quality: Values, groups: Sequence[str]) -> Mapping[str, Interval]:
    """Intervals of SRCC, PLCC and KRCC, references drawn with all of their images.

    Of PLCC the curve is that of all images, not fitted anew for each resample.

    Args:
        closeness: (N,), more is closer.
        quality: (N,), more is better.
        groups: the reference of each.
    """
    group = _numbered(groups)
    if group.max() == 0:
        return {"SRCC": NONE, "PLCC": NONE, "KRCC": NONE}
    linear = NONE
    finite = np.isfinite(closeness)
    if finite.sum() >= FEWEST and np.ptp(closeness[finite]) > 0:
        x, y = closeness[finite], quality[finite]
        linear = percentiles(_pearsons(fit_logistic(x, y)(x), y, group[finite], 1 + int(group.max())))
    return {
        "SRCC": percentiles(_spearmans(closeness, quality, group)),
        "PLCC": linear,
        "KRCC": percentiles(_kendalls(closeness, quality, group)),
    }


def srcc_interval(closeness: Values, quality: Values, groups: Sequence[str]) -> Interval:
    """The interval of SRCC, references drawn with all of their images."""
    group = _numbered(groups)
    return NONE if group.max() == 0 else percentiles(_spearmans(closeness, quality, group))


def _numbered(groups: Sequence[str]) -> _Group:
    return np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1].reshape(-1)


def _draws(count: int, seed: int, items: int = 0) -> Iterator[Values]:
    """How often each of several things is drawn in each of some resamples: (resamples, count), until all are made.

    Args:
        count: of the things.
        seed: of the random numbers.
        items: what each resample is made into, if that is more.
    """
    rng = np.random.default_rng(seed)
    step = max(1, _CHUNK // max(count, items))
    for first in range(0, RESAMPLES, step):
        rows = min(step, RESAMPLES - first)
        drawn = rng.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)


class _Ranks:
    """Ranks of values of which each is taken several times or never, equal ones sharing their mean rank."""

    def __init__(self, values: Values) -> None:
        self._order = np.argsort(values, kind="stable")
        ordered = values[self._order]
        new = np.append(True, ordered[1:] != ordered[:-1])
        self._starts = np.flatnonzero(new)
        self._tie = np.empty(len(values), dtype=np.intp)
        self._tie[self._order] = np.cumsum(new) - 1

    def of(self, weights: Values) -> Values:
        """Ranks for each row of weights, (resamples, N)."""
        counts = np.add.reduceat(weights[:, self._order], self._starts, axis=1)
        return (np.cumsum(counts, axis=1) - counts + (counts + 1) / 2)[:, self._tie]


def _correlated(x: Values, y: Values, weights: Values) -> Values:
    """Pearson's correlation for each row of weights, (resamples, N)."""
    total = weights.sum(axis=1, keepdims=True)
    dx, dy = (v - (weights * v).sum(axis=1, keepdims=True) / total for v in (x, y))
    below = np.sqrt((weights * dx * dx).sum(axis=1) * (weights * dy * dy).sum(axis=1))
    return np.divide((weights * dx * dy).sum(axis=1), below, out=np.full(len(weights), np.nan), where=below > 0)


def _pearsons(x: Values, y: Values, group: _Group, count: int) -> Values:
    """Pearson's correlations of resamples of `count` references."""
    drawn = (weights[:, group] for weights in _draws(count, 0, len(x)))
    return np.concatenate([_correlated(x, y, weights) for weights in drawn])


def _spearmans(x: Values, y: Values, group: _Group) -> Values:
    """Spearman's correlations of resamples: ranks are those in the resample."""
    first, second = _Ranks(x), _Ranks(y)
    drawn = (weights[:, group] for weights in _draws(1 + int(group.max()), 0, len(x)))
    return np.concatenate([_correlated(first.of(weights), second.of(weights), weights) for weights in drawn])


def _kendalls(x: Values, y: Values, group: _Group) -> Values:
    """Kendall's tau-b of resamples.

    Pairs in order and pairs that differ are counted once for each two references; a resample weighs these counts.
    """
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(group[order]) > 0))
    levels = [np.unique(v, return_inverse=True)[1].reshape(-1).astype(np.int32)[order] for v in (x, y)]

    def count(signs: npt.NDArray[np.int8]) -> npt.NDArray[np.int64]:
        return np.add.reduceat(signs.sum(axis=0, dtype=np.int64), starts)

    agree, apart_x, apart_y = (np.empty((len(starts), len(starts))) for _ in range(3))
    for row, (begin, end) in enumerate(zip(starts, [*starts[1:], len(order)], strict=True)):
        first, second = (_signs(level[begin:end], level) for level in levels)
        agree[row] = count(first * second)
        apart_x[row], apart_y[row] = count(np.abs(first)), count(np.abs(second))

    def weighed(counts: Values, weights: Values) -> Values:
        return (weights @ counts * weights).sum(axis=1)

    taus = []
    for weights in _draws(len(starts), 0):
        below = np.sqrt(weighed(apart_x, weights) * weighed(apart_y, weights))
        none = np.full(len(weights), np.nan)
        taus.append(np.divide(weighed(agree, weights), below, out=none, where=below > 0))
    return np.concatenate(taus)


def _signs(some: npt.NDArray[np.int32], of_all: npt.NDArray[np.int32]) -> npt.NDArray[np.int8]:
    """Whether each of some is more than, as, or less than each of all: 1, 0, -1."""
    return (some[:, None] > of_all).astype(np.int8) - (some[:, None] < of_all).astype(np.int8)
