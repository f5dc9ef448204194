"""The page on degradations shows what its script draws, and says the settings that there are."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from opsin.superres.degradations import DEGRADATIONS, SecondOrder

DOCS = Path(__file__).parents[2] / "docs"


def test_the_picture_is_the_scripts(load_tool: Callable[[str], ModuleType]) -> None:
    """Its first row, block by block: a processor that rounds otherwise may draw other Poisson noise below."""
    pytest.importorskip("skimage", reason="the sample photo is scikit-image's")
    tool = load_tool("draw_degradations")
    made = tool.draw()
    assert tool.PICTURE.stat().st_size < 120_000
    with Image.open(tool.PICTURE) as picture:
        assert picture.size == made.size
        kept, anew = averages(picture), averages(made)
    # JPEG leaves 3 levels; an image drawn otherwise differs by tens.
    np.testing.assert_allclose(kept, anew, rtol=0, atol=8)


def averages(picture: Image.Image) -> npt.NDArray[np.float32]:
    """Of the first row's blocks of 12x12 pixels."""
    pixels = np.asarray(picture.convert("RGB"), dtype=np.float32)[:300, : picture.width // 12 * 12]
    return pixels.reshape(25, 12, -1, 12, 3).mean(axis=(1, 3))


def test_every_degradation_is_named_and_the_table_is_the_code() -> None:
    page = (DOCS / "degradations.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE) == list(DEGRADATIONS)
    rounds = SecondOrder(4).first, SecondOrder(4).second
    for name, field in [
        ("widths of the blur", "sigma"),
        ("factor", "sizes"),
        ("Gaussian noise", "noise"),
        ("Poisson noise", "poisson"),
        ("JPEG's quality", "quality"),
    ]:
        row = re.search(rf"^\| {name}[^|]*\| (.+) \| (.+) \|$", page, re.MULTILINE)
        assert row is not None, name
        told = ["{:g} to {:g}".format(*getattr(one, field)) for one in rounds]
        assert list(row.groups()) == told, name
