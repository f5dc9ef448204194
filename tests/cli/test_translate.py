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
    outcome = call("translate", "pairs/input", "-m", "run/model.safetensors", "-o", "made")
    assert (outcome.code, outcome.out) == (0, "wrote 3 images to made\n")
    assert [line.split()[0] for line in outcome.err.splitlines()] == ["1/3", "2/3", "3/3"]
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
    assert call("translate", "pairs/input", *model, "-o", "made").code == 0
    call("translate", "pairs/input", *model, "-o", "made").refuses("and 2 more, which exist")
    assert call("translate", "pairs/input", *model, "-o", "made", "--skip-existing").succeeds().startswith("wrote 0")
    save_network(studio / "other.safetensors", make_generator("tiny", 32), {})
    call("translate", "pairs/input", "-m", "other.safetensors", "-o", "no").refuses("'pix2pixhd', got 'fastgan'")
    call("translate", "none.png", *model, "-o", "no.png").refuses("none.png")
    (studio / "pairs" / "input" / "bad.png").write_bytes(b"no image")
    Image.new("RGB", (5, 5)).save(studio / "pairs" / "input" / "tiny.png")
    outcome = call("translate", "pairs/input", *model, "-o", "some")
    assert (outcome.code, outcome.out) == (1, "wrote 3 images to some\n")
    assert [line.split()[0] for line in outcome.err.splitlines()[-2:]] == ["opsin:", "opsin:"]
    assert "bad.png" in outcome.err
    assert "sides of at least 8" in outcome.err


def test_what_becomes_of_the_others(call, studio, noise, monkeypatch):
    """An image without room fails alone; a disk without ends it, and what failed before is told all the same."""
    from opsin import devices

    model = ("-m", "model.safetensors", "--device", "cpu")
    folder = studio / "some"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"no image")
    noise(20, 10).save(folder / "b.png")
    noise(200, 100).save(folder / "c.png")
    call("translate", "some/b.png", *model, "-o", "b.png").succeeds()
    with Image.open(studio / "b.png") as made:
        assert made.info["opsin:model"] == "model.safetensors"
        assert (made.info["opsin:image"], made.size) == ("b.png", (20, 10))
    with monkeypatch.context() as patch:
        patch.setattr(devices, "available_memory", lambda _: 2**20)
        outcome = call("translate", "some", *model, "-o", "made")
    assert (outcome.code, outcome.out) == (1, "wrote 1 images to made\n")
    lines = outcome.err.splitlines()[-2:]
    assert "some/a.png" in lines[0]
    assert "'some/c.png': an image must fit into memory, got 200x100 pixels" in lines[1]
    assert [path.name for path in (studio / "made").iterdir()] == ["b.png"]

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    outcome = call("translate", "some", *model, "-o", "none")
    assert (outcome.code, outcome.out) == (2, "")
    assert ["a.png" in outcome.err.splitlines()[-2], "No space" in outcome.err.splitlines()[-1]] == [True, True]
    assert not list((studio / "none").iterdir())
