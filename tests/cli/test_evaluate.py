"""`opsin evaluate sr`: its table, its files, and what it says of what is missing or damaged."""

from __future__ import annotations

import csv
import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("torchmetrics", reason="extra 'sr'")

FAST = ("--losses", "focal-frequency")


@pytest.fixture
def photos(tmp_path: Path, photo: Image.Image) -> Path:
    """Two photos, one of them in a folder of its own."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    photo.save(folder / "a.png")
    photo.crop((0, 0, 70, 61)).save(folder / "more" / "b.png")
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Callable[..., Path]:
    """Write a tiny untrained network."""
    from opsin.networks import EDSR, save_network

    def make(name: str = "tiny.safetensors", scale: int = 4) -> Path:
        torch.manual_seed(0)
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        save_network(path, EDSR(scale, 4, 1), {})
        return path

    return make


def test_the_table(call, photos, model):
    out = call("evaluate", "sr", "--data", photos, "-m", model(), *FAST).succeeds()
    head, columns, *rows = out.splitlines()
    assert head == "2 photos, means; * is the best"
    assert columns.split() == ["psnr", "↑", "ssim", "↑", "vgg19-cosine", "↓", "focal-frequency", "↓"]
    assert [row.split()[0] for row in rows] == ["bicubic", "lanczos", "tiny"]
    # Each column has one that is the best, and it is no untrained network.
    cells = [row.split()[1:] for row in rows]
    assert [sum(row[i].startswith("*") for row in cells) for i in range(4)] == [1] * 4
    assert not any(cell.startswith("*") for cell in cells[2])


def test_json_is_of_every_photo(call, photos, model):
    found = json.loads(call("evaluate", "sr", "--data", photos, "-m", model(), *FAST, "--json").succeeds())
    assert [(row["image"], row["model"]) for row in found["images"]] == [
        (name, way) for name in ("a.png", "more/b.png") for way in ("bicubic", "lanczos", "tiny")
    ]
    mine = [row["psnr"] for row in found["images"] if row["model"] == "tiny"]
    assert found["means"]["tiny"]["psnr"] == pytest.approx(sum(mine) / 2)
    assert found["signature"]["scale"] == found["signature"]["shave"] == 4


def test_options_change_what_they_name(call, photos):
    def of(*options):
        found = json.loads(call("evaluate", "sr", "--data", photos, *FAST, "--json", *options).succeeds())
        return found["means"]["bicubic"], found["signature"]

    plain, _ = of()
    pillow, signature = of("--downscale", "pillow")
    assert signature["downscale"] == "pillow" and pillow["psnr"] != plain["psnr"]
    shaved, signature = of("--shave", "0")
    assert signature["shave"] == 0 and shaved["psnr"] != plain["psnr"]
    assert shaved["vgg19-cosine"] == plain["vgg19-cosine"]
    twice, _ = of("--scale", "2")
    assert twice["psnr"] > plain["psnr"] + 1


def test_the_folder(call, photos, model, tmp_path):
    arguments = ("evaluate", "sr", "--data", photos, "-m", model(), *FAST, "-o", tmp_path / "out")
    assert "wrote scores.json" in call(*arguments).succeeds()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "crops.png", "scores.csv", "scores.json", "tradeoff.html", "tradeoff.png"
    ]  # fmt: skip
    found = json.loads((tmp_path / "out" / "scores.json").read_text())
    with (tmp_path / "out" / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["ssim"]) for row in rows] == [row["ssim"] for row in found["images"]]
    page = (tmp_path / "out" / "tradeoff.html").read_text()
    assert page.count("<svg") == 2 and 'data-model="tiny"' in page
    for name in ("crops.png", "tradeoff.png"):
        with Image.open(tmp_path / "out" / name) as picture:
            assert picture.width > 900
    call(*arguments).refuses("scores.json", "which exists")
    call(*arguments, "--overwrite").succeeds()


def test_json_is_alone_on_stdout_with_a_folder_too(call, photos, tmp_path):
    out = call("evaluate", "sr", "--data", photos, *FAST, "--json", "-o", tmp_path / "out").succeeds()
    assert json.loads(out) == json.loads((tmp_path / "out" / "scores.json").read_text())


def test_crops_are_of_what_was_measured(call, tmp_path, photo):
    """Of small images that are given, whatever they show; and each in its column."""
    for name, picture in {"photos": photo, "small": Image.new("RGB", (28, 24), (255, 0, 0))}.items():
        (tmp_path / name).mkdir()
        picture.save(tmp_path / name / "bicubic.png")  # called as a filter is
    arguments = ("--data", tmp_path / "photos", "--small", tmp_path / "small", *FAST, "-o", tmp_path / "out")
    call("evaluate", "sr", *arguments).succeeds()
    with Image.open(tmp_path / "out" / "crops.png") as sheet:
        red = (np.asarray(sheet.convert("RGB")) == (255, 0, 0)).all(axis=2)
    columns = np.flatnonzero(red.mean(axis=0) > 0.3)
    assert len(columns) == 2 * 256  # bicubic and lanczos, but not the photo
    assert columns.min() > 256


@pytest.mark.parametrize("name", ["caf\udce9.png", "日本 語.png", "a\nb.png", "[bold]b.png"])
def test_any_name_of_a_photo(call, photo, tmp_path, name):
    """Even one that is no Unicode, as old archives hold."""
    (tmp_path / "photos").mkdir()
    photo.save(tmp_path / "plain.png")
    try:
        (tmp_path / "plain.png").rename(tmp_path / "photos" / name)
    except (OSError, UnicodeError):
        pytest.skip("this file system has no such names")
    out = call("evaluate", "sr", "--data", tmp_path / "photos", *FAST, "-o", tmp_path / "out").succeeds()
    assert out.startswith("1 photo, means")
    assert len(list((tmp_path / "out").iterdir())) == 5
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["images"][0]["image"] == name


def test_small_images_that_are_given(call, photos, tmp_path):
    small = tmp_path / "small"
    (small / "more").mkdir(parents=True)
    for name in ("a.png", "more/b.png"):
        with Image.open(photos / name) as image:
            size = (image.width // 4, image.height // 4)
            image.crop((0, 0, size[0] * 4, size[1] * 4)).resize(size, Image.Resampling.BICUBIC).save(small / name)

    def of(*options):
        found = json.loads(call("evaluate", "sr", "--data", photos, *FAST, "--json", *options).succeeds())
        return found["means"]["bicubic"]["psnr"], found["signature"]["downscale"]

    given, way = of("--small", small)
    assert way == "given"
    assert given == pytest.approx(of("--downscale", "pillow")[0], abs=0.05)
    (small / "more" / "b.png").unlink()
    call("evaluate", "sr", "--data", photos, "--small", small).refuses("got none for 1 of 2: more/b.png")


def test_what_cannot_be_measured_is_said_and_the_rest_is_done(call, photos, noise):
    (photos / "broken.png").write_bytes((photos / "a.png").read_bytes()[:500])
    noise(20, 90).save(photos / "narrow.png")
    done = call("evaluate", "sr", "--data", photos, *FAST)
    assert done.code == 1
    assert done.out.startswith("2 photos, means")
    skipped, damaged = done.err.splitlines()
    assert skipped == "skipped 1 image smaller than 32x32"
    assert damaged.startswith("opsin: ") and "broken.png" in damaged


def test_equal_images_have_no_number_in_json(call, tmp_path):
    (tmp_path / "flat").mkdir()
    Image.new("RGB", (48, 48), (80, 90, 100)).save(tmp_path / "flat" / "flat.png")
    arguments = ("evaluate", "sr", "--data", tmp_path / "flat", *FAST)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    found = json.loads(call(*arguments, "--json").succeeds(), parse_constant=refuse)
    assert found["means"]["bicubic"]["psnr"] is None
    assert found["means"]["bicubic"]["ssim"] == pytest.approx(1)
    assert "inf" in call(*arguments, "-o", tmp_path / "out").succeeds()
    assert "not drawn: bicubic" in (tmp_path / "out" / "tradeoff.html").read_text()


def test_weights_that_are_not_at_hand_are_named_once(call, photos):
    """Nothing is downloaded unasked."""
    done = call("evaluate", "sr", "--data", photos)
    assert done.code == 0
    for name in ("lpips-alex", "lpips-vgg", "dists"):
        assert done.err.count(f"not measured: {name}, ") == 1
    assert "opsin weights fetch alexnet" in done.err


def test_models_are_named_by_their_folders_where_files_are_called_alike(call, photos, model):
    paths = [model(f"{run}/model.safetensors") for run in ("first", "second")]
    out = call("evaluate", "sr", "--data", photos, *FAST, "-m", paths[0], "-m", paths[1]).succeeds()
    assert [line.split()[0] for line in out.splitlines()[2:]] == ["bicubic", "lanczos", "first", "second"]
    call("evaluate", "sr", "--data", photos, "-m", paths[0], "-m", paths[0]).refuses("must have different names")


def test_what_is_refused(call, photos, model, tmp_path, noise):
    (tmp_path / "empty").mkdir()
    (tmp_path / "all_small").mkdir()
    noise(20, 20).save(tmp_path / "all_small" / "a.png")
    (tmp_path / "text.safetensors").write_text("text")
    data = ("--data", photos)
    call("evaluate", "sr", "--data", tmp_path / "empty").refuses("empty")
    call("evaluate", "sr", "--data", tmp_path / "none").refuses("none")
    call("evaluate", "sr", "--data", tmp_path / "all_small", *FAST).refuses("all are smaller than 32 pixels")
    call("evaluate", "sr", *data, "-m", model(), "--scale", "2").refuses("enlarge 2 times, got 'tiny', which does 4")
    call("evaluate", "sr", *data, "-m", model(), "-m", model("two.safetensors", 2)).refuses("got 'two'")
    call("evaluate", "sr", *data, "-m", tmp_path / "text.safetensors").refuses("text.safetensors")
    call("evaluate", "sr", *data, "--losses", "focal-frequenzy").refuses("did you mean 'focal-frequency'?")
    call("evaluate", "sr", *data, *FAST, "--downscale", "lanczos").refuses("matlab")
    call("evaluate", "sr", *data, "-m", model(), *FAST, "--scale", "0").refuses("scale", "got 0")
    call("evaluate", "sr", *data, *FAST, "--shave", "-1").refuses("shave", "-1")
    call("evaluate", "sr", *data, *FAST, "-o", photos / "a.png").refuses("must be a folder")
    call("evaluate", "sr", *data, *FAST, "-o", tmp_path / "no" / "out").refuses("in a folder that exists")


def test_no_space_left_is_a_line_and_no_file_is_half_written(call, photos, tmp_path, monkeypatch):
    plain = Path.write_text

    def write(path: Path, text: str, *rest: Any, **options: Any) -> int:
        if "tradeoff" in path.name:
            plain(path, text[:100], *rest, **options)
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return plain(path, text, *rest, **options)

    monkeypatch.setattr(Path, "write_text", write)
    done = call("evaluate", "sr", "--data", photos, *FAST, "-o", tmp_path / "out")
    assert done.code == 2
    assert "No space left on device" in done.err.splitlines()[-1]
    assert done.out.startswith("2 photos")  # what was measured is told all the same
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"scores.json", "scores.csv"}
