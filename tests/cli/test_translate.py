"""`opsin train translate`, and `opsin translate` with what it leaves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from opsin.networks import make_generator, make_translator, save_network

SMALL = (
    *("--generator", "tiny", "--discriminator-width", "2", "--crop", "32", "--steps", "2", "--recipe", "pix2pix"),
    *("--device", "cpu", "--workers", "0"),
)


@pytest.fixture
def studio(tmp_path: Path, noise) -> Path:
    """A folder with pairs, and an untrained network."""
    for kind in ("input", "target"):
        (tmp_path / "pairs" / kind).mkdir(parents=True)
        for i in range(3):
            noise(40, 36, i).save(tmp_path / "pairs" / kind / f"{i}.png")
    torch.manual_seed(0)
    save_network(tmp_path / "model.safetensors", make_translator("tiny"), {})
    return tmp_path


def test_from_training_to_pictures(call, studio):
    pytest.importorskip("accelerate", reason="extra 'train'")
    text = call("train", "translate", "--data", "pairs", "-o", "run", *SMALL).succeeds()
    assert text.splitlines()[-1] == "wrote run/model.safetensors"
    text = call("translate", "pairs/input", "-m", "run/model.safetensors", "-o", "made").succeeds()
    assert text == "wrote 3 images to made\n"
    with Image.open(studio / "made" / "1.png") as made:
        assert made.size == (40, 36)
    call("train", "translate", "-o", "run", "--resume", "--steps", "3").succeeds()
    (studio / "pairs" / "input" / "2.png").rename(studio / "pairs" / "input" / "3.png")
    call("train", "translate", "--data", "pairs", "-o", "new", *SMALL).refuses("got 1 of 3 without: '3'")
    assert not (studio / "new").exists()


def test_what_translate_refuses(call, studio):
    model = ("-m", "model.safetensors")
    call("translate", "pairs/input/0.png", *model, "-o", "one.jpg").succeeds()
    call("translate", "pairs/input/0.png", *model, "-o", "one.jpg").refuses("one.jpg", "exists")
    call("translate", "pairs/input", *model, "-o", "made").succeeds()
    call("translate", "pairs/input", *model, "-o", "made").refuses("and 2 more, which exist")
    assert call("translate", "pairs/input", *model, "-o", "made", "--skip-existing").succeeds().startswith("wrote 0")
    save_network(studio / "other.safetensors", make_generator("tiny", 32), {})
    call("translate", "pairs/input", "-m", "other.safetensors", "-o", "no").refuses("'pix2pixhd', got 'fastgan'")
    call("translate", "none.png", *model, "-o", "no.png").refuses("none.png")
    (studio / "pairs" / "input" / "bad.png").write_bytes(b"no image")
    Image.new("RGB", (5, 5)).save(studio / "pairs" / "input" / "tiny.png")
    outcome = call("translate", "pairs/input", *model, "-o", "some")
    assert (outcome.code, outcome.out) == (1, "wrote 3 images to some\n")
    assert [line.split()[0] for line in outcome.err.splitlines()] == ["opsin:", "opsin:"]
    assert "bad.png" in outcome.err
    assert "sides of at least 8" in outcome.err
