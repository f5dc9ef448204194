"""`opsin train autoencoder`, and what its networks do afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from opsin.gan.autoencoding.recipe import AutoencoderRecipe
from opsin.gan.autoencoding.settings import AutoencoderSettings
from opsin.networks import VQ, load_network, make_translator, save_network

pytest.importorskip("accelerate", reason="extra 'train'")

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
    return ("train", "autoencoder", "--data", data, "-o", run, *words)


def test_from_training_to_codes_and_back(call, studio):
    options = ("--model", "vq", "--entries", "8", "--attention", "--val-fraction", "0.3", "--val-every", "1")
    text = call(*train(*options, *SMALL)).succeeds()
    assert text.splitlines()[-1] == "wrote run/model.safetensors"
    logged = [json.loads(line) for line in (studio / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {"pixels", "perceptual", "codebook", "val_psnr"} < logged[0].keys()
    assert {"gan", "adaptive", "discriminator"} < logged[1].keys()
    call("train", "autoencoder", "-o", "run", "--resume", "--steps", "3").succeeds()
    call("train", "autoencoder", "-o", "run", "--resume", "--steps", "4", "--model", "vae").refuses(
        "model must stay vq"
    )
    network, about = load_network(studio / "run" / "model.safetensors", "vq")
    assert (about["step"], about["disc_start"]) == (3, 1)
    assert isinstance(network, VQ)
    assert network.attention
    assert network.encode(torch.rand(1, 3, 16, 24)).shape == (1, 4, 6)


def test_what_is_refused(call, studio, noise):
    (studio / "empty").mkdir()
    (studio / "small").mkdir()
    noise(16, 16).save(studio / "small" / "a.png")
    call(*train(*SMALL, data="empty")).refuses("data must be a folder of images, got none in 'empty'")
    call(*train(*SMALL, data="small")).refuses("as large as a crop", "16x16")
    call(*train("--model", "vea", *SMALL)).refuses("unknown model 'vea'", "did you mean 'vae'")
    call(*train("--downsampling", "3", *SMALL)).refuses("downsampling must be 4 or 8, got 3")
    call(*train("--entries", "8", *SMALL)).refuses("entries must be left out for 'vae'")
    call(*train("--perceptual", "lpips-vgg", "--weights", "none.pth", *SMALL)).refuses("none.pth")
    call(*train(*SMALL[2:], "--width", "6")).refuses("width must be a multiple of 4, got 6")
    call(*train(*SMALL, "--crop", "20")).refuses("discriminator 'patch'", "at least 24x24, got 20x20")
    small = ("--perceptual", "lpips-alex", "--weights", "random")
    call(*train(*SMALL, *small, "--crop", "24")).refuses("perceptual 'lpips-alex', got 24", "at least 31×31")
    small = ("--perceptual", "fdl", "--weights", "random")
    call(*train(*SMALL, *small)).refuses("crop must be large enough for perceptual 'fdl', got 32", "5×5 positions")
    (studio / "config.yaml").write_text("kind: gan\n")
    call(*train(*SMALL, "--config", "config.yaml")).refuses("config must be of 'autoencoder' training, got 'gan'")
    assert not (studio / "run").exists()
    save_network(studio / "other.safetensors", make_translator("tiny"), {})
    with pytest.raises(ValueError, match="'vae', got 'pix2pixhd'"):
        load_network(studio / "other.safetensors", "vae")


def test_a_codebook_begins_as_codes_of_the_data(studio):
    """Near 0 each place would have one of a few entries."""
    given = {"data": studio / "photos", "output": studio / "run", "crop": 32, "width": 4, "blocks": 1}
    settings = AutoencoderSettings.collect({**given, "model": "vq", "entries": 128, "perceptual": "none"})
    one, same = (AutoencoderRecipe(settings) for _ in range(2))
    network = one.autoencoder
    assert isinstance(network, VQ)
    assert torch.equal(network.codebook.weight, same.autoencoder.state_dict()["codebook.weight"])
    crops = torch.stack([one.folder(settings)[i].images[0] for i in range(4)])
    with torch.no_grad():
        found = network.encode(crops).flatten()
    assert len(found) == 2 * 128
    assert len(found.unique()) > 96  # all, but for photos that repeat
    network.begin(crops[:1, :, :8, :8])  # fewer places than entries: some of them twice
    assert len(network.codebook.weight.unique(dim=0)) == 4
