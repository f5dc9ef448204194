"""What was measured of many pairs as one HTML page that needs nothing beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from opsin.report.score_gallery import Pictures, Shown, gallery
from opsin.report.score_numbers import comparisons, means
from opsin.report.score_plots import plots
from opsin.report.score_script import SCRIPT
from opsin.report.score_style import STYLE
from opsin.report.score_words import Digits, arrow, bare, block, counted, digits_of, markup, plain
from opsin.scoring.results import Scores
from opsin.scoring.statistics import Summary

_ROWS = 20_000  # of the table of all pairs
_NAMES = 500  # of a list at the head

_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)


def score_page(
    scores: Scores,
    summary: Summary,
    shown: Sequence[Shown],
    *,
    title: str,
    heat_of: str = "",
    notes: Sequence[str] = (),
) -> str:
    """One HTML page: means, comparisons, distributions, pictures and the table of all pairs.

    Whatever names there are, the page can be written as UTF-8.

    Args:
        scores: what was measured.
        summary: what it comes to.
        shown: pairs to show with pictures.
        title: at the head.
        heat_of: the loss that the heat maps are of.
        notes: lines at the foot, small.
    """
    digits, pictures = digits_of(scores), Pictures()
    sections = {
        "summary": f'<section id="summary"><h2>Means</h2>{means(scores, summary, digits)}</section>',
        "comparisons": comparisons(scores, summary, digits),
        "distributions": plots(scores, summary, digits),
        "pictures": gallery(scores, shown, digits, pictures, heat_of=heat_of),
        "all": _all(scores, digits),
    }
    words = {"summary": "Means", "comparisons": "Comparisons", "all": "All pairs"}
    links = "".join(f'<a href="#{k}">{words.get(k, k.capitalize())}</a>' for k, content in sections.items() if content)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{markup(title)}</title><style>{STYLE}</style></head><body>"
        f"<header><h1>{markup(title)}</h1>{_head(scores)}"
        f'<nav aria-label="Sections">{links}</nav></header><main>{"".join(sections.values())}</main>'
        f"{_foot(scores, notes)}{_LARGE}{block('data', _data(scores, digits))}{block('uris', pictures.uris)}"
        f"<script>{SCRIPT}</script></body></html>\n"
    )


_LARGE = (
    '<dialog id="large" aria-label="Large picture"><div class="top"><button data-step="-1" aria-label="Previous">←'
    '</button><button data-step="1" aria-label="Next">→</button><span class="place" aria-live="polite"></span>'
    '<span class="hint">← → next picture · on the slider, Home and End show one alone</span>'
    '<button data-close autofocus>close</button></div><div class="body"></div></dialog>'
)


def _head(scores: Scores) -> str:
    parts = [
        counted(len(scores.pairs), "pair"),
        counted(len(scores.methods), "method"),
        counted(len(scores.metrics), "metric"),
    ]
    lists = [
        ("could not be measured", [(f"{scores.pairs[i].name} ({m})", why) for (i, m), why in scores.errors.items()]),
        ("missing", _named(scores.missing)),
        ("without a reference", _named(scores.extra)),
    ]
    gone = "".join(
        f"<details><summary>{len(found):,} {word}</summary><ul>{_items(found)}</ul></details>"
        for word, found in lists
        if found
    )
    return f'<p class="lead">{" · ".join(parts)}</p>{f"<div class=gone>{gone}</div>" if gone else ""}'


def _named(names: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    return [(f"{name} ({method})", "") for method, some in names.items() for name in some]


def _items(found: Sequence[tuple[str, str]]) -> str:
    lines = [
        f'<li><span class="name">{markup(name)}</span>{f": {markup(error)}" if error else ""}</li>'
        for name, error in found[:_NAMES]
    ]
    if len(found) > _NAMES:
        lines.append(f"<li>and {len(found) - _NAMES:,} more</li>")
    return "".join(lines)


def _all(scores: Scores, digits: Sequence[Digits]) -> str:
    """The table of all pairs, which the script fills."""
    head = "".join(
        f'<th scope="col" data-first="{"ascending" if m.higher else "descending"}">'
        f"<button>{markup(m.name)} <i>{arrow(m)}</i></button></th>"
        for m in scores.metrics
    )
    if scores.errors:
        head += '<th scope="col" class="error" data-first="descending"><button>error</button></th>'
    methods = "".join(f'<option value="{number}">{markup(m)}</option>' for number, m in enumerate(scores.methods))
    chosen = (
        f'<label>Method<select name="method"><option value="">all</option>{methods}</select></label>'
        if len(scores.methods) > 1
        else ""
    )
    total = sum(len(pair.distorted) for pair in scores.pairs)
    cut = (
        f'<p class="remark">Of {total:,} rows, these are the {_ROWS:,} that are worst by '
        f"{markup(scores.metrics[0].name)}.</p>"
        if total > _ROWS
        else ""
    )
    return (
        f'<section id="all"><h2>All pairs</h2>{cut}<div class="tools" id="rows-tools">{chosen}'
        '<label>Name<input type="search" name="find" placeholder="part of a name" autocomplete="off"></label></div>'
        '<p class="count" id="rows-count" aria-live="polite"></p>'
        '<div class="scroll" tabindex="0" role="group" aria-label="All pairs"><table id="rows"><thead><tr>'
        '<th scope="col" data-first="ascending"><button>name</button></th>'
        f'<th scope="col" data-first="ascending"><button>method</button></th>{head}</tr></thead><tbody></tbody></table>'
        '</div><button id="further" hidden></button>'
        '<noscript><p class="remark">The table and the pictures need JavaScript.</p></noscript></section>'
    )


def _data(scores: Scores, digits: Sequence[Digits]) -> dict[str, object]:
    """What the script needs.

    Keys: methods; digits and whether more is closer, of each metric; names, of the pairs by their numbers; rows, each
    the number of the pair, the number of the method and a value for each metric; errors, by the number of the row.
    """
    methods = list(enumerate(scores.methods))
    places = [(i, k) for i, pair in enumerate(scores.pairs) for k, method in methods if method in pair.distorted]
    if len(places) > _ROWS:
        places = _worst(scores, places)
    errors = {
        number: plain(error)
        for number, (i, k) in enumerate(places)
        if (error := scores.errors.get((i, scores.methods[k]))) is not None
    }
    return {
        "methods": list(map(plain, scores.methods)),
        "digits": [form.after for form in digits],
        "higher": [m.higher for m in scores.metrics],
        "names": {i: plain(scores.pairs[i].name) for i, _ in places},
        "rows": [[i, k, *map(bare, scores.values[i, k].tolist())] for i, k in places],
        "errors": errors,
    }


def _worst(scores: Scores, places: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The places of the worst values of the first metric, in their order; what was not measured is not among them."""
    values = np.array([scores.values[i, k, 0] for i, k in places])
    farness = np.where(np.isnan(values), -np.inf, -values if scores.metrics[0].higher else values)
    return [places[n] for n in sorted(np.argsort(-farness, kind="stable")[:_ROWS].tolist())]


def _foot(scores: Scores, notes: Iterable[str]) -> str:
    lines = "".join(f"<p>{markup(note)}</p>" for note in notes)
    full = markup(json.dumps(scores.signature, indent=2, ensure_ascii=False))
    return (
        f'<footer>{lines}<p class="name">{markup(str(scores.signature))}</p>'
        f"<details><summary>full signature</summary><pre>{full}</pre></details></footer>"
    )
