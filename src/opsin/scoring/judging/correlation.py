"""How far distances agree with people: 2AFC score, JND average precision, and correlations with scores."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from opsin.scoring.judging.base import scipy

Values = npt.NDArray[np.float64]

FEWEST = 6
"""Images that a fit of five parameters says something of."""

_STEEPNESS = (0.5, 2.0, 8.0)  # where fits begin, of values with a standard deviation of 1
_MOST_CALLS = 5000


def two_afc(d0: Values, d1: Values, judge: Values) -> Values:
    """Of each triplet the fraction of people whose choice the distances make: 1 - judge where d0 < d1, else judge.

    Where both are equal it is a half.

    Shape: (N,), (N,), (N,) -> (N,).

    Range: [0, 1].

    Args:
        d0: distances of the first image from the reference.
        d1: of the second.
        judge: the fraction of people who found the second closer.

    Reference: "The unreasonable effectiveness of deep features as a perceptual metric", Zhang et al., 2018,
    https://arxiv.org/abs/1801.03924

    Example:
        >>> two_afc(np.array([0.1, 0.3]), np.array([0.2, 0.1]), np.array([0.2, 0.2])).tolist()
        [0.8, 0.2]
    """
    return np.where(d0 < d1, 1 - judge, np.where(d1 < d0, judge, 0.5))


def people_2afc(judge: Values) -> Values:
    """What one of the people would score on average: judge² + (1 - judge)².

    Shape: (N,) -> (N,).

    Range: [0.5, 1].

    Reference: see `two_afc`.
    """
    return judge**2 + (1 - judge) ** 2


def average_precision(distance: Values, same: Values) -> float:
    """The area under the curve of precision over recall, of finding pairs that look the same by small distances.

    With a threshold t, precision is the mean of `same` over pairs with d <= t, recall their share of all of `same`. At
    each recall the highest precision that is reached there or further on is taken.

    Shape: (N,), (N,) -> a number; NaN where nothing looked the same.

    Range: [0, 1].

    Args:
        distance: between the two of a pair.
        same: the fraction of people who saw no difference.

    Differs from the paper: pairs of equal distance are taken together; the authors' code takes them in any order.

    Reference: see `two_afc`.

    Example:
        >>> average_precision(np.array([0.1, 0.2, 0.3]), np.array([1.0, 0.0, 1.0]))
        0.8333333333333333
    """
    return float(SortedPairs(distance, same).average_precisions(np.ones((1, len(same))))[0])


class SortedPairs:
    """Pairs in the order of their distances, sorted once for many resamples."""

    def __init__(self, distance: Values, same: Values) -> None:
        self._order = np.argsort(distance, kind="stable")
        self._same = same[self._order]
        ordered = distance[self._order]
        self._last = np.append(ordered[1:] != ordered[:-1], True)

    def average_precisions(self, weights: Values) -> Values:
        """See `average_precision`: (resamples, N), how often each pair is taken -> (resamples,)."""
        ordered = weights[:, self._order]
        hits = np.cumsum(ordered * self._same, axis=1)[:, self._last]
        taken = np.cumsum(ordered, axis=1)[:, self._last]
        # Before the first pair that is taken there is no recall, whatever the precision.
        precision = np.divide(hits, taken, out=np.zeros_like(hits), where=taken > 0)
        all_hits = hits[:, -1:]
        recall = np.divide(hits, all_hits, out=np.full_like(hits, np.nan), where=all_hits > 0)
        reached = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        found: Values = (np.diff(recall, prepend=0.0, axis=1) * reached).sum(axis=1)
        return found


def srcc(closeness: Values, quality: Values) -> float:
    """Spearman's rank correlation; equal values share their mean rank.

    Shape: (N,), (N,) -> a number; NaN of fewer than two values or where all are equal.

    Range: [-1, 1].

    Raises:
        MissingExtraError: scipy is not installed.
    """
    return float(scipy().stats.spearmanr(closeness, quality).statistic) if _varies(closeness, quality) else float("nan")


def krcc(closeness: Values, quality: Values) -> float:
    """Kendall's rank correlation, tau-b: pairs of images in the same order less those in the other, over all.

    Shape: (N,), (N,) -> a number; NaN of fewer than two values or where all are equal.

    Range: [-1, 1].

    Raises:
        MissingExtraError: scipy is not installed.
    """
    return (
        float(scipy().stats.kendalltau(closeness, quality).statistic) if _varies(closeness, quality) else float("nan")
    )


def plcc(closeness: Values, quality: Values) -> float:
    """Pearson's correlation of scores with what a logistic curve makes of the values, see `fit_logistic`.

    Infinite values (the PSNR of equal images) are left out. It is hardly ever below 0, since the curve turns as it
    must: whether a loss has the right sense, SRCC says.

    Shape: (N,), (N,) -> a number; NaN of fewer than `FEWEST` values or where all are equal.

    Range: [-1, 1].

    Raises:
        MissingExtraError: scipy is not installed.
    """
    finite = np.isfinite(closeness)
    x, y = closeness[finite], quality[finite]
    if len(x) < FEWEST or not _varies(x, y):
        return float("nan")
    fitted = fit_logistic(x, y)(x)
    return float(scipy().stats.pearsonr(fitted, y).statistic) if _varies(fitted, y) else float("nan")


@dataclass(frozen=True)
class Logistic:
    """f(x) = β₁ (1/2 - 1/(1 + exp(β₂ (x - β₃)))) + β₄ x + β₅.

    Attributes:
        beta: β₁ … β₅.
    """

    beta: tuple[float, float, float, float, float]

    def __call__(self, x: Values) -> Values:
        """The curve at values."""
        return _logistic(x, *self.beta)


def fit_logistic(x: Values, y: Values) -> Logistic:
    """The curve f(x) = β₁ (1/2 - 1/(1 + exp(β₂ (x - β₃)))) + β₄ x + β₅ with the least squared distance from y.

    The search begins at three steepnesses; the best that it finds is taken, or the best straight line, which is such a
    curve too.

    Args:
        x: values, finite.
        y: scores.

    Raises:
        MissingExtraError: scipy is not installed.

    Reference: "A statistical evaluation of recent full reference image quality assessment algorithms", Sheikh, Sabir
    and Bovik, 2006, https://doi.org/10.1109/TIP.2006.881959, after the logistic curves of the "Final report from the
    Video Quality Experts Group on the validation of objective models of video quality assessment", VQEG, 2000

    Example:
        >>> x = np.linspace(-2, 2, 50)
        >>> curve = Logistic((4.0, 3.0, 0.5, 0.2, 1.0))
        >>> bool(np.allclose(fit_logistic(x, curve(x))(x), curve(x)))
        True
    """
    optimize = scipy().optimize
    # The curves of values that are moved and stretched are the same curves: the search is easier in this form.
    middle, scale = float(x.mean()), float(x.std()) or 1.0
    height, spread = float(y.mean()), float(y.std()) or 1.0
    u, v = (x - middle) / scale, (y - height) / spread
    slope = float((u * v).mean())
    best = np.array([0.0, 1.0, 0.0, slope, 0.0])
    error = _squares(best, u, v)
    for steepness in _STEEPNESS:
        begin = [2.0 if slope >= 0 else -2.0, steepness, 0.0, 0.0, 0.0]
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")  # of a covariance that nobody asked for
                found, _ = optimize.curve_fit(_logistic, u, v, begin, jac=_slopes, maxfev=_MOST_CALLS)
        except RuntimeError:  # it has not settled
            continue
        if (squares := _squares(found, u, v)) < error:
            best, error = found, squares
    b1, b2, b3, b4, b5 = (float(b) for b in best)
    return Logistic(
        (
            b1 * spread,
            b2 / scale,
            b3 * scale + middle,
            b4 * spread / scale,
            b5 * spread + height - b4 * spread * middle / scale,
        )
    )


def _logistic(x: Values, b1: float, b2: float, b3: float, b4: float, b5: float) -> Values:
    # 1/2 - 1/(1 + exp(t)) = tanh(t/2)/2, which does not overflow.
    return b1 / 2 * np.tanh(b2 * (x - b3) / 2) + b4 * x + b5


def _slopes(x: Values, b1: float, b2: float, b3: float, b4: float, b5: float) -> Values:
    """The derivatives of the curve by its parameters, (N,5)."""
    del b4, b5
    bend = np.tanh(b2 * (x - b3) / 2)
    steep = b1 / 4 * (1 - bend**2)
    return np.stack([bend / 2, steep * (x - b3), -steep * b2, x, np.ones_like(x)], axis=1)


def _squares(beta: Any, x: Values, y: Values) -> float:
    squares = float(((_logistic(x, *beta) - y) ** 2).sum())
    return squares if np.isfinite(squares) else float("inf")


def _varies(x: Values, y: Values) -> bool:
    """Whether there is a correlation at all."""
    return len(x) > 1 and bool((x != x[0]).any()) and bool((y != y[0]).any())
