"""`opsin upscale`: which files it makes of which, what it keeps of them, and what may go wrong.

The model is an ONNX file that repeats each pixel twice in both directions, so that results are known.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from opsin.images import Picture, read_picture, write_picture

onnx = pytest.importorskip("onnx", reason="extra 'onnx'")
pytest.importorskip("onnxruntime")

MODEL = ("--model", "double.onnx", "--device", "cpu")

_EXACTLY = {"nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}


@pytest.fixture(autouse=True)
def _model(tmp_path: Path) -> None:
    make, floats = onnx.helper, onnx.TensorProto.FLOAT
    graph = make.make_graph(
        [make.make_node("Resize", ["image", "", "scales"], ["result"], mode="nearest", **_EXACTLY)],
        "double",
        [make.make_tensor_value_info("image", floats, ["n", 3, "h", "w"])],
        [make.make_tensor_value_info("result", floats, ["n", 3, "h2", "w2"])],
        [make.make_tensor("scales", floats, [4], [1.0, 1.0, 2.0, 2.0])],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(tmp_path / "double.onnx"))


def doubled(values: np.ndarray) -> np.ndarray:
    return values.repeat(2, axis=0).repeat(2, axis=1)


def levels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


# --- which files


def test_a_file_that_says_how_it_was_made(opsin, tmp_path, noise):
    noise(12, 8).save(tmp_path / "a.png")
    done = opsin("upscale", "a.png", "-o", "b.png", *MODEL)
    assert done.code == 0 and done.out == "wrote b.png, 24x16\n" and done.err == "", done
    np.testing.assert_array_equal(levels(tmp_path / "b.png"), doubled(levels(tmp_path / "a.png")))
    with Image.open(tmp_path / "b.png") as image:
        assert image.info["opsin:image"] == "a.png" and image.info["opsin:model"] == "double x2, double.onnx"
        assert image.info["Software"].startswith("opsin ")


def test_a_folder_keeps_its_tree(call, tmp_path, noise):
    for name in ("in/a.jpg", "in/deep/er/b.PNG", "in/c.gif", "in/.hidden/d.png", "in/.e.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        noise(5, 4).save(tmp_path / name)
    (tmp_path / "in/notes.txt").write_text("none")
    done = call("upscale", "in", "-o", "out/new", *MODEL)
    assert done.code == 0 and done.out == "wrote 3 images to out/new\n"
    assert [line.split()[:2] for line in done.err.splitlines()] == [
        ["1/3", "in/a.jpg"],
        ["2/3", "in/c.gif"],
        ["3/3", "in/deep/er/b.PNG"],
    ]
    assert files(tmp_path / "out/new") == {"a.jpg", "c.png", "deep/er/b.PNG"}
    assert levels(tmp_path / "out/new/deep/er/b.PNG").shape == (8, 10, 3)


def test_patterns_formats_and_suffixes(call, tmp_path, noise):
    for name in ("in/a.png", "in/deep/b.png", "in/deep/c.jpg", "[x].png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        noise(5, 4).save(tmp_path / name)
    assert call("upscale", "in/**/*.png", "-o", "out", *MODEL, "--suffix", "_x2").code == 0
    assert files(tmp_path / "out") == {"a_x2.png", "deep/b_x2.png"}
    assert call("upscale", "in/*/?.jpg", "[x].png", "-o", "webp", *MODEL, "--format", "webp").code == 0
    assert files(tmp_path / "webp") == {"deep/c.webp", "[x].webp"}


def test_an_output_below_or_beside_the_input_is_not_made_larger_again(call, tmp_path, noise):
    (tmp_path / "in").mkdir()
    noise(5, 4).save(tmp_path / "in/a.png")
    for _ in range(2):
        assert call("upscale", "in", "-o", "in/large", *MODEL, "--overwrite").code == 0
        assert files(tmp_path / "in") == {"a.png", "large/a.png"}
    (tmp_path / "in/large/a.png").unlink()
    for _ in range(2):
        assert call("upscale", "in", "-o", "in", "--suffix", "_x2", *MODEL, "--overwrite").code == 0
        assert files(tmp_path / "in") == {"a.png", "a_x2.png"}
    call("upscale", "in/a.png", "-o", "in", *MODEL, "--overwrite").refuses(
        "output must be none of the inputs", "--suffix _new"
    )
    assert levels(tmp_path / "in/a.png").shape == (4, 5, 3)


def test_what_exists_is_left_out_or_replaced_as_asked(call, tmp_path, noise, snapshot):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    for name in ("a", "b", "c"):
        noise(5, 4).save(tmp_path / f"in/{name}.png")
    for name in ("a", "b"):
        (tmp_path / f"out/{name}.png").write_bytes(b"mine")
    before = snapshot()
    call("upscale", "in", "-o", "out", *MODEL).refuses("output must be new files", "out/a.png", "and 1 more")
    call("upscale", "in/a.png", "-o", "out/b.png", *MODEL).refuses("output must be a new file", "out/b.png")
    call("upscale", "in", "-o", "out", *MODEL, "--overwrite", "--skip-existing").refuses("one of --skip-existing")
    assert snapshot() == before
    done = call("upscale", "in", "-o", "out", *MODEL, "--skip-existing")
    assert (done.code, done.out) == (0, "wrote out/c.png, 10x8, left out 2 that existed\n")
    assert (tmp_path / "out/a.png").read_bytes() == b"mine"
    done = call("upscale", "in", "-o", "out", *MODEL, "--skip-existing")
    assert (done.code, done.out, done.err) == (0, "wrote 0 images to out, left out 3 that existed\n", "")
    assert call("upscale", "in", "-o", "out", *MODEL, "--overwrite").code == 0
    assert levels(tmp_path / "out/a.png").shape == (8, 10, 3)


def test_two_images_of_one_name(call, tmp_path, noise, snapshot):
    (tmp_path / "other").mkdir()
    for name in ("a.png", "a.jpg", "other/a.png"):
        noise(5, 4).save(tmp_path / name)
    before = snapshot()
    call("upscale", "a.png", "other/a.png", "-o", "out", *MODEL).refuses("an output of its own", "out/a.png")
    call("upscale", "a.png", "a.jpg", "-o", "out", *MODEL, "--format", "webp").refuses("out/a.webp")
    assert snapshot() == before
    assert call("upscale", "a.png", "./a.png", "-o", "out", *MODEL).code == 0


# --- what is kept


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("grey", [False, True])
def test_depth_transparency_and_grey(call, tmp_path, suffix, depth, alpha, grey):
    top = 2**depth - 1
    values = torch.randint(0, top + 1, (1, 4, 6, 5), generator=torch.Generator().manual_seed(0)) / top
    colour = values[:, :1].expand(-1, 3, -1, -1) if grey else values[:, :3]
    picture = Picture(colour, values[:, 3:] if alpha else None, depth, grey)
    write_picture(tmp_path / f"a.{suffix}", picture)
    call("upscale", f"a.{suffix}", "-o", f"b.{suffix}", *MODEL).succeeds()
    first, second = read_picture(tmp_path / f"a.{suffix}"), read_picture(tmp_path / f"b.{suffix}")
    assert (second.depth, second.grey, second.alpha is not None) == (depth, first.grey, alpha)
    for one, two in ((first.colour, second.colour), (first.alpha, second.alpha)):
        if one is not None:
            expected = one.repeat_interleave(2, -1).repeat_interleave(2, -2)
            torch.testing.assert_close(two, expected, atol=1e-6, rtol=0)


def test_an_opaque_alpha_stays_and_costs_nothing(call, tmp_path, monkeypatch):
    from opsin.superres.onnx import OnnxUpscaler

    runs = []
    plain = OnnxUpscaler.forward
    monkeypatch.setattr(OnnxUpscaler, "forward", lambda self, x: runs.append(x.shape) or plain(self, x))
    for opacity, count in ((255, 1), (254, 2)):
        Image.new("RGBA", (5, 4), (9, 8, 7, opacity)).save(tmp_path / "a.png")
        runs.clear()
        assert call("upscale", "a.png", "-o", "b.png", *MODEL, "--overwrite").code == 0
        assert len(runs) == count and levels(tmp_path / "b.png")[0, 0].tolist() == [9, 8, 7, opacity]


def test_kinds_of_images(call, tmp_path, noise):
    (tmp_path / "in").mkdir()
    photo = noise(7, 5)
    photo.convert("CMYK").save(tmp_path / "in/cmyk.jpg")
    photo.quantize(7).save(tmp_path / "in/palette.png")
    photo.convert("1").save(tmp_path / "in/bits.png")
    photo.save(tmp_path / "in/photo.webp", lossless=True)
    photo.crop((0, 0, 1, 1)).save(tmp_path / "in/one.bmp")
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(tmp_path / "in/turned.png", exif=exif)
    done = call("upscale", "in", "-o", "out", *MODEL)
    assert done.code == 0, done
    shapes = {path.name: levels(path).shape for path in (tmp_path / "out").iterdir()}
    assert shapes == {
        "cmyk.jpg": (10, 14, 3),
        "palette.png": (10, 14, 3),
        "bits.png": (10, 14),
        "photo.webp": (10, 14, 3),
        "one.bmp": (2, 2, 3),
        "turned.png": (14, 10, 3),
    }
    np.testing.assert_array_equal(levels(tmp_path / "out/photo.webp"), doubled(np.asarray(photo)))


def test_another_factor(call, tmp_path):
    ramp = np.linspace(0, 255, 60).astype(np.uint8)[None].repeat(40, 0)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    assert call("upscale", "a.png", "-o", "b.png", *MODEL, "--outscale", "1.5").out == "wrote b.png, 90x60\n"
    expected = np.linspace(0, 255, 90)[None].repeat(60, 0)
    np.testing.assert_allclose(levels(tmp_path / "b.png"), expected, atol=5)


def test_tiles_that_may_be_seen_are_told(call, tmp_path, noise):
    noise(90, 40).save(tmp_path / "a.png")
    done = call("upscale", "a.png", "-o", "b.png", *MODEL, "--tile", "32")
    assert done.code == 0 and len(done.err.splitlines()) == 1
    assert "tiles of 'double' may differ a little from the whole image" in done.err
    assert "how far is not known, and tiles of 32 are given 32; --overlap gives more" in done.err
    np.testing.assert_array_equal(levels(tmp_path / "b.png"), doubled(levels(tmp_path / "a.png")))


# --- models


def test_a_trained_network_and_its_onnx_file_in_tiles_make_the_same(call, tmp_path, noise):
    from opsin.networks import make_upscaler, save_network

    torch.manual_seed(0)
    save_network(tmp_path / "model.safetensors", make_upscaler("edsr", 2, width=8, blocks=1), {"step": 3})
    noise(50, 37).save(tmp_path / "a.png")
    call("export", "model.safetensors", "model.onnx").succeeds()
    for name, model, tile in (
        ("whole", "model.safetensors", 0),
        ("ours", "model.safetensors", 16),
        ("onnx", "model.onnx", 16),
    ):
        call("upscale", "a.png", "-o", f"{name}.png", "--model", model, "--tile", tile, "--device", "cpu").succeeds()
    whole = levels(tmp_path / "whole.png").astype(int)
    assert whole.shape == (74, 100, 3)
    for name in ("ours", "onnx"):
        # What lies between two levels may be rounded to either.
        assert np.abs(levels(tmp_path / f"{name}.png") - whole).max() <= 1


def test_a_network_of_another_kind(call, tmp_path, noise):
    from opsin.networks import ImageTransformNet, save_network

    save_network(tmp_path / "style.safetensors", ImageTransformNet(width=4, blocks=1), {})
    noise(5, 4).save(tmp_path / "a.png")
    call("upscale", "a.png", "-o", "b.png", "--model", "style.safetensors").refuses(
        "model must be one that enlarges images", "style.safetensors"
    )


# --- what may go wrong


def test_what_cannot_be_read_is_told_at_the_end(call, tmp_path, noise):
    (tmp_path / "in").mkdir()
    noise(5, 4).save(tmp_path / "in/b.png")
    noise(9, 9).save(tmp_path / "in/long.png")
    whole = (tmp_path / "in/long.png").read_bytes()
    (tmp_path / "in/a.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "in/c.png").write_bytes(b"nothing")
    (tmp_path / "in/d.jpg").write_bytes(b"")
    done = call("upscale", "in", "-o", "out", *MODEL)
    assert done.code == 1 and done.out == "wrote 2 images to out\n"
    complaints = [line for line in done.err.splitlines() if line.startswith("opsin: ")]
    assert done.err.splitlines()[-3:] == complaints and len(complaints) == 3
    for name, line in zip(("a.png", "c.png", "d.jpg"), complaints, strict=True):
        assert f"in/{name}" in line
    assert files(tmp_path / "out") == {"b.png", "long.png"}
    call("upscale", "in/c.png", "-o", "c.png", *MODEL).refuses("in/c.png", code=1)


def test_a_format_without_room(call, tmp_path):
    Image.new("L", (9000, 1)).save(tmp_path / "a.png")
    Image.new("L", (9, 1)).save(tmp_path / "b.png")
    done = call("upscale", "a.png", "b.png", "-o", "out", "--format", "webp", *MODEL)
    assert done.code == 1 and "a WEBP file must have at most 16,383 pixels a side, got 18000x2" in done.err
    assert files(tmp_path / "out") == {"b.webp"}


def test_results_that_are_too_large(call, tmp_path, monkeypatch, noise):
    from opsin.superres import files as superres_files

    noise(20, 10).save(tmp_path / "a.png")
    monkeypatch.setattr(superres_files, "MAX_RESULT_PIXELS", 799)
    call("upscale", "a.png", "-o", "b.png", *MODEL).refuses("'a.png'", "at most 799 pixels, got 40x20", code=1)
    monkeypatch.setattr(superres_files, "MAX_RESULT_PIXELS", 800)
    monkeypatch.setattr(superres_files, "available_memory", lambda: 15999)
    call("upscale", "a.png", "-o", "b.png", *MODEL).refuses("'a.png'", "a result must fit into memory", code=1)


def test_no_space_left_ends_it_with_nothing_half_written(call, tmp_path, noise, monkeypatch):
    for name in ("a.png", "b.png"):
        noise(20, 10).save(tmp_path / name)
    (tmp_path / "0.png").write_bytes(b"nothing")
    plain = Image.Image.save

    def full(self: Image.Image, path: Path, **options: object) -> None:
        plain(self, path, **options)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    done = call("upscale", "0.png", "a.png", "b.png", "-o", "out", *MODEL)
    lines = done.err.splitlines()
    assert done.code == 2 and done.out == "" and len(lines) == 2, done
    assert "0.png" in lines[0] and "No space left on device" in lines[1] and "out/a.png" in lines[1]
    assert not files(tmp_path / "out")


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["no.png", "-o", "out"], ["input must be a file, a folder or a pattern, got 'no.png'"]),
        (["no*.png", "-o", "out"], ["input must hold images, got the pattern 'no*.png'"]),
        (["empty", "-o", "out"], ["input must hold images, got the folder 'empty'", ".png"]),
        (["a.png", "a.jpg", "-o", "out.png"], ["output must be a folder for 2 images", "out.png"]),
        (["*.png", "-o", "out.png"], ["output must be a folder for what a folder or a pattern holds"]),
        (["a.png", "-o", "out.xyz"], ["image file must end in", "out.xyz"]),
        (["a.png", "-o", "no/b.png"], ["output folder must exist"]),
        (["a.png", "-o", "b.png", "--format", "jpg"], ["format must be left out where the output is a file"]),
        (["a.png", "-o", "out", "--format", "jgp"], ["unknown format 'jgp'", "did you mean 'jpg'"]),
        (["a.png", "-o", "out", "--suffix", "x/y"], ["suffix must be a part of a file's name"]),
        (["a.png", "-o", "out", "--tile", "3"], ["tile must be at least 16 pixels"]),
        (["a.png", "-o", "out", "--overlap", "-3"], ["overlap must be a whole number of at least 0"]),
        (["a.png", "-o", "out", "--outscale", "0"], ["--outscale must be more than 0"]),
        (["a.png", "-o", "out", "--outscale", "nan"], ["--outscale must be more than 0"]),
        (["a.png", "-o", "out", "--precision", "half"], ["unknown precision 'half'"]),
        (["a.png", "-o", "out", "--device", "cuda:77"], ["device must be one of this machine"]),
        (["a.png", "-o", "out", "--model", "no.onnx"], ["model must be an ONNX file, got 'no.onnx', no file"]),
        (["a.png", "-o", "out", "--model", "a.png"], ["a.png"]),
        (["a.png", "-o", "out", "--model", "no.safetensors"], ["no.safetensors"]),
        (["a.png", "-o", "double.onnx/out"], ["double.onnx"]),
    ],
)
def test_bad_arguments(call, tmp_path, noise, snapshot, arguments, fragments):
    (tmp_path / "empty").mkdir()
    for name in ("a.png", "a.jpg"):
        noise(5, 4).save(tmp_path / name)
    before = snapshot()
    call("upscale", *MODEL, *arguments).refuses(*fragments)
    assert snapshot() == before


def test_ctrl_c_ends_after_the_tile(tmp_path, start, noise):
    for name in ("a", "b"):
        noise(16, 16).resize((1500, 1500)).save(tmp_path / f"{name}.png", compress_level=1)
    Image.new("L", (3, 3)).save(tmp_path / "0.png")
    process = start("upscale", "0.png", "a.png", "b.png", "-o", "out", *MODEL, "--tile", "16", "--overlap", "0")
    deadline = time.monotonic() + 60
    while not (tmp_path / "out/0.png").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err, err
    assert out.startswith("wrote ") and " of 3 images are done" in err and err.endswith("opsin: interrupted\n")
    assert files(tmp_path / "out") < {"0.png", "a.png", "b.png"}
