"""Images of images: pairs, the recipes from end to end, and what a step changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from opsin.errors import ChoiceError, InputError
from opsin.gan.translation.data import TranslationFolder
from opsin.gan.translation.recipe import TranslateRecipe
from opsin.gan.translation.settings import RECIPES, TranslateSettings
from opsin.images import read_image
from opsin.networks import load_network
from opsin.training import Progress, train
from opsin.training.metrics import read_metrics

pytest.importorskip("accelerate", reason="extra 'train'")
pytest.importorskip("tensorboard", reason="extra 'train'")

Given = Callable[..., dict[str, Any]]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Pictures, and the same ones in negative, which the crops must show at the same place."""
    folder = tmp_path / "pairs"
    rng = np.random.default_rng(0)
    for name, size in {"a": (48, 40), "b": (40, 52), "more/c": (64, 64)}.items():
        coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
        picture = coarse.resize(size, Image.Resampling.BICUBIC)
        for kind, ending in (("input", "png"), ("target", "bmp")):
            (folder / kind / name).parent.mkdir(parents=True, exist_ok=True)
            shown = picture if kind == "input" else Image.eval(picture, lambda value: 255 - value)
            shown.save(folder / kind / f"{name}.{ending}")
    return folder


@pytest.fixture
def given(pairs: Path, tmp_path: Path) -> Given:
    """What is given of a run of a few steps."""

    def make(**options: Any) -> dict[str, Any]:
        plain: dict[str, Any] = {
            "data": pairs,
            "output": tmp_path / "run",
            "steps": 3,
            "batch": 2,
            "crop": 32,
            "generator": "tiny",
            "discriminator_width": 2,
            "weights": "random" if options.get("recipe") != "pix2pix" else None,
            "workers": 0,
            "device": "cpu",
            "sample_every": 3,
            "checkpoint_every": 1,
        }
        return {**plain, **options}

    return make


def test_crops_are_at_one_place(pairs: Path) -> None:
    for reverse in (False, True):
        folder = TranslationFolder(pairs, 32, reverse=reverse)
        samples = [folder[i].images for i in range(12)]
        for first, second in samples:
            torch.testing.assert_close(first, 1 - second, rtol=0, atol=1e-6)
        assert len({tuple(x.flatten().tolist()) for x, _ in samples}) > 6
        first, second = folder.middles(3)
        torch.testing.assert_close(first, 1 - second, rtol=0, atol=1e-6)
    straight, back = (TranslationFolder(pairs, 32, reverse=reverse)[0].images for reverse in (False, True))
    assert torch.equal(straight[0], back[1])


def test_both_in_one_image(pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "both").mkdir()
    for path in (pairs / "input").rglob("*.png"):
        with Image.open(path) as left:
            picture = Image.new("RGB", (2 * left.width, left.height))
            picture.paste(left, (0, 0))
            picture.paste(Image.eval(left, lambda value: 255 - value), (left.width, 0))
        picture.save(tmp_path / "both" / path.name)
    folder = TranslationFolder(tmp_path / "both", 32, inputs=None)
    for i in range(6):
        first, second = folder[i].images
        torch.testing.assert_close(first, 1 - second, rtol=0, atol=1e-6)
    picture.crop((0, 0, 41, 40)).save(tmp_path / "both" / "odd.png")
    with pytest.raises(InputError, match=r"even number of columns, got 41 in '.*odd.png'"):
        TranslationFolder(tmp_path / "both", 32, inputs=None)


def test_pairs_that_do_not_match_are_named(pairs: Path) -> None:
    Image.new("RGB", (40, 52)).save(pairs / "input" / "alone.png")
    with pytest.raises(InputError, match=r"got 1 of 4 without: 'alone'"):
        TranslationFolder(pairs, 32)
    (pairs / "input" / "alone.png").unlink()
    Image.new("RGB", (40, 52)).save(pairs / "target" / "other.png")
    with pytest.raises(InputError, match=r"got 1 of 4 without: 'other'"):
        TranslationFolder(pairs, 32)
    (pairs / "target" / "other.png").unlink()
    Image.new("RGB", (40, 50)).save(pairs / "target" / "b.bmp")
    with pytest.raises(InputError, match=r"one size, got 40x52 in '.*b.png' and 40x50 in '.*b.bmp'"):
        TranslationFolder(pairs, 32)
    Image.new("RGB", (40, 52)).save(pairs / "target" / "b.png")
    with pytest.raises(InputError, match="names must be different without their endings"):
        TranslationFolder(pairs, 32)
    with pytest.raises(InputError, match="without 'label'"):
        TranslationFolder(pairs, 32, inputs="label")
    with pytest.raises(InputError, match="Check the name"):
        TranslationFolder(pairs / "none", 32)


def test_sizes_are_those_that_are_seen(pairs: Path) -> None:
    """Of files that say how they lie, wherever they say it, and of those that say nonsense."""
    turned = Image.Exif()
    turned[0x0112] = 6
    with Image.open(pairs / "input" / "b.png") as picture:
        picture.load()
    (pairs / "input" / "b.png").unlink()
    lying = picture.transpose(Image.Transpose.ROTATE_90)
    lying.save(pairs / "input" / "b.jpg", exif=turned)
    TranslationFolder(pairs, 32)
    (pairs / "input" / "b.jpg").unlink()
    lying.save(pairs / "input" / "b.png", exif=turned)
    content = (pairs / "input" / "b.png").read_bytes()
    first = content.index(b"eXIf") - 4
    last = first + 12 + int.from_bytes(content[first : first + 4], "big")
    end = content.index(b"IEND") - 4
    behind = content[:first] + content[last:end] + content[first:last] + content[end:]
    (pairs / "input" / "b.png").write_bytes(behind)
    assert read_image(pairs / "input" / "b.png").shape == (1, 3, 52, 40)
    TranslationFolder(pairs, 32)
    (pairs / "input" / "b.png").unlink()
    for nonsense in (b"Exif\0\0II", b"Exif\0\0II*\0\x08\0\0\0\xff", b"Exif\0\0nonsense"):
        picture.save(pairs / "input" / "b.jpg", exif=nonsense)
        TranslationFolder(pairs, 32)


class DyingError(Exception):
    """The end of a run."""


@pytest.mark.parametrize("name", RECIPES)
def test_from_end_to_end_and_on_after_a_break(given: Given, tmp_path: Path, name: str) -> None:
    whole = TranslateSettings.collect(given(recipe=name, output=tmp_path / "whole"))
    folder = train(TranslateRecipe(whole), whole)
    assert read_image(folder.samples / "step-00000003.png").shape == (1, 3, 3 * 32, 3 * 32)
    network, about = load_network(folder.model, "pix2pixhd")
    assert about["recipe"] == name
    assert network(torch.rand(1, 3, 21, 30)).shape == (1, 3, 21, 30)

    def die(progress: Progress) -> None:
        if progress.step == 2:
            raise DyingError

    broken = TranslateSettings.collect(given(recipe=name))
    with pytest.raises(DyingError):
        train(TranslateRecipe(broken), broken, callback=die)
    mine = load_file(train(TranslateRecipe(broken), broken, resume=True).checkpoint(3))
    theirs = load_file(folder.checkpoint(3))
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in mine.items())
    assert not [key for key in mine if "perceptual" in key or "matching" in key]


class Steps:
    """What a recipe gets for a step: it takes note of gradients."""

    step = 0

    def __init__(self, recipe: TranslateRecipe) -> None:
        self.networks = recipe.networks
        self.moved: dict[str, set[str]] = {}

    def __call__(self, name: str, loss: Tensor) -> None:
        loss.backward()
        self.moved[name] = {
            key for key, network in self.networks.items() if any(p.grad is not None for p in network.parameters())
        }
        for network in self.networks.values():
            network.zero_grad(set_to_none=True)


def test_each_loss_moves_its_own_network_and_is_its_sum(given: Given) -> None:
    torch.manual_seed(0)
    recipe = TranslateRecipe(TranslateSettings.collect(given(pixel_weight=3.0, perceptual_weight=0.5)))
    steps = Steps(recipe)
    logged = recipe.step((torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)), steps)
    assert steps.moved == {"generator": {"generator"}, "discriminator": {"discriminator"}}
    parts = {name: float(value.detach()) for name, value in logged.items()}
    total = parts["gan"] + parts["matching"] + 0.5 * parts["perceptual"] + 3 * parts["pixels"]
    assert parts["loss"] == pytest.approx(total, rel=1e-5)


def test_what_is_refused(given: Given) -> None:
    with pytest.raises(InputError, match="at least 32x32, got 16x16"):
        TranslateRecipe(TranslateSettings.collect(given(crop=16)))
    with pytest.raises(InputError, match="crop must be at least 32 for the generator 'full', got 16"):
        TranslateRecipe(TranslateSettings.collect(given(crop=16, generator="full", discriminator_scales=1)))
    for loss in ("gatys-style", "strotss"):  # the one has no reference of that name, the other has two
        with pytest.raises(InputError, match=f"differs from its original, got '{loss}'"):
            TranslateSettings.collect(given(perceptual=loss))
    with pytest.raises(InputError, match="two folders, got 'a' for both"):
        TranslateSettings.collect(given(inputs="a", targets="a"))
    with pytest.raises(InputError, match="pixel_weight must be a number from 0 on"):
        TranslateSettings.collect(given(pixel_weight=-1.0))
    with pytest.raises(ChoiceError, match="unknown gan 'relativistic'"):
        TranslateSettings.collect(given(gan="relativistic"))
    with pytest.raises(ChoiceError, match="did you mean 'pix2pix"):
        TranslateSettings.collect(given(recipe="pix2pixh"))


def test_validation_on_held_out_pairs(given: Given, pairs: Path) -> None:
    settings = TranslateSettings.collect(given(val_fraction=0.3, val_every=2))
    recipe = TranslateRecipe(settings)
    (extractor,) = recipe.perceptual.extractors if recipe.perceptual else ()
    before = {name: tensor.clone() for name, tensor in extractor._network.state_dict().items()}
    logged = read_metrics(train(recipe, settings).metrics)
    assert ["val_perceptual" in row for row in logged] == [False, True, True]
    assert all(0.05 < row["val_pixels"] < 0.6 for row in logged[1:])
    data = recipe.folder(settings)
    assert (len(data.held_out_paths), len(data.paths)) == (1, 2)
    after = extractor._network.state_dict()
    assert before
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    (path,) = data.held_out_paths
    path.write_bytes(b"")
    assert recipe.validate(recipe.generator, data) == {}


def test_pairs_are_mirrored_together_or_not_at_all(pairs: Path) -> None:
    crops = [[TranslationFolder(pairs, 40, mirror=m, seed=3)[i].images for i in range(0, 30)] for m in (True, False)]
    mirrored = [not torch.equal(a[0], b[0]) for a, b in zip(*crops, strict=True)]
    assert 5 < sum(mirrored) < 25
    assert all(torch.allclose(given + made, torch.ones(()), atol=0.01) for run in crops for given, made in run)
