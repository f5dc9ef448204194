"""docs/images/benchmarks.png out of what the benchmarks measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from page import machine
from PIL import Image, ImageDraw

from opsin.report.drawing import ACCENT, FAINT, INK, LINE, PAPER, font, number, text, wrap

_PANEL, _GAP, _MARGIN, _HEADER = 840, 70, 50, 170
_LABEL, _ROW, _BAR, _TITLE = 250, 46, 30, 92
_PEER = (188, 194, 204)


@dataclass(frozen=True)
class Bar:
    """One bar: a contestant's name, its amount, what is written behind it, and what it should not exceed."""

    name: str
    amount: float | None
    label: str
    praise: str = ""
    asked: float | None = None


@dataclass(frozen=True)
class Panel:
    """The bars of one benchmark."""

    title: str
    what: str
    bars: Sequence[Bar]

    @property
    def height(self) -> int:
        return _TITLE + _ROW * len(self.bars)


def picture(results: Sequence[Mapping[str, Any]]) -> Image.Image:
    """All benchmarks in two columns; shorter bars are better."""
    panels = [panel for result in results for panel in _panels(result)]
    columns = [panels[: (len(panels) + 1) // 2], panels[(len(panels) + 1) // 2 :]]
    rows = [max(p.height for p in pair) for pair in _zipped(columns)]
    on = machine(results)
    note = f"{on['CPU']}, threads: {on['threads']}, {on['vectors']}; {on['versions']}. Medians of interleaved rounds."
    width = 2 * _MARGIN + 2 * _PANEL + _GAP
    notes = wrap(note, width - 2 * _MARGIN, 18)
    height = _HEADER + sum(rows) + _GAP * len(rows) + 26 * len(notes) + 14
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    text(draw, (_MARGIN, 36), "What a perceptual loss costs on a CPU", 42)
    _legend(draw, (_MARGIN, 112))
    y = _HEADER
    for i, pair in enumerate(_zipped(columns)):
        for x, panel in zip((_MARGIN, _MARGIN + _PANEL + _GAP), pair, strict=False):
            _draw(draw, x, y, panel)
        y += rows[i] + _GAP
    for i, line in enumerate(notes):
        text(draw, (_MARGIN, y + 26 * i - 24), line, 18, FAINT)
    return sheet


def _zipped(columns: Sequence[Sequence[Panel]]) -> list[list[Panel]]:
    """Panels side by side; the last may stand alone."""
    return [[column[i] for column in columns if i < len(column)] for i in range(len(columns[0]))]


def _panels(result: Mapping[str, Any]) -> Iterable[Panel]:
    """Seconds, and memory where it is asked for."""
    quantities = {goal["quantity"] for goal in result["goals"]}
    rows = [row for row in result["rows"] if row["competes"]]
    peer = next((row for row in rows if row["name"] == result["fastest_peer"]), None)
    added = quantities == {"seconds"}
    yield Panel(
        result["title"], f"{result['what']}: seconds", [_time(row, result["goals"], peer, added) for row in rows]
    )
    if "memory" in quantities:
        yield Panel(
            result["title"], f"{result['what']}: peak memory", [_memory(row, result["goals"], peer) for row in rows]
        )


def _time(
    row: Mapping[str, Any], goals: Sequence[Mapping[str, Any]], peer: Mapping[str, Any] | None, added: bool
) -> Bar:
    """`added`: whether the seconds come on top of something that all have."""
    if row["skipped"]:
        return Bar(row["name"], None, row["skipped"])
    limits = {g["quantity"]: g["asked"] for g in goals if g["row"] == row["name"]}
    asked = limits.get("seconds")
    if "speed" in limits and peer is not None:
        asked = peer["median"] / limits["speed"]
    label = f"{'+' if added else ''}{number(row['median'])} s"
    praise = f"{row['speed']:.1f} times as fast" if row["speed"] is not None and _is_ours(row) else ""
    return Bar(row["name"], row["median"], label, praise, asked)


def _memory(row: Mapping[str, Any], goals: Sequence[Mapping[str, Any]], peer: Mapping[str, Any] | None) -> Bar:
    if row["skipped"]:
        return Bar(row["name"], None, row["skipped"])
    if row["peak_bytes"] is None:
        return Bar(row["name"], None, "not measured")
    limits = [g["asked"] for g in goals if g["row"] == row["name"] and g["quantity"] == "memory"]
    compared = peer["peak_bytes"] if peer is not None else None
    asked = compared / limits[0] if limits and compared else None
    praise = f"{1 / row['memory']:.2f} of the fastest peer's" if row["memory"] is not None and _is_ours(row) else ""
    return Bar(row["name"], row["peak_bytes"], f"{number(row['peak_bytes'] / 2**30)} GiB", praise, asked)


def _is_ours(row: Mapping[str, Any]) -> bool:
    return row["name"].startswith("opsin")


def _draw(draw: ImageDraw.ImageDraw, x: int, y: int, panel: Panel) -> None:
    text(draw, (x, y), panel.title, 28)
    text(draw, (x, y + 40), panel.what.replace("×", " x "), 20, FAINT)  # Pillow's typeface has no ×
    left = x + _LABEL
    scale = min((_room(bar) / _end(bar) for bar in panel.bars if _end(bar)), default=1.0)
    for i, bar in enumerate(panel.bars):
        ours = bar.name.startswith("opsin")
        upper = y + _TITLE + _ROW * i
        middle = upper + _BAR // 2
        text(draw, (left - 16, middle), bar.name, 20, INK if ours else FAINT, anchor="rm")
        start = left + round(scale * _end(bar)) + 14
        if bar.amount is not None:
            end = left + max(2, round(scale * bar.amount))
            draw.rectangle((left, upper, end, upper + _BAR), fill=ACCENT if ours else _PEER)
        if bar.asked is not None:
            tick = left + round(scale * bar.asked)
            draw.line((tick, upper - 5, tick, upper + _BAR + 5), fill=INK, width=3)
        text(draw, (start, middle), bar.label, 20, INK if ours else FAINT, anchor="lm")
        text(draw, (start + _width(f"{bar.label}  "), middle), bar.praise, 20, ACCENT, anchor="lm")
    draw.line((left, y + _TITLE - 8, left, y + panel.height - _ROW + _BAR + 8), fill=LINE, width=2)


def _end(bar: Bar) -> float:
    """How far a bar reaches, with the mark of what was asked."""
    return max(bar.amount or 0.0, bar.asked or 0.0)


def _room(bar: Bar) -> float:
    """Pixels that a bar may have, so that what is written behind it fits."""
    return _PANEL - _LABEL - 14 - _width(f"{bar.label}  {bar.praise}")


def _width(content: str) -> float:
    return font(20).getlength(content)


def _legend(draw: ImageDraw.ImageDraw, position: tuple[int, int]) -> None:
    x, y = position
    for colour, words in ((ACCENT, "opsin"), (_PEER, "its peers")):
        draw.rectangle((x, y, x + 22, y + 22), fill=colour)
        text(draw, (x + 34, y + 11), words, 20, FAINT, anchor="lm")
        x += 60 + round(_width(words))
    draw.line((x + 4, y - 3, x + 4, y + 25), fill=INK, width=3)
    text(draw, (x + 20, y + 11), "what was asked of opsin. Shorter is better.", 20, FAINT, anchor="lm")
