"""What the scores come to, as HTML: the table of means, and which method is closer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from opsin.report.score_words import NONE, Digits, arrow, bare, counted, markup
from opsin.scoring.results import Metric, Scores
from opsin.scoring.statistics import CONFIDENCE, RESAMPLES, Comparison, Spread, Summary

_MANY = 20  # comparisons that are read at a glance


def means(scores: Scores, summary: Summary, digits: Sequence[Digits]) -> str:
    """The table of means: a row for each method, a column for each metric."""
    counts = {m: [s.count for s in summary.spreads[m].values()] for m in scores.methods}
    differ = len({n for some in counts.values() for n in some}) > 1
    head = "".join(
        f'<th scope="col" data-first="{"descending" if m.higher else "ascending"}">'
        f"<button>{markup(m.name)} <i>{arrow(m)}</i></button></th>"
        for m in scores.metrics
    )
    if differ:
        head = f'<th scope="col" data-first="descending"><button>pairs</button></th>{head}'
    best = {m.name: _best(m, summary.spreads) for m in scores.metrics} if len(scores.methods) > 1 else {}
    body = []
    for number, method in enumerate(scores.methods):
        most = max(counts[method], default=0)
        cells = f'<td data-v="{most}">{most:,}</td>' if differ else ""
        for metric, form in zip(scores.metrics, digits, strict=True):
            spread = summary.spreads[method][metric.name]
            cells += _cell(spread, form, marked=spread.mean == best.get(metric.name), short=spread.count < most)
        body.append(f'<tr><th scope="row"><span class="m m{number % 8} name">{markup(method)}</span></th>{cells}</tr>')
    return (
        '<div class="means"><div><div class="scroll" tabindex="0" role="group" aria-label="Means"><table id="means">'
        f'<thead><tr><th scope="col" data-first="ascending"><button>method</button></th>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
        '<label class="check"><input type="checkbox" id="more"> median and standard deviation</label></div>'
        f'<div class="beside">{_remarks(scores, summary, differ=differ)}</div></div>'
    )


def _best(metric: Metric, spreads: Mapping[str, Mapping[str, Spread]]) -> float:
    values = [v for s in spreads.values() if not math.isnan(v := s[metric.name].mean)]
    return (max if metric.higher else min)(values, default=math.nan)


def _cell(spread: Spread, form: Digits, *, marked: bool, short: bool) -> str:
    if not spread.count:
        return f'<td data-v="NaN">{NONE}</td>'
    value = bare(spread.mean, 12)
    shown = f"<b>{form.write(spread.mean)}</b>" if marked else f"<span>{form.write(spread.mean)}</span>"
    lines, more = [], f'<small class="more">median {form.write(spread.median)}<br>std {form.write(spread.std)}</small>'
    if not math.isfinite(spread.mean):
        lines, more = [f"median {form.write(spread.median)}"], ""
    elif spread.count > 1:  # one value says nothing of where the mean lies
        lines.append(_between(spread.low, spread.high, form))
    if short or spread.count == 1:
        lines.append(counted(spread.count, "pair"))
    below = "".join(f"<small>{line}</small>" for line in lines)
    return f'<td data-v="{"NaN" if value is None else value}">{shown}{below}{more}</td>'


def _between(low: float, high: float, form: Digits) -> str:
    return NONE if math.isnan(low) else f"[{form.write(low)}, {form.write(high)}]"


def _remarks(scores: Scores, summary: Summary, *, differ: bool) -> str:
    lines = [
        "Mean of the pairs, and below it the interval in which it lies with "
        f"{CONFIDENCE:.0%} confidence (bootstrap of {RESAMPLES:,} resamples)."
        + (" Bold: the best mean." if len(scores.methods) > 1 else "")
        + " ↓&nbsp;less is closer to the reference, ↑&nbsp;more&nbsp;is."
    ]
    if differ:
        lines.append(
            "Not all means are over the same pairs."
            + (" The comparisons below are over those that both methods have." if summary.comparisons else "")
        )
    if any(math.isinf(s.mean) for some in summary.spreads.values() for s in some.values()):
        lines.append("∞: a value is infinite, as the PSNR of equal images is, and so is the mean.")
    return "".join(f'<p class="remark">{line}</p>' for line in lines)


def comparisons(scores: Scores, summary: Summary, digits: Sequence[Digits]) -> str:
    """Which method is closer, in words and as an interval, by metric; nothing where none were compared."""
    total = len(summary.comparisons)
    groups = []
    for metric, form in zip(scores.metrics, digits, strict=True):
        some = [c for c in summary.comparisons if c.metric == metric.name]
        if not some:
            continue
        edges = [v for c in some for v in (c.low, c.high, c.difference, 0.0) if math.isfinite(v)]
        low, high = min(edges), max(edges)
        lines = "".join(f"<li>{_sentence(c, form)}{_bar(c, low, high)}</li>" for c in some)
        is_open = " open" if total <= _MANY or not groups else ""
        groups.append(
            f'<details{is_open}><summary class="name">{markup(metric.name)}</summary><ul>{lines}</ul></details>'
        )
    if not groups:
        return ""
    chance = (
        " Of many comparisons some p are small by chance: one in twenty is below 0.05 where methods are equal. These "
        f"are {total:,}."
        if total > 1
        else ""
    )
    return (
        '<section id="comparisons"><h2>Which method is closer</h2><p class="remark">Compared pair by pair, over the '
        "pairs that both methods have. In brackets, where the mean difference lies with "
        f"{CONFIDENCE:.0%} confidence, drawn beside the upright line of no difference; p: how often signs drawn at "
        f"random give a difference as large.{chance}</p>"
        f'<div class="against">{"".join(groups)}</div></section>'
    )


def _sentence(c: Comparison, form: Digits) -> str:
    fine = _finer(c.low, c.high, form)
    better, worse = (f'<b class="name">{markup(name)}</b>' for name in (c.better, c.worse))
    metric = f'<span class="name">{markup(c.metric)}</span>'
    size = f"{fine.write(c.difference)} {_between(c.low, c.high, fine)}"
    ties = f", the same in {c.ties:,}" if c.ties else ""
    rest = f"in {c.wins:,} of {counted(c.count, 'pair')}{ties}, p&nbsp;=&nbsp;{c.p:.2g}"
    if c.low > 0 and c.p <= 1 - CONFIDENCE:
        return f"<p>{better} is closer than {worse} by {size} in {metric}, {rest}</p>"
    return (
        f'<p class="unclear">No difference is shown between {better} and {worse} in {metric}: '
        f"{markup(c.better)} is closer by {size}, {rest}</p>"
    )


def _finer(low: float, high: float, form: Digits) -> Digits:
    """Two digits of an interval's width, and up to two more to tell an end near 0 from it."""
    if form.after < 0 or high <= low:
        return form
    of_width = 1 - math.floor(math.log10(high - low))
    of_ends = max(-math.floor(math.log10(abs(end))) for end in (low, high) if end)
    return Digits(min(max(0, of_width, min(of_ends, of_width + 2)), form.after + 3))


def _bar(c: Comparison, low: float, high: float) -> str:
    """The interval on a line from the least to the largest of its metric, with a mark where it is 0."""
    size = (high - low) or 1.0
    zero, start, end, middle = (960 * (v - low) / size + 20 for v in (0.0, c.low, c.high, c.difference))
    clear = "" if c.low > 0 and c.p <= 1 - CONFIDENCE else " unclear"
    return (
        f'<svg class="bar{clear}" viewBox="0 0 1000 24" preserveAspectRatio="none" aria-hidden="true">'
        f'<path class="zero" d="M{zero:.1f} 0V24"/><path class="range" d="M{start:.1f} 12H{end:.1f}"/>'
        f'<path class="dot" d="M{middle:.1f} 12h0"/></svg>'
    )
