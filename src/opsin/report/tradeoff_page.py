"""The plot of perception against distortion as one HTML page: a plot for each distance, and the table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from opsin.report.drawing import font
from opsin.report.scatter import axis_of, leader, place_labels
from opsin.report.tradeoff import FILTERS, Point, drawn

# In units of the picture, which is as wide as a phone's screen or a half of a computer's; so is its type.
_WIDTH, _HEIGHT, _RADIUS, _TYPE = 440.0, 380.0, 6.0, 13
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 428.0, 12.0, 328.0
_BEST = ' class="best"'

_STYLE = """
:root{color-scheme:light dark;--ink:#1c1e22;--faint:#5f6570;--paper:#fff;--line:#e2e5ea;--accent:#c24a20}
@media(prefers-color-scheme:dark){:root{--ink:#eceef2;--faint:#a3a9b4;--paper:#16181c;--line:#32363d;--accent:#f08a5d}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:76rem;padding:1rem;background:var(--paper);color:var(--ink);
font:1rem/1.45 system-ui,sans-serif}
h1{font-size:1.5rem;font-weight:600;margin:.5rem 0}h2{font-size:1.05rem;font-weight:600;margin:0 0 .4rem}
p{max-width:46rem;color:var(--faint);margin:.5rem 0 1.2rem}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:1.5rem}
figure{margin:0;max-width:44rem}svg{display:block;width:100%;height:auto;font-size:13px;touch-action:manipulation}
svg text{fill:var(--ink)}svg .tick{fill:var(--faint);font-size:12px}svg text.better{fill:var(--accent)}
.grid{stroke:var(--line)}.axis,.leader{stroke:var(--faint);fill:none}.arrow{stroke:var(--accent);fill:none}
.point{cursor:pointer;outline:none}.point circle{fill:var(--accent);stroke:var(--paper);stroke-width:1.5}
.point.filter circle{fill:var(--paper);stroke:var(--faint);stroke-width:2}
.point.on .dot,.point:focus-visible .dot{stroke:var(--ink);stroke-width:2.5}
.point.on text{font-weight:700}
.said{min-height:1.5em;margin:.3rem 0 0;color:var(--ink);font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto;margin:1.8rem 0 1rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;white-space:nowrap}
th,td{text-align:right;padding:.35rem .9rem .35rem 0;border-bottom:1px solid var(--line);font-weight:400}
thead th{color:var(--faint)}th:first-child{text-align:left}td.best{font-weight:700}tr.on{background:var(--line)}
small{color:var(--faint);overflow-wrap:anywhere;display:block}
"""

# What is pointed at, tapped or reached by the keyboard says its numbers, and shows where it is everywhere.
_SCRIPT = """
const all=[...document.querySelectorAll('[data-model]')];
function show(model){
  for(const one of all)one.classList.toggle('on',one.dataset.model===model);
  for(const figure of document.querySelectorAll('figure')){
    const point=[...figure.querySelectorAll('.point')].find(p=>p.dataset.model===model);
    figure.querySelector('.said').textContent=point?point.getAttribute('aria-label'):'';
  }
}
for(const one of all)for(const event of ['pointerenter','focus','click'])
  if(one.tagName==='TR'||event==='focus')one.addEventListener(event,()=>show(one.dataset.model));
// A name is its model's; elsewhere it is the nearest point, of several that lie on each other.
for(const svg of document.querySelectorAll('svg'))for(const event of ['pointermove','click'])
  svg.addEventListener(event,e=>{
    const far=p=>{const b=p.querySelector('.dot').getBoundingClientRect();
      return Math.hypot(b.x+b.width/2-e.clientX,b.y+b.height/2-e.clientY)};
    const name=e.target.closest('.point text');
    if(name)return show(name.parentNode.dataset.model);
    const near=[...svg.querySelectorAll('.point')].sort((a,b)=>far(a)-far(b))[0];
    if(near&&far(near)<24)show(near.dataset.model);
  });
"""


def tradeoff_page(
    points: Mapping[str, Sequence[Point]],
    rows: Sequence[Mapping[str, str | float]],
    *,
    title: str,
    notes: Sequence[str] = (),
    higher: Sequence[str] = ("psnr", "ssim"),
) -> str:
    """One HTML page that needs nothing beside it.

    Args:
        points: distance -> a point for each model.
        rows: "model" and the mean of each metric; the table.
        title: at the head.
        notes: lines at the foot, small.
        higher: metrics of which more is better; of the others, less is.
    """
    plots = "".join(_figure(metric, some) for metric, some in points.items())
    foot = "".join(f"<small>{escape(note)}</small>" for note in notes)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>"
        "<p>To the right, pixels are closer to the photo's; further down, it looks closer to the photo, as a network "
        "sees it. Hollow: filters, no networks. Point at a model, or tap it, for its numbers.</p>"
        f'<div class="plots">{plots}</div>{_table(rows, higher)}{foot}<script>{_SCRIPT}</script></body></html>\n'
    )


def _figure(metric: str, points: Sequence[Point]) -> str:
    shown, left_out = drawn(points)
    across, upward = (axis_of(v or [0.0]) for v in ([p.psnr for p in shown], [p.distance for p in shown]))
    parts = []
    for tick in across.ticks:
        x = _LEFT + across.place(tick) * (_RIGHT - _LEFT)
        parts.append(f'<path class="grid" d="M{x:.1f} {_TOP}V{_BOTTOM}"/>')
        parts.append(_text(x, _BOTTOM + 17, across.label(tick), "middle", "tick"))
    for tick in upward.ticks:
        y = _BOTTOM - upward.place(tick) * (_BOTTOM - _TOP)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{_RIGHT}"/>')
        parts.append(_text(_LEFT - 6, y + 4, upward.label(tick), "end", "tick"))
    parts.append(f'<path class="axis" d="M{_LEFT} {_TOP}V{_BOTTOM}H{_RIGHT}"/>')
    parts.append(_text(_RIGHT, _HEIGHT - 12, "PSNR in dB: more is closer", "end"))
    middles = [
        (
            _LEFT + across.place(p.psnr) * (_RIGHT - _LEFT),
            _BOTTOM - upward.place(p.distance) * (_BOTTOM - _TOP),
        )
        for p in shown
    ]
    hint = (_RIGHT - 76, _BOTTOM - 46, _RIGHT - 6, _BOTTOM - 6)
    if any(hint[0] - 14 < x and hint[1] - 14 < y for x, y in middles):
        hint = (hint[0], _TOP + 6, hint[2], _TOP + 46)
    x, y = hint[:2]
    parts.append(_text(x, y + 12, "better", "start", "better"))
    parts.append(f'<path class="arrow" d="M{x + 38} {y + 18}L{x + 66} {y + 34}M{x + 57} {y + 35}h9l-4 -8"/>')
    # The reader's typeface may be wider than ours.
    sizes = [(1.12 * font(_TYPE).getlength(p.model), _TYPE + 3.0) for p in shown]
    boxes = place_labels(middles, sizes, (_LEFT + 3, _TOP, _RIGHT, _BOTTOM - 3), radius=_RADIUS, taken=[hint])
    for middle, box in zip(middles, boxes, strict=True):
        if (end := leader(middle, box, _RADIUS)) is not None:
            parts.append(f'<path class="leader" d="M{middle[0]:.1f} {middle[1]:.1f}L{end[0]:.1f} {end[1]:.1f}"/>')
    for p, (x, y), box in zip(shown, middles, boxes, strict=True):
        said = escape(f"{p.model}: {p.psnr:.2f} dB, {metric} {p.distance:.4f}", quote=True)
        # On the side of its point, a label stays beside it whatever typeface there is.
        left = box[2] < x
        parts.append(
            f'<g class="point{" filter" if p.model in FILTERS else ""}" data-model="{escape(p.model, quote=True)}" '
            f'tabindex="0" role="img" aria-label="{said}">'
            f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{_RADIUS}"/>'
            + _text(box[2] if left else box[0], box[3] - 4, p.model, "end" if left else "start")
            + "</g>"
        )
    gone = "".join(f"<small>{escape(line)}</small>" for line in left_out)
    return (
        f"<figure><h2>{escape(metric)}: less is closer</h2>"
        f'<svg viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="group" aria-label="PSNR and {escape(metric, quote=True)}">'
        f'{"".join(parts)}</svg><div class="said" aria-live="polite"></div>{gone}</figure>'
    )


def _text(x: float, y: float, content: str, anchor: str, kind: str = "") -> str:
    chosen = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{chosen}>{escape(content)}</text>'


def _table(rows: Sequence[Mapping[str, str | float]], higher: Sequence[str]) -> str:
    metrics = [name for name in (rows[0] if rows else {}) if name != "model"]
    best = {}
    for metric in metrics:
        values = [float(row[metric]) for row in rows if not math.isnan(float(row[metric]))]
        if values:
            best[metric] = (max if metric in higher else min)(values)
    head = "".join(f'<th scope="col">{escape(m)} {"↑" if m in higher else "↓"}</th>' for m in metrics)
    body = []
    for row in rows:
        cells = "".join(
            f"<td{_BEST if float(row[m]) == best.get(m) else ''}>{float(row[m]):.{2 if m == 'psnr' else 4}f}</td>"
            for m in metrics
        )
        name = str(row["model"])
        body.append(f'<tr data-model="{escape(name, quote=True)}"><th scope="row">{escape(name)}</th>{cells}</tr>')
    return (
        f'<div class="scroll" tabindex="0"><table><thead><tr><th scope="col">model</th>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )
