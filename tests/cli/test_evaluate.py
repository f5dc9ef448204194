"""`opsin evaluate sr`: the table, the files, and what cannot be measured."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from opsin.cli.main import run
from opsin.networks import EDSR, ImageTransformNet, save_network

pytest.importorskip("torchmetrics", reason="extra 'sr'")


@pytest.fixture(autouse=True)
def _no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only what opsin brings is at hand."""
    monkeypatch.setenv("OPSIN_WEIGHTS_DIR", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("opsin.weights.shift_tolerant.find_spec", lambda _: None)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, size in {"a.png": (61, 50), "more/b.png": (48, 48), "tiny.png": (20, 48)}.items():
        coarse = Image.fromarray(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8))
        coarse.resize(size, Image.Resampling.BICUBIC).save(folder / name)
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "mine").mkdir()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_network(tmp_path / "mine" / "model.safetensors", EDSR(4, 4, 1), {})
    return tmp_path / "mine" / "model.safetensors"


def call(*words: Any) -> int:
    return run(["evaluate", "sr", *map(str, words)])


def test_a_table(photos: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--data", photos, "-m", model) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].startswith("2 photos, means")
    assert [line.split()[0] for line in lines[2:]] == ["bicubic", "lanczos", "mine"]
    assert all(name in lines[1] for name in ("psnr", "ssim", "vgg19-cosine"))
    assert out.count("*") == 4  # of the first line, and one a metric
    assert "skipped 1 images smaller than 32x32" in err
    assert "not measured: lpips-alex, the weights of alexnet are not there: opsin weights fetch alexnet" in err
    assert "not measured: st-lpips-alex, stlpips-pytorch is not installed" in err


def test_files(photos: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out"
    words = ("--data", photos, "-m", model, "-o", output, "--losses", "esrgan")
    assert call(*words, "--json") == 0
    out, _ = capsys.readouterr()
    content = json.loads(out.splitlines()[0])
    assert json.loads((output / "scores.json").read_text()) == content
    rows = list(csv.DictReader((output / "scores.csv").read_text().splitlines()))
    assert [(row["image"], row["model"]) for row in rows] == [
        (name, model) for name in ("a.png", "more/b.png") for model in ("bicubic", "lanczos", "mine")
    ]
    for name in ("psnr", "ssim", "vgg19-cosine", "esrgan"):
        values = [float(row[name]) for row in rows if row["model"] == "mine"]
        assert content["means"]["mine"][name] == pytest.approx(sum(values) / 2)
    with Image.open(output / "tradeoff.png") as plot, Image.open(output / "crops.png") as crops:
        assert plot.width == 960
        assert crops.width > 4 * 256
    assert "esrgan" in (output / "tradeoff.html").read_text()
    before = (output / "scores.json").read_bytes()
    assert call(*words) == 2
    assert "which exists" in capsys.readouterr().err
    assert (output / "scores.json").read_bytes() == before
    assert call(*words, "--overwrite") == 0


def test_small_images_from_a_folder(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = tmp_path / "small"
    (small / "more").mkdir(parents=True)
    for name in ("a.png", "tiny.png"):
        with Image.open(photos / name) as image:
            image.resize((image.width // 4, image.height // 4)).save(small / name)
    words = ("--data", photos, "--small", small, "--json")
    assert call(*words) == 2
    assert "--small must hold an image for each photo, got none for 1 of 3: more/b.png" in capsys.readouterr().err
    Image.new("RGB", (12, 12)).save(small / "more" / "b.jpg")
    assert call(*words) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["signature"]["downscale"] == "given"
    assert {row["image"]: row["psnr"] for row in content["images"]}["more/b.png"] < 20


def test_a_corrupt_image_is_named_at_the_end(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "broken.png").write_bytes(b"\x89PNG no more")
    assert call("--data", photos) == 1
    out, err = capsys.readouterr()
    assert out.startswith("2 photos")
    assert err.splitlines()[-1].startswith("opsin: image")
    assert "broken.png" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--scale", "2"), "models must enlarge 2 times, got 'mine', which does 4 times"),
        (("--losses", "lpips"), "unknown loss 'lpips'"),
        (("--downscale", "gimp"), "unknown kind 'gimp'"),
        (("--losses", "lpips-vgg", "--device", "cpux"), "cpux"),
        (("-m", "none.safetensors"), "none.safetensors"),
        (("--data", "nowhere"), "data must be a folder of images, got 'nowhere', which is nothing"),
        (("-o", "no/where"), "output must be in a folder that exists"),
    ],
)
def test_what_is_wrong(
    photos: Path, model: Path, words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("--data", photos, "-m", model, *words) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_models_of_other_kinds_and_of_one_name(
    photos: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_network(tmp_path / "style.safetensors", ImageTransformNet(2, 1), {})
    assert call("--data", photos, "-m", tmp_path / "style.safetensors") == 2
    assert "one that enlarges images" in capsys.readouterr().err
    assert call("--data", photos, "-m", model, "-m", model) == 2
    assert "models must have different names" in capsys.readouterr().err


def test_nothing_that_can_be_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tiny").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "tiny" / "a.png")
    assert call("--data", tmp_path / "tiny", "--losses", "esrgan") == 2
    assert "one image at least must be measured, got none of 1" in capsys.readouterr().err
