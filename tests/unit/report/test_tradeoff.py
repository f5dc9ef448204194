"""The perception-distortion plot: where things are, and a page that browsers show without a complaint."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from opsin.report.drawing import ACCENT, FAINT
from opsin.report.tradeoff import Axis, Point, arrange, tradeoff_figure
from opsin.report.tradeoff_page import tradeoff_page

POINTS = [
    Point("bicubic", 27.59, 0.339),
    Point("lanczos", 27.77, 0.331),
    Point("psnr", 28.33, 0.232),
    Point("perceptual", 28.03, 0.205),
    Point("perceptual-again-and-longer", 28.02, 0.2052),
    Point("esrgan", 27.80, 0.203),
    Point("esrgan-b", 27.82, 0.2035),
]
BOX = (100.0, 100.0, 900.0, 500.0)


def wide(name: str) -> float:
    return 9.0 * len(name)


def test_places() -> None:
    plot = arrange(POINTS, BOX, wide)
    marks = {mark.point.name: mark for mark in plot.marks}
    assert marks["psnr"].x > marks["esrgan"].x > marks["bicubic"].x
    assert marks["bicubic"].y < marks["psnr"].y < marks["esrgan"].y  # less is below
    assert all(BOX[0] < mark.x < BOX[2] and BOX[1] < mark.y < BOX[3] for mark in plot.marks)
    assert plot.x.place(plot.x.low) == BOX[0]
    assert plot.y.place(plot.y.low) == BOX[3]


def test_names_meet_neither_dots_nor_each_other() -> None:
    plot = arrange(POINTS, BOX, wide)

    def area(i: int) -> tuple[float, float, float, float]:
        mark = plot.marks[i]
        long = wide(mark.point.name)
        start = {"right": mark.tx, "left": mark.tx - long, "middle": mark.tx - long / 2}[mark.side]
        return start, mark.ty - 9, start + long, mark.ty + 9

    areas = [area(i) for i in range(len(POINTS))]
    for i, a in enumerate(areas):
        assert BOX[0] <= a[0]
        assert a[2] <= BOX[2]
        others = areas[:i] + [(m.x - 8, m.y - 8, m.x + 8, m.y + 8) for m in plot.marks]
        assert not any(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for b in others)


def test_the_front_is_of_those_that_no_other_beats() -> None:
    plot = arrange(POINTS, BOX, wide)
    marks = {(mark.x, mark.y): mark.point.name for mark in plot.marks}
    assert [marks[place] for place in plot.front] == ["esrgan", "esrgan-b", "perceptual", "psnr"] or [
        marks[place] for place in plot.front
    ] == ["esrgan", "esrgan-b", "perceptual-again-and-longer", "perceptual", "psnr"]


def test_ticks_are_round() -> None:
    axis = Axis.over([27.59, 28.33], 0, 100)
    assert [axis.label(tick) for tick in axis.ticks] == ["27.6", "27.8", "28.0", "28.2", "28.4"]
    assert Axis.over([3.0], 0, 100).ticks  # a single model
    assert [Axis.over([100, 4000], 0, 1).label(t) for t in Axis.over([100, 4000], 0, 1).ticks][:2] == ["0", "1000"]


@pytest.mark.parametrize("count", [1, 2, 7])
def test_figure(count: int) -> None:
    figure = tradeoff_figure(POINTS[:count], metric="st-lpips-alex", notes=["a note that says what it is"])
    colours = {colour for _, colour in figure.getcolors(2**20)}
    assert FAINT in colours
    assert (ACCENT in colours) == (count > 2)
    assert figure.width == 960


def page(title: str = "Perception and distortion") -> str:
    points = {"vgg19-cosine": POINTS, "st-lpips-alex": [*POINTS, Point("<b>&'\"", 28.4, 0.24)]}
    rows = [{"model": p.name, "psnr": p.psnr, "ssim": 0.8, "st-lpips-alex": p.distance} for p in POINTS]
    return tradeoff_page(points, rows, title=title, notes=["<script>alert(1)</script>"])


def test_page() -> None:
    content = page('A "title" <with> &')
    assert "<title>A &quot;title&quot; &lt;with&gt; &amp;</title>" in content
    assert content.count("<script>") == 1
    assert "&lt;b&gt;&amp;&#x27;&quot;" in content
    assert not re.search(r"(src|href)=\"(?!data:)", content)
    assert content.count("<svg ") == 2
    assert content.count(" hidden>") == 1
    assert content.count('class="mark"') == 5 + 6
    assert "perceptual: PSNR 28.03 dB, st-lpips-alex 0.2050" in content
    assert '<td class="best" data-value="28.33">28.33</td>' in content
    assert page() == page()


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium here")
@pytest.mark.parametrize("width", [500, 1200])  # headless chromium makes no window narrower than 500
def test_in_a_browser(tmp_path: Path, width: int) -> None:
    """It chooses, tells and sorts without an error, and is no wider than the window."""
    acts = """<script>
      addEventListener("error", event => console.error("PAGE " + event.message));
      addEventListener("load", () => {
        const say = (name, value) => console.log("PAGE " + name + "=" + value);
        const seen = () => [...document.querySelectorAll("svg")].filter(s => s.getClientRects().length);
        say("first", seen().map(s => s.dataset.metric));
        metric.value = "vgg19-cosine"; metric.dispatchEvent(new Event("change"));
        say("then", seen().map(s => s.dataset.metric));
        seen()[0].querySelector("g.mark").dispatchEvent(new Event("mouseenter"));
        say("said", said.textContent);
        document.querySelectorAll("th button")[1].click();
        say("top", document.querySelector("tbody tr td").textContent);
        say("overflow", document.documentElement.scrollWidth - document.documentElement.clientWidth);
      });
    </script></body>"""
    file = tmp_path / "page.html"
    file.write_text(page().replace("</body>", acts), encoding="utf-8")
    done = subprocess.run(
        [
            *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"),
            *(f"--user-data-dir={tmp_path}/profile", f"--window-size={width},900", "--virtual-time-budget=2000"),
            *("--dump-dom", file.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = re.findall(r"CONSOLE[^\"]*\"([^\n]*?)\", source", done.stderr)
    assert said == [
        "PAGE first=st-lpips-alex",
        "PAGE then=vgg19-cosine",
        "PAGE said=bicubic: PSNR 27.59 dB, vgg19-cosine 0.3390",
        "PAGE top=psnr",
        "PAGE overflow=0",
    ], done.stderr
