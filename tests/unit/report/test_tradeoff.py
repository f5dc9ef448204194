"""The plot of perception against distortion: points in their places, numbers that can be read, a page that works."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from opsin.report.drawing import ACCENT, FAINT, PAPER
from opsin.report.tradeoff import Point, drawn, tradeoff_figure
from opsin.report.tradeoff_page import tradeoff_page

POINTS = [Point("bicubic", 26.4, 0.31), Point("lanczos", 26.5, 0.30), Point("psnr", 27.3, 0.24)]
MANY = [*POINTS, *(Point(f"model {i}", 25 + 0.3 * i, 0.15 + 0.011 * i * (i % 3)) for i in range(5))]
NASTY = 'a<b>&"c"'


def discs(picture: object, colour: tuple[int, int, int]) -> list[tuple[float, float]]:
    """Middles of the filled discs of a colour, (x, y), left to right."""
    mask = (np.asarray(picture) == colour).all(axis=2)
    # Whole in a square of 11: letters and lines are thinner.
    windows = np.lib.stride_tricks.sliding_window_view(mask, (11, 11)).all(axis=(2, 3))
    rows, columns = np.nonzero(windows)
    found: list[list[tuple[int, int]]] = []
    for x, y in sorted(zip(columns.tolist(), rows.tolist(), strict=True)):
        near = next((group for group in found if abs(group[0][0] - x) < 20 and abs(group[0][1] - y) < 20), None)
        if near is None:
            found.append([(x, y)])
        else:
            near.append((x, y))
    return [tuple(np.mean(group, axis=0) + 5) for group in found]  # type: ignore[misc]


def test_points_are_where_their_numbers_are() -> None:
    points = [Point("a", 25.0, 0.4), Point("b", 26.0, 0.1), Point("c", 29.0, 0.2)]
    (ax, ay), (bx, by), (cx, cy) = discs(tradeoff_figure(points, metric="lpips-alex"), ACCENT)
    assert (cx - ax) / (bx - ax) == pytest.approx(4, abs=0.05)
    assert (ay - by) / (ay - cy) == pytest.approx(1.5, abs=0.05)
    assert ay < cy < by  # a larger distance is higher up


def test_filters_are_hollow() -> None:
    solid, hollow = (
        tradeoff_figure([Point(name, 25.0, 0.4)], metric="m", title="") for name in ("bicubics", "bicubic")
    )
    (middle,) = discs(solid, ACCENT)
    assert discs(hollow, ACCENT) == []
    x, y = (round(place) for place in middle)
    assert hollow.getpixel((x, y)) == PAPER
    ring = [hollow.getpixel((x + dx, y)) for dx in range(-10, 11)]
    assert FAINT in ring[:6] and FAINT in ring[-6:]


@pytest.mark.parametrize("number", [0, 1, 3, 8])
def test_nothing_is_cut_at_the_edges(number: int) -> None:
    note = '{"scale":4,' + "x" * 400 + "} " + "word " * 60
    picture = np.asarray(tradeoff_figure(MANY[:number], metric="st-lpips-vgg", title="long " * 40, notes=[note])).copy()
    picture[10:-10, 10:-10] = PAPER
    assert (picture == PAPER).all()


def test_what_has_no_place_is_named() -> None:
    perfect = Point("perfect", float("inf"), 0.0)
    shown, left_out = drawn([*POINTS, perfect])
    assert shown == POINTS
    assert left_out == ["not drawn: perfect, PSNR inf dB, distance 0"]
    assert tradeoff_figure([*POINTS, perfect], metric="m").height > tradeoff_figure(POINTS, metric="m").height
    assert "not drawn: perfect" in page([*POINTS, perfect])


# --- the page


def page(points: list[Point], **options: object) -> str:
    rows = [{"model": p.model, "psnr": p.psnr, "vgg19-cosine": p.distance} for p in points]
    return tradeoff_page({"vgg19-cosine": points}, rows, title="Trade-off", **options)  # type: ignore[arg-type]


class Tags(HTMLParser):
    """Whether all is closed, and what there is."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_is_whole_and_alone() -> None:
    content = page([*POINTS, Point(NASTY, 25.0, 0.2)], notes=["</script><b>"])
    tags = Tags(content)
    assert tags.open == []
    assert [a["data-model"] for t, a in tags.seen if t == "g"] == ["bicubic", "lanczos", "psnr", NASTY]
    assert NASTY in tags.words and "</script><b>" in tags.words
    assert not [t for t, _ in tags.seen if t in ("b", "img", "iframe")]
    assert all(a.get("href") == "data:," for t, a in tags.seen if t == "link")
    assert "http" not in content and "src=" not in content
    assert 'aria-label="psnr: 27.30 dB, vgg19-cosine 0.2400"' in content


def test_the_best_of_each_column_is_marked() -> None:
    cells = re.findall(r'<td class="best">([^<]*)', page(POINTS))
    assert cells == ["27.30", "0.2400"]
    cells = re.findall(r'<td class="best">([^<]*)', page([*POINTS, Point("other", float("inf"), float("nan"))]))
    assert cells == ["0.2400", "inf"]


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_in_a_browser(tmp_path: Path, width: int) -> None:
    """What is tapped says its numbers; nothing is wider than a phone; no error."""
    tap = """<script>
    const dot=document.querySelectorAll('.point .dot')[2].getBoundingClientRect();
    document.querySelector('svg').dispatchEvent(
      new MouseEvent('click',{clientX:dot.x+dot.width/2+3,clientY:dot.y+dot.height/2,bubbles:true}));
    const said=[...document.querySelectorAll('.said')].map(e=>e.textContent).join('|');
    const on=document.querySelectorAll('tr.on').length;
    const wide=document.documentElement.scrollWidth>innerWidth;
    document.title=`${said} / ${on} / ${wide}`;
    </script>"""
    file = tmp_path / "page.html"
    file.write_text(page(MANY).replace("</body>", f"{tap}</body>"), encoding="utf-8")
    done = subprocess.run(
        [
            *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"),
            *(f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900", file.as_uri()),
        ],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    )
    assert "<title>psnr: 27.30 dB, vgg19-cosine 0.2400 / 1 / false</title>" in done.stdout
    assert "CONSOLE" not in done.stderr
