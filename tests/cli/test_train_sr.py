"""`opsin train sr`, and what its networks do afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from opsin.networks import EDSR, ImageTransformNet, load_upscaler, save_network

pytest.importorskip("accelerate", reason="extra 'train'")
pytest.importorskip("spandrel", reason="extra 'sr'")

SMALL = (
    *("--width", "4", "--blocks", "1", "--discriminator-width", "2", "--crop", "32", "--steps", "2", "--batch", "1"),
    *("--device", "cpu", "--workers", "0"),
)


@pytest.fixture
def studio(tmp_path: Path, noise) -> Path:
    """A folder with photos."""
    (tmp_path / "photos").mkdir()
    for i in range(3):
        noise(40, 36, i).save(tmp_path / "photos" / f"{i}.png")
    return tmp_path


def train(*words: str, data: str = "photos", run: str = "run") -> tuple[str, ...]:
    return ("train", "sr", "--data", data, "-o", run, *words)


def test_from_training_to_a_larger_picture(opsin, call, studio):
    text = opsin(*train("--recipe", "esrgan", "--val-fraction", "0.3", "--val-every", "1", *SMALL)).succeeds()
    assert text.splitlines()[-1] == "wrote run/model.safetensors"
    rows = [json.loads(line) for line in (studio / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {"pixels", "val_psnr"} < rows[0].keys()
    assert {"perceptual", "gan", "discriminator"} < rows[1].keys()
    call("upscale", "photos/0.png", "-m", "run/model.safetensors", "-o", "large.png").succeeds()
    with Image.open(studio / "large.png") as large:
        assert large.size == (160, 144)
    call("train", "sr", "-o", "run", "--resume", "--steps", "3").succeeds()
    assert load_upscaler(studio / "run" / "model.safetensors").about["step"] == 3
    call("train", "sr", "-o", "run", "--resume", "--steps", "4", "--gan-weight", "1").refuses("gan_weight must stay")
    more = ("--recipe", "perceptual", "--init", "run/model.safetensors", *SMALL[4:])
    call(*train(*more, run="more")).succeeds()


def test_a_config_file_holds_every_value(call, studio):
    call(*train("--recipe", "real-esrgan", "--pretrain-steps", "1", *SMALL)).succeeds()
    config = (studio / "run" / "config.yaml").read_text()
    assert config.startswith("kind: sr\n")
    (studio / "again.yaml").write_text(config.replace("output: run", "output: again"))
    call("train", "sr", "-o", "again", "--config", "again.yaml").succeeds()
    first, again = ((studio / run / "model.safetensors").read_bytes() for run in ("run", "again"))
    assert first == again
    (studio / "wrong.yaml").write_text("recipe: esrgan\npretrain_step: 5\n")
    call(*train("--config", "wrong.yaml", run="new")).refuses(
        "unknown setting 'pretrain_step'", "did you mean 'pretrain_steps'"
    )
    (studio / "style.yaml").write_text("kind: style\n")
    call(*train("--config", "style.yaml", run="new")).refuses("config must be of 'sr' training, got 'style'")


def test_small_images_are_counted(call, studio, noise):
    noise(20, 20).save(studio / "photos" / "tiny.png")
    outcome = call(*train(*SMALL, "--steps", "6"))
    assert outcome.code == 0
    said = outcome.err.strip()
    assert said.startswith("opsin: skipped 1 images smaller than a crop of 32x32, e.g. '")
    assert said.count("\n") == 0


def test_what_is_refused(call, studio, noise):
    (studio / "empty").mkdir()
    (studio / "small").mkdir()
    noise(16, 16).save(studio / "small" / "a.png")
    with torch.random.fork_rng():
        save_network(studio / "two.safetensors", EDSR(2, 4, 1), {})
        save_network(studio / "style.safetensors", ImageTransformNet(2, 1), {})
    call(*train(*SMALL, data="empty")).refuses("data must be a folder of images, got none in 'empty'")
    call(*train(*SMALL, data="nowhere")).refuses("got 'nowhere', which is nothing")
    call(*train(*SMALL, data="small")).refuses("as large as a crop", "16x16")
    call(*train("--recipe", "esrgam", *SMALL)).refuses("unknown recipe 'esrgam'", "did you mean 'esrgan'")
    call(*train("--scale", "5", "--crop", "40", *SMALL[:6])).refuses("scale must be one of")
    call(*train("--init", "two.safetensors", *SMALL[6:])).refuses("scale must be 2, that of the model")
    call(*train("--init", "style.safetensors", *SMALL[6:])).refuses("one that enlarges images", "style.safetensors")
    call(*train("--init", "two.safetensors", *SMALL)).refuses("network, width and blocks must be left out")
    call(*train("--crop", "30", *SMALL[:6])).refuses("crop must be a multiple of the scale 4, got 30")
    call(*train("--recipe", "esrgan", "--crop", "40", *SMALL[:6])).refuses("discriminator", "40")
    call(*train("--network", "swinir", "--width", "10")).refuses("width must be a multiple of the 6 heads")
    call(*train("--perceptual", "lpips-vgg", "--weights", "none.pth", *SMALL)).refuses("none.pth")
    assert not (studio / "run").exists()
