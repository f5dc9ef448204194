"""How the values of each method lie, as HTML with SVG: points of few pairs, densities of many, on one axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from opsin.report.scatter import Axis, axis_of
from opsin.report.score_words import Digits, arrow, counted, markup
from opsin.scoring.results import Metric, Scores
from opsin.scoring.statistics import Spread, Summary

_FEW = 60  # values that are drawn one by one
_BINS = 200
_FAR = 8  # points that are drawn one by one at each end of many

# A row, in units of the picture; across it is stretched to what there is.
_WIDE, _HIGH, _TOP, _BASE, _BOX = 1000.0, 46.0, 3.0, 30.0, 39.0

_Values = npt.NDArray[np.float64]


def plots(scores: Scores, summary: Summary, digits: Sequence[Digits]) -> str:
    """A plot for each metric."""
    figures = [
        _figure(scores, summary, number, metric, form)
        for number, (metric, form) in enumerate(zip(scores.metrics, digits, strict=True))
    ]
    return (
        '<section id="distributions"><h2>Distributions</h2><p class="remark">Upright line: the mean. Bar: the middle '
        "half of the pairs, split at the median; the thin line is at most 1.5 times as long to either side. Point at a "
        f'dot for its pair; click it to find the pair in the table.</p><div class="plots">{"".join(figures)}</div>'
        "</section>"
    )


def _figure(scores: Scores, summary: Summary, number: int, metric: Metric, form: Digits) -> str:
    finite = scores.values[:, :, number]
    finite = finite[np.isfinite(finite)]
    axis = _axis(finite) if len(finite) else None
    rows, left_out = [], []
    for i, method in enumerate(scores.methods):
        values = scores.values[:, i, number]
        spread = summary.spreads[method][metric.name]
        infinite = int(np.isinf(values).sum())
        nothing = sum(method in scores.pairs[at].distorted for at in np.flatnonzero(np.isnan(values)).tolist())
        if infinite or nothing:
            parts = [f"{infinite:,} infinite"] if infinite else []
            parts += [f"{nothing:,} not measured"] if nothing else []
            left_out.append(f"{method}: {', '.join(parts)}")
        rows.append(
            f'<div class="row m{i % 8}"><span class="m m{i % 8} name">{markup(method)}</span>'
            f'<span class="number"><small>mean</small> {form.write(spread.mean)}</span>'
            f"{_row(scores, values, spread, axis, metric, method, form) if axis else ''}</div>"
        )
    note = f'<p class="remark">Not drawn: {markup("; ".join(left_out))}.</p>' if left_out else ""
    grid, ticks = "", ""
    if axis:
        places = [(f"{100 * axis.place(t):.2f}%", axis.label(t)) for t in axis.ticks]
        grid = "".join(f'<i style="left:{place}"></i>' for place, _ in places)
        ticks = "".join(f'<span style="left:{place}">{label}</span>' for place, label in places)
    word = "more is closer" if metric.higher else "less is closer"
    return (
        f'<figure><figcaption><span class="name">{markup(metric.name)}</span> <small>{arrow(metric)} {word}</small>'
        f'</figcaption><div class="rows"><div class="grid">{grid}</div>{"".join(rows)}</div>'
        f'<div class="ticks" aria-hidden="true">{ticks}</div>{note}</figure>'
    )


def _axis(values: _Values) -> Axis:
    axis = axis_of([float(values.min()), float(values.max())], wanted=5)
    if values.min() >= 0 > axis.low:  # what is never below 0 has nothing there
        return Axis(0.0, axis.high, tuple(t for t in axis.ticks if t >= 0), axis.digits)
    return axis


def _row(scores: Scores, values: _Values, spread: Spread, axis: Axis, metric: Metric, method: str, form: Digits) -> str:
    chosen = np.flatnonzero(np.isfinite(values))
    chosen = chosen[np.argsort(values[chosen], kind="stable")]
    drawn = values[chosen]
    if not len(drawn):
        return '<p class="remark">nothing to draw</p>'
    across = _WIDE * (drawn - axis.low) / (axis.high - axis.low)
    parts = []
    if len(drawn) > _FEW:
        parts.append(_density(across))
    if len(drawn) > 3:
        parts.append(_box(across))
    if np.isfinite(spread.mean):
        x = _WIDE * axis.place(spread.mean)
        parts.append(f'<path class="mean" d="M{x:.1f} 0V{_HIGH:g}"/>')
    for at in range(len(drawn)) if len(drawn) <= _FEW else _far(across):
        # The golden ratio strews neighbours evenly, and the same way each time.
        y = _TOP + 4 + (_BASE - _TOP - 8) * (at * 0.6180339887 % 1) if len(drawn) <= _FEW else _BOX
        said = markup(f"{scores.pairs[chosen[at]].name}: {form.write(float(drawn[at]))}")
        parts.append(
            f'<path class="dot" data-pair="{chosen[at]}" d="M{across[at]:.1f} {y:.1f}h0"><title>{said}</title></path>'
        )
    said = (
        f"{metric.name} of {method}: {counted(len(drawn), 'value')}, from {form.write(float(drawn[0]))} to "
        f"{form.write(float(drawn[-1]))}, median {form.write(float(np.median(drawn)))}"
    )
    return (
        f'<svg viewBox="0 0 {_WIDE:g} {_HIGH:g}" preserveAspectRatio="none" role="img" aria-label="{markup(said)}">'
        f"{''.join(parts)}</svg>"
    )


def _density(across: _Values) -> str:
    """How many lie where, smoothed by a Gaussian (Silverman's rule), from the least to the largest."""
    low, high = np.quantile(across, [0.25, 0.75])
    width = 0.9 * min(float(across.std()), float(high - low) / 1.34 or np.inf) * len(across) ** -0.2
    width = max(width, _WIDE / 250)
    first, last = float(across[0]) - width / 2, float(across[-1]) + width / 2
    heights, edges = np.histogram(across, bins=_BINS, range=(first, last))
    step = edges[1] - edges[0]
    reach = max(1, int(4 * width / step))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * step / width) ** 2)
    smooth = np.convolve(heights, kernel)[reach : reach + _BINS]
    tops = _BASE - (_BASE - _TOP) * smooth / smooth.max()
    line = "L".join(f"{x:.1f} {y:.1f}" for x, y in zip(edges[:-1] + step / 2, tops, strict=True))
    return f'<path class="density" d="M{first:.1f} {_BASE:g}L{line}L{last:.1f} {_BASE:g}Z"/>'


def _whiskers(across: _Values) -> tuple[float, float]:
    """The last values within 1.5 times the middle half's length beside it."""
    low, high = np.quantile(across, [0.25, 0.75])
    reach = 1.5 * (high - low)
    inside = across[(across >= low - reach) & (across <= high + reach)]
    return float(inside[0]), float(inside[-1])


def _box(across: _Values) -> str:
    first, last = _whiskers(across)
    low, middle, high = np.quantile(across, [0.25, 0.5, 0.75])
    return (
        f'<path class="whisker" d="M{first:.1f} {_BOX:g}H{last:.1f}"/>'
        f'<path class="half" d="M{low:.1f} {_BOX:g}H{max(high, low + 0.1):.1f}"/>'
        f'<path class="median" d="M{middle:.1f} {_BOX - 4:g}V{_BOX + 4:g}"/>'
    )


def _far(across: _Values) -> list[int]:
    """The numbers of those beyond the whiskers, the farthest of each end."""
    first, last = _whiskers(across)
    below, above = int((across < first).sum()), int((across > last).sum())
    return [*range(min(below, _FAR)), *range(len(across) - min(above, _FAR), len(across))]
