"""`opsin demo`: what it writes and says, and that the other commands say and make the same of its pictures."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

NAMES = ("blur", "noise", "jpeg", "shift", "colour")
RANKING = {"ranking.png", "photo.png", *(f"{name}.png" for name in NAMES)}
STYLIZED = ("stylized.png", "stylized-own-colours.png")
FILES = RANKING | {"contact-sheet.png", "painting.png", "report.html", "parts", *STYLIZED}
QUICK = ("--size", "48", "--steps", "2")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The folder of one run, two levels below one that is there, and its output."""
    folder = tmp_path_factory.mktemp("demo") / "made" / "for it"
    done = subprocess.run(
        [Path(sys.executable).with_name("opsin"), "demo", "-o", folder, *QUICK],
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


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_files(demo):
    folder, text = demo
    assert {p.name for p in folder.iterdir()} == FILES
    with Image.open(folder / "ranking.png") as figure:
        figure.load()
        assert figure.width >= 1000
        assert figure.height >= 1000
        assert len(figure.getcolors(1 << 24)) > 5000
    assert {pixels(folder / name).shape for name in RANKING - {"ranking.png"}} == {(300, 451, 3)}
    assert str(folder / "ranking.png") in text and str(folder / "contact-sheet.png") in text


def test_report(demo):
    """The page is of what `opsin score` finds in the folders beside it."""
    folder, text = demo
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Five distortions of a photo, scored part by part" in page
    assert page.count("data:image/webp") > 20
    assert {p.name for p in (folder / "parts").iterdir()} == {"reference", *NAMES}
    assert all(len(list(p.iterdir())) == 6 for p in (folder / "parts").iterdir())
    (command,) = re.findall(r"^  (.*opsin score .*)$", text, re.MULTILINE)
    assert "--csv" in command


def test_stylized(demo, opsin):
    """The photo is painted twice, as `opsin stylize` paints it of the pictures beside, and all four are on a sheet.

    In processes of their own: this one has another number of threads, and so other last digits.
    """
    folder, _ = demo
    assert pixels(folder / "painting.png").shape == (768, 768, 3)
    plain, own = (pixels(folder / name) for name in STYLIZED)
    assert plain.shape == own.shape == (32, 48, 3)
    files = ("stylize", folder / "photo.png", "--style", folder / "painting.png", "-o")
    assert opsin(*files, "again.png", *QUICK).code == 0
    assert np.array_equal(pixels(Path("again.png")), plain)
    assert opsin(*files, "own.png", *QUICK, "--keep-colors", "luminance", "--content-weight", "0.2").code == 0
    assert np.array_equal(pixels(Path("own.png")), own)
    with Image.open(folder / "stylized.png") as made, Image.open("again.png") as again:
        assert made.info == again.info and json.loads(made.info["opsin:style"]) == ["painting.png"]
    with Image.open(folder / "contact-sheet.png") as sheet:
        assert sheet.width > 900 and len(sheet.getcolors(1 << 24)) > 5000


def test_commands_to_go_on_with(demo, call):
    """The printed ones are ones that this program takes."""
    lines = [shlex.split(line)[1:] for line in demo[1].splitlines() if line.startswith("  ")]
    assert [line[0] for line in lines] == ["compare", "score", "stylize"]
    assert call(*lines[0]).code == 0
    lines[1][lines[1].index("--csv") + 1] = "scores.csv"
    assert call(*lines[1]).code == 0
    assert len(Path("scores.csv").read_text().splitlines()) == 13
    lines[2][lines[2].index("-o") + 1] = "mine.png"
    assert call(*lines[2], *QUICK).code == 0
    assert pixels(Path("mine.png")).shape == (32, 48, 3)


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
    before = contents(folder)
    call("demo", "-o", folder).refuses("ranking.png", "exists")
    assert contents(folder) == before


def test_a_second_run_with_overwrite(demo, opsin):
    """Is let, replaces what was there, and makes the same bytes."""
    folder, text = demo
    before = contents(folder)
    (folder / "photo.png").write_bytes(b"spoilt")
    assert rankings(opsin("demo", "--output", folder, "--overwrite", *QUICK).succeeds()) == rankings(text)
    assert contents(folder) == before


@pytest.mark.parametrize("name", ["shift.png", "stylized.png", "contact-sheet.png", "report.html", "parts"])
def test_one_file_in_the_way_is_enough(call, tmp_path, name):
    """Said before the work is done, and nothing of ours is left beside it."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    call("demo", "-o", "out").refuses(name, "exists")
    assert [p.name for p in (tmp_path / "out").iterdir()] == [name]
    assert (tmp_path / "out" / name).read_text() == "mine"


@pytest.mark.parametrize(("option", "value"), [("--size", 4), ("--steps", 0)])
def test_numbers_out_of_range(call, tmp_path, option, value):
    """Said before the work is done."""
    call("demo", "-o", "out", option, value).refuses(f"{option[2:]} must be a whole number", f"got {value}")
    assert list(tmp_path.iterdir()) == []


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
