"""`opsin stylize`: files in, a file out, and what may go wrong between."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from opsin.images import read_image, write_image

TINY = ("--size", "48", "--start", "24", "--steps", "2", "--net", "vgg11", "--weights", "random")


@pytest.fixture(autouse=True)
def _pictures(tmp_path: Path) -> None:
    for i, (name, size) in enumerate({"photo": (24, 32), "painting": (40, 30), "other": (20, 20)}.items()):
        coarse = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(i))
        write_image(tmp_path / f"{name}.png", torch.nn.functional.interpolate(coarse, size, mode="bilinear"))


def test_a_picture_that_says_how_it_was_made(opsin, tmp_path):
    done = opsin("stylize", "photo.png", "--style", "painting.png", "-o", "out.png", *TINY)
    assert done.code == 0 and done.out == "wrote out.png, 48x36\n"
    lines = done.err.splitlines()
    assert [line.split()[0] for line in lines] == ["24x18", "48x36"], done.err
    assert "step 2/2" in lines[1] and "style" in lines[1] and "s/step" in lines[1] and "left" in lines[1]
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (48, 36) and "icc_profile" in image.info
        assert json.loads(image.info["opsin:settings"])["size"] == 48
        assert json.loads(image.info["opsin:style"]) == ["painting.png"]
        assert "vgg11 random" in image.info["opsin:signature"] and str(tmp_path) not in str(image.info)


def test_several_paintings_regions_and_previews(call, tmp_path):
    for name in ("photo", "painting", "other"):
        areas = torch.zeros(1, 3, 10, 10)
        areas[..., :5] = 1
        write_image(tmp_path / f"{name}-regions.png", areas)
    styles = ("-s", "painting.png", "-s", "other.png", "--style-weights", "2,1")
    regions = ("--regions", "photo-regions.png", "--style-regions", "painting-regions.png")
    done = call(
        "stylize", "photo.png", *styles, *regions, "--style-regions", "other-regions.png", "-o", "out.png", *TINY,
        "--preview", "1", "--keep-colors", "luminance", "--init", "other.png",
    )  # fmt: skip
    assert done.code == 0 and "style 1" in done.err and "style 2" in done.err
    assert "resized photo-regions.png from 10x10 to 32x24, the size of its picture" in done.err
    assert {p.name for p in tmp_path.glob("out*")} == {"out.png", "out-preview.png"}


def test_nothing_is_overwritten_unasked(call, tmp_path):
    (tmp_path / "out.png").write_bytes(b"mine")
    arguments = ("stylize", "photo.png", "-s", "painting.png", "-o", "out.png", *TINY)
    call(*arguments).refuses("output must be a new file", "out.png")
    assert (tmp_path / "out.png").read_bytes() == b"mine"
    assert call(*arguments, "--overwrite").code == 0
    assert read_image(tmp_path / "out.png").shape == (1, 3, 36, 48)


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["no.png", "-s", "painting.png"], ["no.png", "must be a file that exists"]),
        (["photo.png", "-s", "broken.png"], ["broken.png"]),
        (["photo.png", "-s", "painting.png", "--style-weights", "1,2"], ["one for each of 1 paintings, got 2"]),
        (["photo.png", "-s", "painting.png", "--style-weights", "a"], ["--style-weights must be numbers", "'a'"]),
        (["photo.png", "-s", "painting.png", "--loss", "gatsy"], ["did you mean 'gatys'"]),
        (["photo.png", "-s", "painting.png", "--size", "4"], ["size must be a whole number of at least 16"]),
        (["photo.png", "-s", "painting.png", "--resume"], ["--resume must go with --checkpoint"]),
        (["photo.png", "-s", "painting.png", "--resume", "--checkpoint", "none"], ["must exist", "none"]),
        (["photo.png", "-s", "painting.png", "--preview", "-1"], ["--preview must be a number of steps"]),
        (["photo.png", "-s", "painting.png", "--device", "cuda:77"], ["device must be one of this machine"]),
        (
            ["photo.png", "-s", "painting.png", "--regions", "other.png"],
            ["--regions must go with as many --style-regions"],
        ),
        (["photo.png", "-s", "painting.png", "--init", "no.png"], ["no.png"]),
    ],
)
def test_bad_arguments(call, tmp_path, arguments, fragments):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG and nothing more")
    before = {p.name for p in tmp_path.iterdir()}
    call("stylize", *TINY, *arguments, "-o", "out.png").refuses(*fragments)
    assert {p.name for p in tmp_path.iterdir()} == before


def test_ctrl_c_keeps_the_best_picture_and_a_checkpoint_that_goes_on(tmp_path, start, opsin):
    arguments = ["stylize", "photo.png", "-s", "painting.png", *TINY, "--checkpoint", "run", "--checkpoint-every", "2"]
    arguments[arguments.index("--steps") + 1] = "40"
    process = start(*arguments, "-o", "out.png")
    deadline = time.monotonic() + 60
    while not (tmp_path / "run").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and out.startswith("wrote out.png"), err
    assert "stopped early: it was interrupted at step" in err and "Traceback" not in err
    assert bool(read_image(tmp_path / "out.png").isfinite().all())
    done = opsin(*arguments, "-o", "end.png", "--resume")
    assert done.code == 0, done.err
    assert read_image(tmp_path / "end.png").shape == (1, 3, 36, 48)
