"""The pictures of the documentation are there, and what those of blindness say is so."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

from opsin.errors import WeightsError

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FAMILIES = ("learned", "style", "matching", "super-resolution", "frequency")

_PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+\.(?:png|jpg))\)")
# Pictures that the demo draws and that are put there by hand.
_BY_HAND = {"ranking.png", "heatmap.png"}


@pytest.fixture(scope="module")
def tool(load_tool: Callable[[str], ModuleType]) -> ModuleType:
    """The script that draws the pictures."""
    pytest.importorskip("skimage", reason="the sample photos are those of scikit-image")
    return load_tool("draw_blindness")


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_pictures_are_there_and_described(page: Path) -> None:
    for described, target in _PICTURE.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).is_file() or Path(target).name in _BY_HAND, target
        assert len(described) > 30, f"{target} needs alt text that stands in for it"


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_shows_what_it_is_blind_to(family: str) -> None:
    page = (DOCS / f"{family}-losses.md").read_text(encoding="utf-8")
    section = page.partition("## What it is blind to\n")[2].partition("\n## ")[0]
    assert [target for _, target in _PICTURE.findall(section)] == [f"images/blind-{family}.png"]
    assert f"python tools/draw_blindness.py {family}\n" in section
    assert (DOCS / "images" / f"blind-{family}.png").stat().st_size < 450_000


def test_each_family_has_a_figure(tool: ModuleType) -> None:
    assert set(tool.FIGURES) == set(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_claim(tool: ModuleType, family: str) -> None:
    """What is obvious costs less than what is slight; of two losses the cheaper one to compute is measured anew."""
    figure = tool.FIGURES[family]
    name = list(figure.losses)[-1]
    try:
        values = replace(figure, losses={name: figure.losses[name]}).measure()
    except WeightsError:
        if family != "learned":
            raise
        pytest.skip("AlexNet's official weights are not on this machine (OPSIN_WEIGHTS_DIR)")
    assert figure.holds(values), values
    page = (DOCS / f"{family}-losses.md").read_text(encoding="utf-8")
    for value in values[name].values():
        told = [float(n) for n in re.findall(r"\d+\.\d+|\b\d+e-?\d+", page)]
        assert any(abs(n - value) < 0.02 * value for n in told), f"the page tells no number near {value:.3g}"


def test_claim_fails_the_other_way_round(tool: ModuleType) -> None:
    figure = tool.FIGURES["frequency"]
    turned = replace(figure, obvious=figure.slight, slight=figure.obvious)
    assert not turned.holds(turned.measure())


def test_drawing_is_the_same_each_time(tool: ModuleType) -> None:
    figure = tool.FIGURES["frequency"]
    values = {"a": dict.fromkeys([*figure.obvious, *figure.slight], 0.5)}
    pictures = [torch.frombuffer(bytearray(tool.draw(figure, values).tobytes()), dtype=torch.uint8) for _ in range(2)]
    assert torch.equal(*pictures)
