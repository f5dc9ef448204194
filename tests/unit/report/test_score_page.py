"""The page of scores: whatever names there are it is whole, it says what was measured, and it works in a browser."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from opsin.report.score_page import Shown, score_page
from opsin.results import Signature
from opsin.scoring.results import Metric, Pair, Scored, Scores
from opsin.scoring.statistics import summarize

INF, NAN = float("inf"), float("nan")
HOSTILE = "</script><script>alert(1)</script>\"'&<!--\udcff\u2028.png"
SIGNATURE = Signature(opsin="1", networks={}, terms={}, torch="2", url="https://example.org/</script>")
LPIPS, PSNR = Metric("lpips-alex"), Metric("psnr", higher=True)

Values = Mapping[str, Sequence[Sequence[float]]]


def scores_of(values: Values, metrics: Sequence[Metric] = (LPIPS, PSNR), **more: Any) -> Scores:
    """Method -> for each pair a value for each metric; a pair without values has no image."""
    number = max(map(len, values.values()))
    pairs = [
        Pair(f"p{i}.png", f"r/p{i}.png", {m: f"{m}/p{i}.png" for m, some in values.items() if some[i : i + 1] != [()]})
        for i in range(number)
    ]
    scores = Scores(pairs, list(values), metrics, SIGNATURE, **more)
    for i in range(number):
        scores.add(Scored(i, {m: some[i] for m, some in values.items() if i < len(some) and len(some[i])}, {}))
    return scores


def many(number: int = 30) -> Scores:
    rng = np.random.default_rng(0)
    base = rng.random((number, 1)) * [0.3, -10.0] + [0.2, 30.0]
    near = base + rng.normal(0, 1, base.shape) * [0.01, 0.5]
    return scores_of({"alpha": near.tolist(), "beta": np.add(base, [0.1, -2.0]).tolist()})


def photo(seed: int, size: tuple[int, int] = (48, 32)) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def shown_of(scores: Scores, number: int = 3) -> list[Shown]:
    return [
        Shown(
            i, method, *(photo(n, (48, 32 + 16 * (i == 2))) for n in (i, 100 * k + i + 50)), heat, (f"{why} of psnr",)
        )
        for i, why in zip(range(number), ("worst", "best", "random") * number, strict=False)
        for k, method in enumerate(scores.methods)
        for heat in [photo(i + 10, (48, 32 + 16 * (i == 2))) if k else None]
    ]


def page(scores: Scores, shown: Sequence[Shown] = (), **more: Any) -> str:
    return score_page(scores, summarize(scores), shown, **{"title": "Scores", **more})


class Tags(HTMLParser):
    """Whether all is closed, what there is, and what a reader reads."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.data: dict[str, Any] = {}
        self._id: str | None = None
        self.feed(content)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        self._id = dict(attrs).get("id") if tag == "script" else None
        if tag not in ("meta", "link", "input", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            if self._id:
                self.data[self._id] = json.loads(data)
        elif self.open[-1:] != ["style"]:
            self.words.append(data)

    def all(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        return [a for t, a in self.seen if t == tag and all(a.get(k) == v for k, v in wanted.items())]

    @property
    def said(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))


# --- whole, alone, and nothing but text


def hostile() -> tuple[Scores, list[Shown]]:
    pairs = [Pair(HOSTILE, "r", {HOSTILE: "d"}), Pair("ok", "r", {HOSTILE: "d"})]
    metric = Metric("<b>&\"m'")
    gone = {HOSTILE: [HOSTILE]}
    scores = Scores(pairs, [HOSTILE, "other"], [metric], SIGNATURE, missing=gone, extra=gone)
    scores.add(Scored(0, {HOSTILE: [0.5], "other": [0.25]}, {}))
    scores.add(Scored(1, {}, {HOSTILE: f"cannot be read: {HOSTILE}"}))
    return scores, [Shown(0, HOSTILE, photo(0), photo(1), photo(2), (f"worst of {HOSTILE}",))]


def test_hostile_names_are_text() -> None:
    scores, shown = hostile()
    content = page(scores, shown, title=HOSTILE, heat_of=HOSTILE, notes=[HOSTILE])
    content.encode("utf-8")  # a surrogate would not do
    tags = Tags(content)
    assert len(tags.all("script")) == 3
    assert "alert" not in "".join(str(a) for t, a in tags.seen if t == "script")
    spelled = HOSTILE.replace("\udcff", "\\udcff")
    assert tags.all("h3", title=spelled)
    assert tags.data["data"]["names"]["0"] == spelled
    assert tags.data["data"]["methods"][0] == spelled
    assert tags.data["data"]["errors"] == {"1": f"cannot be read: {spelled}"}
    for start in re.findall(r'<script type="application/json" id="\w+">(.*?)</script>', content, re.DOTALL):
        assert "<" not in start
    assert "worst of </script>" in tags.said and "1 could not be measured" in tags.said


def test_the_page_is_alone() -> None:
    content = page(many(), shown_of(many()), notes=["a note"])
    without = content.replace(json.dumps(SIGNATURE["url"])[1:-1].replace("<", "&lt;").replace(">", "&gt;"), "")
    assert not re.search(r"https?://|@import|url\(", without)
    tags = Tags(content)
    assert all(a["href"] == "data:," for a in tags.all("link"))
    assert all(str(a["href"]).startswith("#") for a in tags.all("a"))
    assert not [a for _, a in tags.seen if "src" in a or any(name.startswith("on") for name in a)]
    (policy,) = tags.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert str(policy["content"]).startswith(
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    )
    assert all(uri.startswith("data:image/webp;base64,") for uri in tags.data["uris"])
    assert "a note" in tags.said and f"id {SIGNATURE.id}" in tags.said
    assert json.dumps(SIGNATURE["url"]) in tags.said


def test_the_same_again() -> None:
    assert page(many(), shown_of(many())) == page(many(), shown_of(many()))


def test_links_and_controls_lead_somewhere() -> None:
    tags = Tags(page(many(), shown_of(many())))
    ids = {a["id"] for _, a in tags.seen if "id" in a}
    links = [str(a["href"])[1:] for a in tags.all("a")]
    assert links == ["summary", "comparisons", "distributions", "pictures", "all"]
    assert set(links) <= ids
    assert all(a.get("aria-label") for a in tags.all("input", type="range"))


# --- what it says


def test_the_table_of_all_pairs_is_data() -> None:
    scores = scores_of({"a": [[0.125, 30.0], [0.25, INF], ()], "b": [[NAN, 29.123456789], (), [0.5, -INF]]})
    scores.add(Scored(1, {}, {"a": "too small"}))
    data = Tags(page(scores)).data["data"]
    assert data["rows"] == [
        *([0, 0, 0.125, 30.0], [0, 1, None, 29.1235]),
        *([1, 0, 0.25, "Infinity"], [2, 1, 0.5, "-Infinity"]),
    ]
    assert data["names"] == {"0": "p0.png", "1": "p1.png", "2": "p2.png"}
    assert data["errors"] == {"2": "too small"}
    assert (data["methods"], data["higher"]) == (["a", "b"], [False, True])


def test_of_very_many_rows_the_worst_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opsin.report.score_page._ROWS", 3)
    values = [[0.1], [0.5], [NAN], [0.3], [0.4], [0.2]]
    tags = Tags(page(scores_of({"a": values}, [LPIPS])))
    assert [row[0] for row in tags.data["data"]["rows"]] == [1, 3, 4]
    assert set(tags.data["data"]["names"]) == {"1", "3", "4"}
    assert "Of 6 rows, these are the 3 that are worst by lpips-alex" in tags.said
    tags = Tags(page(scores_of({"a": values}, [Metric("ssim", higher=True)])))
    assert [row[0] for row in tags.data["data"]["rows"]] == [0, 3, 5]


def test_means_and_the_best_of_each_column() -> None:
    content = page(scores_of({"a": [[0.1, 30.0], [0.2, 31.0]], "b": [[0.2, 32.0], [0.3, 32.0]]}))
    assert re.findall(r"<td data-v=[^>]*><b>([^<]*)", content) == ["0.1500", "32.00"]
    assert "[0.1000, 0.2000]" in content and "median 0.2500<br>std 0.0707" in content
    assert "<button>pairs</button>" not in content
    content = page(scores_of({"a": [[0.1, 30.0], [0.2, 31.0]], "b": [[0.2, 32.0], ()]}))
    assert "<button>pairs</button>" in content
    assert "Not all means are over the same pairs" in content
    assert "<b>" not in page(scores_of({"a": [[0.1, 30.0]]})), "the only one is not the best"


def test_digits_fit_the_values() -> None:
    tags = Tags(page(scores_of({"a": [[0.123456, 31.23456, 1234.5, 1e-9]]}, [LPIPS, PSNR, Metric("m"), Metric("n")])))
    assert all(value in tags.said for value in ("0.1235", "31.23", "1234", "1.000e-09"))
    assert tags.data["data"]["digits"] == [4, 2, 0, -1]


def test_comparisons_in_words() -> None:
    said = Tags(page(many(), title="x")).said
    found = re.search(r"alpha is closer than beta by 0\.\d+ \[0\.\d+, 0\.\d+\] in lpips-alex, in 30 of 30 pairs", said)
    assert found and "p = 0.0005" in said
    assert "These are 2." in said
    noise = np.random.default_rng(1).normal(0, 0.1, (40, 2, 1)) + 1
    said = Tags(page(scores_of({"a": noise[:, 0].tolist(), "b": noise[:, 1].tolist()}, [LPIPS]))).said
    assert re.search(r"No difference is shown between [ab] and [ab] in lpips-alex: [ab] is closer by 0\.", said)
    assert 'id="comparisons"' not in page(scores_of({"a": [[0.1]]}, [LPIPS]))


@pytest.mark.parametrize(
    ("least", "written"), [(-0.004, "-0.004, 0.400"), (0.0, "0.00, 0.40"), (-1e-9, "0.0000, 0.4000")]
)
def test_on_which_side_of_0_an_interval_ends(least: float, written: str) -> None:
    """Of two pairs the ends are the two differences themselves."""
    said = Tags(page(scores_of({"a": [[0.5], [0.5]], "b": [[0.5 + least], [0.9]]}, [LPIPS]))).said
    assert f"[{written}" in said, re.findall(r"\[.*?\]", said)


def test_what_is_not_finite_is_not_drawn() -> None:
    scores = scores_of({"a": [[0.1, INF], [0.2, 30.0], [0.3, INF]], "b": [[NAN, NAN], [0.2, 31.0], ()]})
    content = page(scores)
    said = Tags(content).said
    assert "Not drawn: a: 2 infinite; b: 1 not measured." in said
    assert "Not drawn: b: 1 not measured." in said
    assert "∞" in said and "median ∞" in said
    assert not re.search(r'd="[^"]*(nan|inf)', content)
    nothing = page(scores_of({"a": [[NAN, INF]]}))
    assert "nothing to draw" not in nothing and "1 infinite" in nothing


def count(content: str, kind: str) -> int:
    section = re.search(r'id="distributions".*?</section>', content, re.DOTALL)
    assert section
    return section[0].count(f'<path class="{kind}"')


@pytest.mark.parametrize(
    ("number", "dots", "density"), [(1, 1, 0), (3, 3, 0), (60, 60, 0), (61, None, 1), (5000, None, 1)]
)
def test_plots_of_any_number_of_values(number: int, dots: int | None, density: int) -> None:
    values = np.random.default_rng(0).normal(30, 3, (number, 1))
    content = page(scores_of({"a": values.tolist()}, [PSNR]))
    assert count(content, "density") == density
    assert count(content, "mean") == 1
    assert count(content, "dot") <= 16 if dots is None else count(content, "dot") == dots
    assert len(content) < 60_000 + 40 * number


def test_plots_of_equal_values_and_of_many() -> None:
    for number in (2, 400):
        content = page(scores_of({"a": [[0.0]] * number, "b": [[0.5]] * number}, [LPIPS]))
        assert not re.search(r'd="[^"]*(nan|inf)', content)
        Tags(content)


def test_points_are_where_their_values_are() -> None:
    content = page(scores_of({"a": [[10.0], [20.0]], "b": [[40.0], [30.0]]}, [PSNR]))
    places = {int(i): float(x) for i, x in re.findall(r'class="dot" data-pair="(\d)" d="M([\d.]+)', content)[:2]}
    others = {int(i): float(x) for i, x in re.findall(r'class="dot" data-pair="(\d)" d="M([\d.]+)', content)[2:]}
    step = places[1] - places[0]
    assert step > 0
    assert (others[1] - places[0], others[0] - places[0]) == pytest.approx((2 * step, 3 * step), abs=0.2)


def test_what_could_not_be_measured_is_listed() -> None:
    names = [f"n{i}" for i in range(600)]
    scores = scores_of({"a": [[0.1, 30.0]]}, missing={"a": names}, extra={"a": ["stray"]})
    said = Tags(page(scores)).said
    assert "600 missing" in said and "n499 (a)" in said and "n500 (a)" not in said and "and 100 more" in said
    assert "1 without a reference" in said and "stray (a)" in said
    assert "<summary>0" not in page(scores_of({"a": [[0.1, 30.0]]}))


# --- pictures


def test_each_picture_is_there_once() -> None:
    scores = many()
    tags = Tags(page(scores, shown_of(scores, 3)))
    # Three references that both methods share, six results, three maps.
    assert len(tags.data["uris"]) == len(set(tags.data["uris"])) == 12
    first, second = (int(str(a["data-picture"])) for a in tags.all("img", alt="reference")[:2])
    assert first == second
    assert len(tags.all("article")) == 6
    assert len(tags.all("img", alt="heat map")) == 3


def test_small_pictures_are_exact() -> None:
    scores = many()
    tags = Tags(page(scores, [Shown(0, "alpha", photo(0), photo(1), None, ())]))
    for alt, seed in (("reference", 0), ("alpha", 1)):
        (image,) = tags.all("img", alt=alt)
        data = base64.b64decode(tags.data["uris"][int(str(image["data-picture"]))].split(",")[1])
        assert Image.open(io.BytesIO(data)).convert("RGB").tobytes() == photo(seed).tobytes()


def test_cards_say_what_is_known() -> None:
    scores = many()
    content = page(scores, shown_of(scores, 1), heat_of="vgg19")
    said = Tags(content).said
    assert "Heat maps are of vgg19" in said
    assert "worst of psnr" in said
    value = float(scores.values[0, 0, 0])
    assert f"<dd>{value:.4f}</dd>" in content
    assert 'data-go="0 1"' in content, "the other method's picture is one step away"


def test_without_pictures_there_is_no_gallery() -> None:
    tags = Tags(page(many()))
    assert not tags.all("section", id="pictures") and "#pictures" not in [a["href"] for a in tags.all("a")]
    assert tags.data["uris"] == []


# --- in a browser

Open = Callable[..., Any]
TEXTS = "return [...document.querySelectorAll(arguments[0])].map(e=>e.textContent)"
CLICK = "document.querySelector(arguments[0]).click()"
FILL = """const field=document.querySelector(arguments[0]);
field.value=arguments[1];field.dispatchEvent(new Event('input',{bubbles:true}))"""
VISIBLE = (
    "return [...document.querySelectorAll('.card:not([hidden])')].map(c=>[c.dataset.pair,c.dataset.method].join())"
)
MIDDLE = """const box=document.querySelector(arguments[0]).getBoundingClientRect();
return [box.x+box.width/2,box.y+box.height/2,box.width]"""


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Open:
    """Shows a page to the browser."""

    def show(content: str, width: int = 1280, **more: Any) -> Any:
        file = tmp_path / "page.html"
        file.write_text(content, encoding="utf-8")
        browser.open(file, width=width, **more)
        return browser

    return show


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("kind", ["many", "hostile", "one"])
def test_it_fits_without_errors(opened: Open, width: int, kind: str) -> None:
    scores, shown = hostile()
    if kind != "hostile":
        scores = many() if kind == "many" else scores_of({"a": [[0.1, INF]]})
        shown = shown_of(scores) if kind == "many" else []
    browser = opened(page(scores, shown, notes=["x" * 300], title="long" * 60), width)
    assert browser.errors() == []
    assert browser.run("return [innerWidth,document.documentElement.scrollWidth<=innerWidth]") == [width, True]
    assert browser.run("return [...document.images].every(i=>i.src.startsWith('data:image/webp'))")
    assert browser.run("return document.querySelectorAll('script').length") == 3


def test_the_tables_sort_and_filter(opened: Open) -> None:
    scores = many(130)
    browser = opened(page(scores))
    assert browser.run(TEXTS, "#rows-count") == ["260 rows"]
    assert len(browser.run(TEXTS, "#rows tbody tr")) == 100
    browser.run(CLICK, "#further")
    browser.run(CLICK, "#further")
    assert len(browser.run(TEXTS, "#rows tbody tr")) == 260
    assert browser.run("return document.querySelector('#further').hidden")
    browser.run(CLICK, "#rows th:nth-child(3) button")  # the worst first
    found = [float(v) for v in browser.run(TEXTS, "#rows td:nth-child(3)")]
    assert found == sorted(found, reverse=True) and found[0] == pytest.approx(scores.values[..., 0].max(), abs=1e-4)
    browser.run(CLICK, "#rows th:nth-child(3) button")
    assert float(browser.run(TEXTS, "#rows td:nth-child(3)")[0]) == pytest.approx(scores.values[..., 0].min(), abs=1e-4)
    assert browser.run("return document.querySelector('#rows [aria-sort]').ariaSort") == "ascending"
    browser.run(FILL, "#rows-tools [name=find]", "P12")
    assert browser.run(TEXTS, "#rows-count") == ["22 of 260 rows"]
    browser.run(FILL, "#rows-tools [name=method]", "1")
    assert browser.run(TEXTS, "#rows-count") == ["11 of 260 rows"]
    assert set(browser.run(TEXTS, "#rows td:nth-child(2)")) == {"beta"}

    assert browser.run(TEXTS, "#means tbody th") == ["alpha", "beta"]
    browser.run(CLICK, "#means th:nth-child(1) button")
    browser.run(CLICK, "#means th:nth-child(1) button")
    assert browser.run(TEXTS, "#means tbody th") == ["beta", "alpha"]
    browser.run(CLICK, "#means th:nth-child(2) button")
    assert browser.run(TEXTS, "#means tbody th") == ["alpha", "beta"]
    assert browser.errors() == []


def test_what_is_not_finite_sorts_and_is_written(opened: Open) -> None:
    values = [[NAN], [30.0], [INF], [29.0]]
    browser = opened(page(scores_of({"a": values}, [PSNR])))
    assert browser.run(TEXTS, "#rows td:nth-child(3)") == ["–", "30.00", "∞", "29.00"]
    for expected in (["29.00", "30.00", "∞", "–"], ["∞", "30.00", "29.00", "–"]):
        browser.run(CLICK, "#rows th:nth-child(3) button")
        assert browser.run(TEXTS, "#rows td:nth-child(3)") == expected


def test_cards_sort_and_filter(opened: Open) -> None:
    scores = many()
    browser = opened(page(scores, shown_of(scores)))
    assert browser.run(VISIBLE) == ["0,0", "0,1", "1,0", "1,1", "2,0", "2,1"]
    browser.run(FILL, "#cards-tools [name=sort]", "1 worst")
    order = sorted((float(scores.values[i, k, 1]), f"{i},{k}") for i in range(3) for k in range(2))
    assert browser.run(VISIBLE) == [name for _, name in order]
    browser.run(FILL, "#cards-tools [name=sort]", "1 best")
    assert browser.run(VISIBLE) == [name for _, name in reversed(order)]
    browser.run(FILL, "#cards-tools [name=sort]", "")
    browser.run(FILL, "#cards-tools [name=method]", "1")
    assert browser.run(VISIBLE) == ["0,1", "1,1", "2,1"]
    browser.run(CLICK, "#cards-tools [data-which=best]")
    assert browser.run(VISIBLE) == ["1,1"]
    assert browser.run(TEXTS, "#cards-count") == ["1 of 6 pictures"]
    browser.run(CLICK, '#cards-tools [data-which=""]')
    browser.run(FILL, "#cards-tools [name=find]", "P2.")
    assert browser.run(VISIBLE) == ["2,1"]
    browser.run(FILL, "#cards-tools [name=view]", "heat")
    assert browser.run("return [...document.querySelectorAll('.viewer')].map(v=>v.dataset.shows).join()") == (
        "wipe,heat,wipe,heat,wipe,heat"
    ), "what has no map stays"


@pytest.mark.parametrize("width", [390, 1280])
def test_the_slider(opened: Open, width: int) -> None:
    scores = many()
    browser = opened(page(scores, shown_of(scores)), width)
    card = '.card[data-pair="1"][data-method="1"]'
    shares = f"return document.querySelector('{card} .viewer').style.getPropertyValue('--at')"
    browser.run(f"document.querySelector('{card}').scrollIntoView({{block:'center'}})")
    browser.run(f"document.querySelector('{card} input').focus()")
    browser.press("\ue010")  # End
    assert browser.run(shares) == "100%"
    browser.press("\ue012")  # left
    assert browser.run(shares) == "99%"
    x, y, wide = browser.run(MIDDLE, f"{card} .wiper")
    browser.drag((x, y), (x - wide / 4, y))
    assert float(browser.run(shares).strip("%")) == pytest.approx(25, abs=1)
    assert not browser.run("return document.querySelector('#large').open"), "a drag is no click"
    browser.run(CLICK, f"{card} [data-view=side]")
    box = f"return document.querySelector('{card} .pic.'+arguments[0]).getBoundingClientRect().toJSON()"
    assert browser.run(box, "reference")["bottom"] < browser.run(box, "result")["top"], "wide ones lie above each other"
    high = card.replace("1", "2", 1)
    browser.run(CLICK, f"{high} [data-view=side]")
    box = box.replace(card, high)
    assert browser.run(box, "reference")["right"] < browser.run(box, "result")["left"]
    browser.run(CLICK, f"{card} [data-view=heat]")
    seen = f"return [...document.querySelectorAll('{card} img')].filter(i=>i.checkVisibility()).map(i=>i.alt)"
    assert browser.run(seen) == ["heat map"]
    assert browser.errors() == []


@pytest.mark.parametrize("width", [390, 1280])
def test_one_picture_large(opened: Open, width: int) -> None:
    scores = many()
    browser = opened(page(scores, shown_of(scores)), width)
    browser.run("document.querySelector('.card').scrollIntoView({block:'center'})")
    is_open = "return document.querySelector('#large').open"
    said = "return ['.place','h3','.of'].map(w=>document.querySelector('#large '+w)?.textContent)"
    x, y, _ = browser.run(MIDDLE, ".card .wiper")
    browser.drag((x, y), (x, y))
    assert browser.run(is_open)
    assert browser.run(said) == ["1 of 6", "p0.png", "alpha"]
    assert browser.run("const d=document.querySelector('#large');return d.scrollWidth<=d.clientWidth")
    browser.press("\ue014")  # right
    assert browser.run(said) == ["2 of 6", "p0.png", "beta"]
    browser.press("\ue012")
    browser.press("\ue012")
    assert browser.run(said) == ["6 of 6", "p2.png", "beta"], "before the first is the last"
    browser.run(CLICK, '#large [data-go="2 0"]')
    assert browser.run(said) == ["5 of 6", "p2.png", "alpha"]
    browser.run("document.querySelector('#large input').focus()")
    browser.press("\ue014")
    assert browser.run(said)[0] == "5 of 6", "the slider keeps its arrows"
    assert browser.run("return document.querySelector('#large input').value") == "51"
    browser.press("\ue00c")  # Escape
    assert not browser.run(is_open)
    browser.until("return document.activeElement.closest('.card')?.dataset.pair", "2")
    browser.run("document.querySelector('#rows .open').click()")
    assert browser.run(said) == ["1 of 6", "p0.png", "alpha"]
    assert browser.errors() == []


def test_a_dot_finds_its_pair(opened: Open) -> None:
    browser = opened(page(many()))
    browser.run(
        """document.querySelector('.dot[data-pair="7"]').dispatchEvent(new MouseEvent('click',{bubbles:true}))"""
    )
    assert browser.run(TEXTS, "#rows tbody th") == ["p7.png", "p7.png"]


def test_dark(opened: Open) -> None:
    browser = opened(page(many()), dark=True)
    assert browser.run("return getComputedStyle(document.body).backgroundColor") == "rgb(22, 24, 28)"
