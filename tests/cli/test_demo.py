"""`opsin demo`: what it writes and says, and that `opsin compare` says the same of its pictures."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

NAMES = ("blur", "noise", "jpeg", "shift", "colour")
FILES = {"ranking.png", "photo.png", *(f"{name}.png" for name in NAMES)}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The folder of one run, two levels below one that is there, and its output."""
    folder = tmp_path_factory.mktemp("demo") / "made" / "for it"
    done = subprocess.run(
        [Path(sys.executable).with_name("opsin"), "demo", "-o", folder],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return folder, done.stdout


def rankings(text: str) -> tuple[dict[str, float], dict[str, float]]:
    rows = re.findall(r"^(\d) +(\w+) +([\d.]+) +(\w+) +([\d.]+)", text, re.MULTILINE)
    assert [int(row[0]) for row in rows] == [1, 2, 3, 4, 5]
    return {row[1]: float(row[2]) for row in rows}, {row[3]: float(row[4]) for row in rows}


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.mode == "RGB"
        return np.asarray(image).astype(np.float64) / 255


def test_files(demo):
    folder, text = demo
    assert {p.name for p in folder.iterdir()} == FILES
    with Image.open(folder / "ranking.png") as figure:
        figure.load()
        assert figure.width >= 1000
        assert figure.height >= 1000
        assert len(figure.getcolors(1 << 24)) > 5000
    assert {pixels(folder / name).shape for name in FILES - {"ranking.png"}} == {(300, 451, 3)}
    assert str(folder / "ranking.png") in text


def test_the_two_opinions_differ(demo):
    by_mse, by_loss = rankings(demo[1])
    assert set(by_mse) == set(by_loss) == set(NAMES)
    assert list(by_mse.values()) == sorted(by_mse.values())
    assert list(by_loss.values()) == sorted(by_loss.values())
    assert list(by_mse) != list(by_loss)


def test_the_printed_mse_is_that_of_the_files(demo):
    folder, text = demo
    photo = pixels(folder / "photo.png")
    for name, value in rankings(text)[0].items():
        # Half a level of rounding in the file moves a root mean square by less than that.
        root = np.sqrt(np.square(pixels(folder / f"{name}.png") - photo).mean())
        assert root == pytest.approx(np.sqrt(value), abs=0.5 / 255)


def test_compare_agrees_with_the_ranking(demo, call):
    folder, text = demo
    printed = rankings(text)[1]
    found = {}
    for name in NAMES:
        outcome = call("compare", folder / "photo.png", folder / f"{name}.png", "--json")
        found[name] = json.loads(outcome.succeeds())["total"]
    assert sorted(found, key=found.__getitem__) == list(printed)
    for name in NAMES:
        # The noise and the colours are written with 8 bits and were measured without; the others are the same.
        exact = name in ("blur", "jpeg", "shift")
        assert found[name] == pytest.approx(printed[name], abs=6e-5 if exact else 0.01)


def test_a_second_run_asks(demo, call):
    folder, _ = demo
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    call("demo", "-o", folder).refuses("ranking.png", "exists")
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_a_second_run_with_overwrite(demo, call):
    """Is let, replaces what was there, and makes the same bytes."""
    folder, text = demo
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    (folder / "photo.png").write_bytes(b"spoilt")
    assert rankings(call("demo", "--output", folder, "--overwrite").succeeds()) == rankings(text)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_one_file_in_the_way_is_enough(call, tmp_path):
    """Said before the work is done, and nothing of ours is left beside it."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "shift.png").write_text("mine")
    call("demo", "-o", "out").refuses("shift.png", "exists")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["shift.png"]
    assert (tmp_path / "out" / "shift.png").read_text() == "mine"


@pytest.mark.parametrize("output", ["file", "file/below"])
def test_the_output_is_a_file(call, tmp_path, output):
    (tmp_path / "file").write_text("mine")
    call("demo", "-o", output).refuses("file")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_without_scikit_image(call, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "skimage" else find(name, *rest)
    )
    call("demo", "-o", "out").refuses("scikit-image", "pip install 'opsin[demo]'")
    assert list(tmp_path.iterdir()) == []


def test_without_the_bundled_weights(call, tmp_path, monkeypatch):
    """A demo that cannot be given leaves no empty folder."""
    from opsin.weights import sources

    def missing():
        raise sources.WeightsError("bundled weights must be there.")

    monkeypatch.setattr(sources, "bundled_path", missing)
    call("demo", "-o", "out").refuses("bundled weights")
    assert list(tmp_path.iterdir()) == []
