"""The perception-distortion plot as a page: any of the distances, numbers at a touch, and the table of means."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

from opsin.report.drawing import ACCENT, FAINT, INK, LINE
from opsin.report.tradeoff import FILTERS, Plot, Point, arrange

_WIDTH, _HEIGHT = 760, 480
_BOX = (76.0, 40.0, 736.0, 416.0)

_STYLE = f"""
:root {{ color: rgb{INK}; font: 16px/1.45 system-ui, sans-serif; }}
body {{ margin: 0 auto; max-width: 60rem; padding: 1rem; }}
h1 {{ font-size: 1.4rem; margin: .2rem 0 .8rem; }}
label, .note, caption {{ color: rgb{FAINT}; }}
select {{ font: inherit; padding: .2rem .4rem; max-width: 100%; }}
svg {{ width: 100%; height: auto; }} svg[hidden] {{ display: none; }}
svg text {{ font: 15px system-ui, sans-serif; fill: rgb{INK}; }}
svg .faint, svg .filter text {{ fill: rgb{FAINT}; }}
svg line {{ stroke: rgb{LINE}; }} svg line.axis, svg path.arrow {{ stroke: rgb{FAINT}; fill: none; }}
svg circle {{ fill: rgb{ACCENT}; }} svg .filter circle {{ fill: rgb{FAINT}; }}
svg polyline {{ fill: none; stroke: #eec4b2; stroke-width: 3; }}
svg g.mark:focus {{ outline: none; }}
svg g.mark:focus circle, svg g.mark:hover circle {{ stroke: rgb{INK}; stroke-width: 3; }}
#said {{ min-height: 1.5em; font-variant-numeric: tabular-nums; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }}
th, td {{ padding: .3rem .7rem; border-bottom: 1px solid rgb{LINE}; text-align: right; }}
th:first-child, td:first-child {{ text-align: left; }}
th button {{ all: unset; cursor: pointer; }} th button:focus-visible {{ outline: 2px solid rgb{ACCENT}; }}
td.best {{ font-weight: 600; }}
.note {{ font-size: .8rem; overflow-wrap: anywhere; }}
@media (max-width: 40rem) {{ svg text {{ font-size: 21px; }} }}
"""

_SCRIPT = """
const chosen = document.getElementById("metric"), said = document.getElementById("said");
const show = () => document.querySelectorAll("svg").forEach(
  plot => plot.toggleAttribute("hidden", plot.dataset.metric !== chosen.value));
chosen.addEventListener("change", () => { show(); said.textContent = ""; });
document.querySelectorAll("g.mark").forEach(mark => {
  const tell = () => { said.textContent = mark.querySelector("title").textContent; };
  ["mouseenter", "focus", "click"].forEach(event => mark.addEventListener(event, tell));
});
document.querySelectorAll("th button").forEach((button, column) => button.addEventListener("click", () => {
  const body = document.querySelector("tbody"), down = button.dataset.down !== "1";
  const value = row => row.cells[column].dataset.value;
  const order = (a, b) => column ? value(a) - value(b) : value(a).localeCompare(value(b));
  [...body.rows].sort((a, b) => (down ? -1 : 1) * order(a, b)).forEach(row => body.append(row));
  button.dataset.down = down ? "1" : "0";
}));
show();
"""


def tradeoff_page(
    points: Mapping[str, Sequence[Point]],
    rows: Sequence[Mapping[str, Any]],
    *,
    title: str,
    notes: Sequence[str] = (),
    higher: Sequence[str] = ("psnr", "ssim"),
) -> str:
    """One page that needs no other file and no network.

    Args:
        points: for each perceptual distance the models' places; the last one is shown first.
        rows: of the table: "model" and its means by metric, the same in all.
        title: what is shown.
        notes: lines at the foot.
        higher: metrics of which more is better.
    """
    first = list(points)[-1]
    options = "".join(
        f'<option value="{_safe(name)}"{" selected" if name == first else ""}>{_safe(name)}</option>' for name in points
    )
    plots = "\n".join(_svg(metric, found, shown=metric == first) for metric, found in points.items())
    foot = "".join(f'<p class="note">{_safe(note)}</p>' for note in notes)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_safe(title)}</title>
<link rel="icon" href="data:,">
<style>{_STYLE}</style>
</head>
<body>
<h1>{_safe(title)}</h1>
<p><label for="metric">Perceptual distance</label> <select id="metric">{options}</select></p>
{plots}
<p id="said" role="status"></p>
<div class="wide">{_table(rows, higher)}</div>
{foot}
<script>{_SCRIPT}</script>
</body>
</html>
"""


def _svg(metric: str, points: Sequence[Point], *, shown: bool) -> str:
    plot = arrange(points, _BOX, lambda name: 8.5 * len(name))
    left, top, right, bottom = _BOX
    parts = [*_axes(plot)]
    parts.append(
        f'<text class="faint" x="{(left + right) / 2}" y="{bottom + 54}" text-anchor="middle">PSNR on Y, dB</text>'
    )
    # Over the plot: in the corner it would lie on the best of all.
    parts.append(f'<path class="arrow" d="M{right - 16} {top - 24}l14 14m-9 0h9v-9"/>')
    parts.append(f'<text class="faint" x="{right - 24}" y="{top - 10}" text-anchor="end">better</text>')
    parts.append(f'<text class="faint" x="4" y="{top - 10}">{_safe(metric)}</text>')
    if len(plot.front) > 1:
        parts.append(f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in plot.front)}"/>')
    for mark in plot.marks:
        anchor = {"left": "end", "right": "start", "middle": "middle"}[mark.side]
        name = _safe(mark.point.name)
        told = f"{name}: PSNR {mark.point.psnr:.2f} dB, {_safe(metric)} {mark.point.distance:.4f}"
        kind = "mark filter" if mark.point.name in FILTERS else "mark"
        parts.append(
            f'<g class="{kind}" tabindex="0" role="img" aria-label="{told}"><title>{told}</title>'
            f'<circle cx="{mark.x:.1f}" cy="{mark.y:.1f}" r="8"/>'
            f'<text x="{mark.tx:.1f}" y="{mark.ty + 5:.1f}" text-anchor="{anchor}">{name}</text></g>'
        )
    hidden = "" if shown else " hidden"
    return (
        f'<svg data-metric="{_safe(metric)}" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="group" '
        f'aria-label="PSNR against {_safe(metric)}"{hidden}>\n' + "\n".join(parts) + "\n</svg>"
    )


def _axes(plot: Plot) -> list[str]:
    left, top, right, bottom = _BOX
    parts = []
    for tick in plot.x.ticks:
        x = plot.x.place(tick)
        parts.append(f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}"/>')
        label = plot.x.label(tick)
        parts.append(f'<text class="faint" x="{x:.1f}" y="{bottom + 24}" text-anchor="middle">{label}</text>')
    for tick in plot.y.ticks:
        y = plot.y.place(tick)
        parts.append(f'<line x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
        label = plot.y.label(tick)
        parts.append(f'<text class="faint" x="{left - 8}" y="{y + 5:.1f}" text-anchor="end">{label}</text>')
    parts.append(f'<line class="axis" x1="{left}" y1="{bottom}" x2="{right}" y2="{bottom}"/>')
    parts.append(f'<line class="axis" x1="{left}" y1="{top}" x2="{left}" y2="{bottom}"/>')
    return parts


def _table(rows: Sequence[Mapping[str, Any]], higher: Sequence[str]) -> str:
    metrics = [name for name in rows[0] if name != "model"]
    heads = "".join(
        f'<th scope="col"><button type="button">{_safe(name)}{_arrow(name, higher)}</button></th>'
        for name in ("model", *metrics)
    )
    best = {name: (max if name in higher else min)(row[name] for row in rows) for name in metrics}
    lines = []
    for row in rows:
        cells = [f'<td data-value="{_safe(str(row["model"]))}">{_safe(str(row["model"]))}</td>']
        for name in metrics:
            marked = ' class="best"' if row[name] == best[name] else ""
            shown = f"{row[name]:.2f}" if name == "psnr" else f"{row[name]:.4f}"
            cells.append(f"<td{marked} data-value={json.dumps(str(float(row[name])))}>{shown}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    body = "\n".join(lines)
    return f"<table><thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"


def _arrow(name: str, higher: Sequence[str]) -> str:
    if name == "model":
        return ""
    return " ↑" if name in higher else " ↓"


def _safe(content: str) -> str:
    return html.escape(content, quote=True)
