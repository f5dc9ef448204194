"""`opsin train gan`, and what is made and measured with its generators."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from opsin.networks import ImageDiscriminator, make_generator, save_network

pytest.importorskip("accelerate", reason="extra 'train'")

SMALL = (
    *("--size", "32", "--generator", "tiny", "--discriminator-width", "2", "--batch", "4", "--steps", "2"),
    *("--network", "efficientnet_lite0", "--weights", "random", "--device", "cpu", "--workers", "0"),
)
SEEN = ("--network", "efficientnet_lite0", "--weights", "random", "--tap", "stage3", "--size", "32")


@pytest.fixture
def studio(tmp_path: Path, noise) -> Path:
    """A folder with pictures, and an untrained generator."""
    (tmp_path / "pictures").mkdir()
    for i in range(8):
        noise(40, 36, i).save(tmp_path / "pictures" / f"{i}.png")
    torch.manual_seed(0)
    generator = make_generator("tiny", 32)
    for _ in range(30):  # for statistics of its layers, without which all of its images are grey
        generator(torch.randn(16, generator.latent))
    save_network(tmp_path / "model.safetensors", generator, {"kind": "gan"})
    return tmp_path


def train(*words: str, run: str = "run", data: str = "pictures") -> tuple[str, ...]:
    return ("train", "gan", "--data", data, "-o", run, *words)


def test_from_training_to_images_and_their_measure(opsin, call, studio):
    assert opsin(*train(*SMALL)).succeeds().splitlines()[-1] == "wrote run/model.safetensors"
    assert (studio / "run" / "samples" / "step-00000002.png").is_file()
    call("train", "gan", "-o", "run", "--resume", "--steps", "3").succeeds()
    call("train", "gan", "-o", "run", "--resume", "--steps", "4", "--size", "64").refuses("crop must stay 32")
    text = call("generate", "-m", "run/model.safetensors", "-n", "5", "-o", "made").succeeds()
    assert text == "wrote 5 images, grid.png to made\n"
    outcome = call("evaluate", "gan", "--data", "pictures", "-m", "run/model.safetensors", *SEEN, "--json")
    assert outcome.code == 0
    found = json.loads(outcome.out)
    assert ("has collapsed" in outcome.err) is found["collapsed"]
    assert (found["generated"], found["real"], found["features"]) == (8, 8, "efficientnet_lite0 stage3 at 32")
    assert found["signature"]["side"] == 32


def test_what_generate_writes(call, studio):
    model = ("-m", "model.safetensors")
    call("generate", *model, "-n", "3", "-o", "a", "--interpolate", "3", "--animate", "a.webp").succeeds()
    names = ["000000.png", "000001.png", "000002.png", "grid.png", "interpolation.png"]
    assert sorted(path.name for path in (studio / "a").iterdir()) == names
    with Image.open(studio / "a" / "interpolation.png") as strip:
        assert strip.size == (9 * 32, 2 * 32)
        rows = np.asarray(strip).reshape(2, 32, 9, 32, 3)
    np.testing.assert_array_equal(rows[0, :, 8], rows[1, :, 0])
    with Image.open(studio / "a" / "000000.png") as first, Image.open(studio / "a.webp") as moving:
        np.testing.assert_array_equal(rows[0, :, 0], np.asarray(first))
        assert moving.n_frames == 3 * 24
    # The same images by number, however many are made.
    call("generate", *model, "-n", "2", "-o", "b", "--batch", "1", "--no-grid").succeeds()
    for name in names[:2]:
        assert (studio / "a" / name).read_bytes() == (studio / "b" / name).read_bytes()
    assert not (studio / "b" / "grid.png").exists()
    call("generate", *model, "-n", "1", "-o", "c", "--truncation", "0.5").succeeds()
    assert (studio / "a" / names[0]).read_bytes() != (studio / "c" / names[0]).read_bytes()


def test_what_generate_refuses(call, studio, noise):
    model = ("-m", "model.safetensors")
    save_network(studio / "judge.safetensors", ImageDiscriminator(32, 2), {})
    call("generate", "-m", "judge.safetensors", "-o", "a").refuses("architecture 'fastgan', got 'image-discriminator'")
    call("generate", "-m", "none.safetensors", "-o", "a").refuses("no file")
    call("generate", *model, "-o", "a", "--truncation", "0").refuses("truncation must be a positive number")
    call("generate", *model, "-o", "a", "--interpolate", "1").refuses("at least 2 images")
    call("generate", *model, "-o", "a", "--animate", "a.avi").refuses(".gif, .webp, .png")
    call("generate", *model, "-o", "no/a").refuses("in a folder that exists")
    assert not (studio / "a").exists()
    call("generate", *model, "-n", "2", "-o", "a").succeeds()
    (studio / "a" / "000000.png").write_text("mine")
    call("generate", *model, "-n", "2", "-o", "a").refuses("'a/000000.png' and 2 more, which exist")
    assert (studio / "a" / "000000.png").read_text() == "mine"
    call("generate", *model, "-n", "2", "-o", "a", "--overwrite").succeeds()
    call("generate", *model, "-o", "model.safetensors").refuses("output must be a folder")


def test_a_constant_generator_is_flagged(call, studio):
    (studio / "made").mkdir()
    for i in range(6):
        Image.new("RGB", (32, 32), (200, 30, i)).save(studio / "made" / f"{i}.png")
    arguments = ("evaluate", "gan", "--data", "pictures", "--samples", "made", *SEEN)
    outcome = call(*arguments, "-o", "out")
    assert outcome.code == 0
    assert "has collapsed" in outcome.err
    assert outcome.out.splitlines()[-1] == "wrote scores.json, samples.png, neighbours.png to out"
    assert json.loads((studio / "out" / "scores.json").read_text())["collapsed"] is True
    for name in ("samples.png", "neighbours.png"):
        with Image.open(studio / "out" / name) as picture:
            picture.load()
    call(*arguments, "-o", "out").refuses("must have no 'scores.json' yet")
    # The data's own images are no collapse.
    assert "collapsed" not in call("evaluate", "gan", "--data", "pictures", "--samples", "pictures", *SEEN).succeeds()


def test_fid(call, studio, monkeypatch):
    pytest.importorskip("torch_fidelity", reason="extra 'fidelity'")
    monkeypatch.setenv("OPSIN_WEIGHTS_DIR", str(studio / "none"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(studio / "hub"))
    data = ("evaluate", "gan", "--data", "pictures", "--samples", "pictures", *SEEN)
    call(*data, "--fid").refuses("official weights of Inception", "https://", "--fid-weights")
    call(*data, "--fid-weights", "none.pth").refuses("none.pth")
    # A network that sees nothing but the mean of each colour stands in for Inception, which takes seconds.
    from opsin.gan import fidelity

    def stand_in(self, weights, *, device, batch=32):
        self.sha256, self.official, self.device, self.batch = "ab" * 32, False, device, batch
        self.network = lambda images: (images.float().mean(dim=(2, 3)),)

    monkeypatch.setattr(fidelity.Inception, "__init__", stand_in)
    text = call(*data, "--fid").succeeds()
    assert "frechet (Inception, weights abababab)  " in text.splitlines()[1]
    assert "too high with so few images" in text.splitlines()[1]
    found = json.loads(call(*data, "--fid-weights", "any.pth", "--json").succeeds())["inception"]
    assert found["fid"] == pytest.approx(0, abs=1e-6)
    assert (found["kid_subset_size"], found["official"]) == (8, False)


def test_what_evaluate_refuses(call, studio):
    data = ("evaluate", "gan", "--data", "pictures")
    (studio / "empty").mkdir()
    call(*data, *SEEN).refuses("one of --samples and --model")
    call(*data, "--samples", "empty", *SEEN).refuses("'empty'")
    call("evaluate", "gan", "--data", "empty", "-m", "model.safetensors", *SEEN).refuses("'empty'")
    call(*data, "-m", "model.safetensors", "-n", "4", *SEEN).refuses("count must be a whole number of at least 5")
    call(*data, "-m", "model.safetensors", *SEEN[:4], "--tap", "stage9").refuses("unknown tap 'stage9'")
    (studio / "pictures" / "broken.png").write_bytes(b"no image")
    outcome = call(*data, "-m", "model.safetensors", *SEEN)
    assert outcome.code == 1
    assert "broken.png" in outcome.err
    assert outcome.out.startswith("8 generated") or outcome.out.startswith("9 generated")


def test_what_training_refuses(call, studio):
    (studio / "empty").mkdir()
    (studio / "one").mkdir()
    (studio / "one" / "a.png").write_bytes((studio / "pictures" / "0.png").read_bytes())
    call(*train(*SMALL, data="empty")).refuses("'empty'")
    call(*train(*SMALL, data="one")).refuses("at least 2 images to learn a generator from, got 1")
    call(*train(*SMALL, "--size", "100")).refuses("32, 64, 128, 256 or 512, got 100")
    call(*train(*SMALL, "--taps", "stage2,stage9")).refuses("unknown tap 'stage9'")
    assert not (studio / "run").exists()
    (studio / "run").mkdir()
    (studio / "run" / "mine.txt").write_text("mine")
    call(*train(*SMALL)).refuses("must be new or empty")
    call("train", "sr", "--data", "pictures", "-o", "other", "--steps", "1", "--crop", "32", "--batch", "1").succeeds()
    call("train", "gan", "-o", "other", "--resume").refuses("config must be of 'gan' training, got 'sr'")
    call("evaluate", "gan", "--data", "pictures", "-m", "other/model.safetensors", *SEEN).refuses("'fastgan'")
