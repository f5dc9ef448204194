"""Pairs with their pictures, as HTML: a card each, with a slider from the reference to the result."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image

from opsin.report.score_words import Digits, arrow, bare, counted, markup
from opsin.scoring.results import Scores

_QUALITY = 88
_EXACT = 128 * 128  # pictures of so many pixels are enlarged: they are kept as they are
_FLAT = 1.4  # times as wide as high: two of them are larger one above the other than side by side
_COARSE = 192  # pixels of a side; smaller pictures are enlarged with their edges


class Shown(NamedTuple):
    """A pair that is shown with pictures.

    Attributes:
        number: of the pairin the scores.
        method: whose image it is.
        reference: RGB, at most about 512 pixels.
        distorted: of the same size.
        heat: the heat map laid over the image, of the same size; None if there is none.
        why: why it is shown, e.g. "worst of lpips-alex".
    """

    number: int
    method: str
    reference: Image.Image
    distorted: Image.Image
    heat: Image.Image | None
    why: tuple[str, ...]


class Pictures:
    """The pictures of a page, each of them once."""

    def __init__(self) -> None:
        self.uris: list[str] = []
        self._known: dict[tuple[tuple[int, int], bytes], int] = {}

    def add(self, picture: Image.Image) -> int:
        """The number of a picture."""
        picture = picture.convert("RGB")
        key = picture.size, picture.tobytes()
        if key not in self._known:
            self._known[key] = len(self.uris)
            file = io.BytesIO()
            small = picture.width * picture.height <= _EXACT
            picture.save(file, "WEBP", lossless=small, quality=_QUALITY)
            self.uris.append(f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}")
        return self._known[key]


def gallery(
    scores: Scores, shown: Sequence[Shown], digits: Sequence[Digits], pictures: Pictures, *, heat_of: str
) -> str:
    """The cards and what sorts and filters them; nothing without pictures."""
    if not shown:
        return ""
    there = {(one.number, one.method) for one in shown}
    cards = "".join(_card(scores, one, digits, pictures, there) for one in shown)
    heat = any(one.heat is not None for one in shown)
    of = f" of {markup(heat_of)}" if heat_of else ""
    legend = f" Heat maps are{of}: dark where both are close, bright where they are far." if heat else ""
    return (
        '<section id="pictures"><h2>Pictures</h2><p class="remark">Drag across a picture to wipe from the reference to '
        f"the result; click it to see it large.{legend}</p>{_tools(scores, shown, heat=heat)}"
        f'<p class="count" id="cards-count" aria-live="polite">{counted(len(shown), "picture")}</p>'
        f'<div class="cards" id="cards">{cards}</div></section>'
    )


def _tools(scores: Scores, shown: Sequence[Shown], *, heat: bool) -> str:
    sorts = "".join(
        f'<option value="{number} {way}">{markup(m.name)}: {way} first</option>'
        for number, m in enumerate(scores.metrics)
        for way in ("worst", "best")
    )
    present = {one.method for one in shown}
    methods = "".join(
        f'<option value="{number}">{markup(m)}</option>' for number, m in enumerate(scores.methods) if m in present
    )
    whys = [why for one in shown for why in one.why]
    whiches = [word for word in ("worst", "best") if any(why.startswith(word) for why in whys)]
    which = "".join(
        f'<button data-which="{word}" aria-pressed="{"false" if word else "true"}">{word or "all"}</button>'
        for word in ("", *whiches)
    )
    views = '<option value="wipe">wipe</option><option value="side">side by side</option>'
    views += '<option value="heat">heat map</option>' if heat else ""
    return (
        '<div class="tools" id="cards-tools">'
        f'<label>Sort<select name="sort"><option value="">as chosen</option>{sorts}</select></label>'
        + (
            f'<label>Method<select name="method"><option value="">all</option>{methods}</select></label>'
            if len(present) > 1
            else ""
        )
        + f'<label>View<select name="view">{views}</select></label>'
        '<label>Name<input type="search" name="find" placeholder="part of a name" autocomplete="off"></label>'
        + (f'<div class="choice" role="group" aria-label="Shown as">{which}</div>' if whiches else "")
        + "</div>"
    )


def _card(scores: Scores, one: Shown, digits: Sequence[Digits], pictures: Pictures, there: set[tuple[int, str]]) -> str:
    number = scores.methods.index(one.method)
    found = [float(v) for v in scores.values[one.number, number]]
    name = markup(scores.pairs[one.number].name)
    values = "".join(
        f"<div><dt>{markup(m.name)} <i>{arrow(m)}</i></dt><dd>{form.write(v)}</dd></div>"
        for m, form, v in zip(scores.metrics, digits, found, strict=True)
    )
    why = "".join(f"<li>{markup(reason)}</li>" for reason in one.why)
    words = " ".join(sorted({reason.split(" ", 1)[0] for reason in one.why}))
    return (
        f'<article class="card" data-pair="{one.number}" data-method="{number}" data-which="{markup(words)}" '
        f'data-values="{markup(json.dumps([bare(v) for v in found]))}">{_viewer(one, pictures)}'
        f'<div class="facts"><h3 class="name" title="{name}">{name}</h3>'
        f'<p class="of"><span class="m m{number % 8} name">{markup(one.method)}</span></p>'
        f"{f'<ul class=why>{why}</ul>' if why else ''}<dl>{values}</dl>{_others(scores, one, digits, there)}"
        "</div></article>"
    )


def _viewer(one: Shown, pictures: Pictures) -> str:
    width, height = one.reference.size
    coarse = " coarse" if max(width, height) <= _COARSE else ""
    flat = " flat" if width >= _FLAT * height else ""

    def picture(kind: str, image: Image.Image, caption: str) -> str:
        return (
            f'<img class="pic {kind}" data-picture="{pictures.add(image)}" width="{width}" height="{height}" '
            f'alt="{caption}" loading="lazy" draggable="false">'
            f'<span class="tag {kind}" aria-hidden="true">{caption}</span>'
        )

    method = markup(one.method)
    views = [("wipe", "wipe"), ("side", "side by side"), *([("heat", "heat map")] if one.heat is not None else [])]
    buttons = "".join(
        f'<button data-view="{view}" aria-pressed="{"true" if view == "wipe" else "false"}">{word}</button>'
        for view, word in views
    )
    return (
        f'<div class="viewer{flat}" data-shows="wipe" style="--r:{width / height:.4f}"><div class="stage{coarse}">'
        f"{picture('result', one.distorted, method)}{picture('reference', one.reference, 'reference')}"
        f"{picture('heat', one.heat, 'heat map') if one.heat is not None else ''}"
        '<div class="pic wiper"><input type="range" min="0" max="100" value="50" '
        'aria-label="How much of the reference is over the result, in percent"><span></span></div></div>'
        f'<div class="views"><div class="choice" role="group" aria-label="View">{buttons}</div>'
        '<button class="enlarge" data-open aria-label="Enlarge" title="Enlarge">⤢</button></div></div>'
    )


def _others(scores: Scores, one: Shown, digits: Sequence[Digits], there: set[tuple[int, str]]) -> str:
    """What all methods made of the same reference, for the large view; a button to each that is shown too."""
    if len(scores.methods) < 2:
        return ""
    head = "".join(f'<th scope="col">{markup(m.name)} <i>{arrow(m)}</i></th>' for m in scores.metrics)
    rows = []
    for number, method in enumerate(scores.methods):
        label = f'<span class="m m{number % 8} name">{markup(method)}</span>'
        if method == one.method:
            label = f'<span aria-current="true">{label}</span>'
        elif (one.number, method) in there:
            label = f'<button data-go="{one.number} {number}">{label}</button>'
        found = scores.values[one.number, number]
        cells = "".join(f"<td>{form.write(float(v))}</td>" for form, v in zip(digits, found, strict=True))
        rows.append(f'<tr{" class=on" if method == one.method else ""}><th scope="row">{label}</th>{cells}</tr>')
    return (
        '<div class="others"><h4>All methods on this pair</h4><div class="scroll"><table><thead><tr>'
        f'<th scope="col">method</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div></div>'
    )
