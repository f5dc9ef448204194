"""Both recipes from end to end, and what a step changes."""

from __future__ import annotations

import copy
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
from opsin.gan.recipe import GanRecipe
from opsin.gan.sampling import latents, load_generator
from opsin.gan.settings import RECIPES, GanSettings
from opsin.images import read_image
from opsin.networks import ProjectedDiscriminator
from opsin.training import Progress, train
from opsin.training.averaging import Average

pytest.importorskip("accelerate", reason="extra 'train'")
pytest.importorskip("tensorboard", reason="extra 'train'")

Given = Callable[..., dict[str, Any]]


class DyingError(Exception):
    """The end of a run."""


@pytest.mark.parametrize("name", RECIPES)
def test_from_end_to_end_and_on_after_a_break(given: Given, tmp_path: Path, name: str) -> None:
    more = {"matching": "moments"} if name == "projected" else {"network": "none"}
    whole = GanSettings.collect(given(recipe=name, output=tmp_path / "whole", **more))
    recipe = GanRecipe(whole)
    judge = recipe.discriminator
    frozen = judge.digest if isinstance(judge, ProjectedDiscriminator) else ""
    folder = train(recipe, whole)
    assert read_image(folder.samples / "step-00000002.png").shape == (1, 3, 8 * 32, 8 * 32)
    generator = load_generator(folder.model)
    assert generator(torch.randn(2, generator.latent)).shape == (2, 3, 32, 32)
    checkpoint = load_file(folder.checkpoint(3))
    if isinstance(judge, ProjectedDiscriminator):
        # Neither network nor projections are in a checkpoint, and they are what they were.
        assert judge.digest == frozen
        assert not [key for key in checkpoint if "extractor" in key or "_channels_" in key or "_scales_" in key]

    def die(progress: Progress) -> None:
        if progress.step == 2:
            raise DyingError

    broken = GanSettings.collect(given(recipe=name, **more))
    with pytest.raises(DyingError):
        train(GanRecipe(broken), broken, callback=die)
    again = load_file(train(GanRecipe(broken), broken, resume=True).checkpoint(3))
    assert again.keys() == checkpoint.keys()
    assert all(torch.equal(tensor, checkpoint[key]) for key, tensor in again.items())


class Steps:
    """What a recipe gets for a step: it takes note of gradients."""

    step = 0

    def __init__(self, recipe: GanRecipe) -> None:
        self.networks = recipe.networks
        self.moved: dict[str, set[str]] = {}

    def __call__(self, name: str, loss: Tensor) -> None:
        loss.backward()
        self.moved[name] = {
            key for key, network in self.networks.items() if any(p.grad is not None for p in network.parameters())
        }
        for network in self.networks.values():
            network.zero_grad(set_to_none=True)


@pytest.mark.parametrize("options", [{}, {"recipe": "baseline"}, {"gan": "relativistic", "matching": "kernel"}])
def test_each_loss_moves_its_own_network(given: Given, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    recipe = GanRecipe(GanSettings.collect(given(**options)))
    steps = Steps(recipe)
    logged = recipe.step((torch.rand(4, 3, 32, 32),), steps)
    assert steps.moved == {"generator": {"generator"}, "discriminator": {"discriminator"}}
    assert {"loss", "gan", "discriminator", "real", "fake"} <= logged.keys()
    assert ("matching" in logged) == ("matching" in options)


def test_the_generator_learns_to_deceive_a_judge_that_stays(given: Given) -> None:
    """Gradients reach it through the frozen network."""
    torch.manual_seed(0)
    recipe = GanRecipe(GanSettings.collect(given(augment="none", lr=0.002)))
    optimizer = recipe.optimizers(0.01)["generator"]
    before = {k: v.clone() for k, v in recipe.extractor._network.state_dict().items()} if recipe.extractor else {}
    z, values = torch.randn(4, recipe.generator.latent), []
    recipe.discriminator.eval()
    for _ in range(8):
        loss = -recipe.discriminator(recipe.generator(z))[0].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < values[0] - 0.05, values
    assert recipe.extractor is not None
    after = recipe.extractor._network.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_what_is_written_has_the_statistics_of_its_own_weights(given: Given) -> None:
    """Averaged weights with the statistics of the last step's made images of colours that neither had."""
    torch.manual_seed(0)
    recipe = GanRecipe(GanSettings.collect(given()))
    average = Average(recipe.generator, 0.5)
    with torch.no_grad():
        for parameter in recipe.generator.parameters():
            parameter.mul_(1.5)
        recipe.generator(torch.randn(64, recipe.generator.latent))
    average.update(recipe.generator, 100)
    z = latents(256, recipe.generator.latent, seed=3)

    def mismatch() -> float:
        """How far images by kept statistics are from those by the images' own."""
        with torch.no_grad():
            kept = average.network(z)
            own = copy.deepcopy(average.network).train()(z)
        return float((kept - own).abs().mean())

    before = mismatch()
    recipe.settle(average.network)
    assert not average.network.training
    assert mismatch() < before / 3


def test_size_is_another_name_of_crop(given: Given, tmp_path: Path) -> None:
    settings = GanSettings.collect(given())
    assert settings.crop == 32
    (tmp_path / "config.yaml").write_text("size: 128\nrecipe: baseline\n")
    from_file = GanSettings.collect({"data": "photos", "output": "run"}, tmp_path / "config.yaml")
    assert (from_file.crop, from_file.network, from_file.beta1) == (128, "none", 0.5)


def test_grey_images_among_colour_ones_are_told_of(given: Given, pictures: Path) -> None:
    settings = GanSettings.collect(given())
    recipe = GanRecipe(settings)
    assert recipe.folder(settings)[0].images[0].shape == (3, 32, 32)
    Image.new("L", (40, 40), 99).save(pictures / "grey.png")
    with pytest.warns(UserWarning, match="1 of 7 images are grey among colour ones, e.g. '.*grey.png'"):
        folder = recipe.folder(settings)
    assert all(folder[i].images[0].shape == (3, 32, 32) for i in range(7))


def test_mirrored_if_it_is_asked_for(given: Given) -> None:
    """The first picture that is a square of its own has two ways to lie, or one."""
    for mirror, ways in ((True, 2), (False, 1)):
        settings = GanSettings.collect(given(mirror=mirror))
        folder = GanRecipe(settings).folder(settings)
        path = next(path for path in folder.paths if path.name == "f.png")
        image = folder.cache.read(path)[0]
        cuts = [folder.cut(image, path, np.random.default_rng(i))[0] for i in range(12)]
        assert len({tuple(cut.flatten().tolist()) for cut in cuts}) == ways


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 48}, "size must be one that the generator has, 32, 64, 128, 256 or 512, got 48"),
        ({"batch": 1}, "batch must be at least 2 images in each of 1 parts"),
        ({"beta2": 1.0}, "beta2 must be at least 0 and below 1"),
        ({"matching": "moments", "network": "none", "recipe": "baseline"}, "matching must have a network"),
        ({"feature_size": 8}, "feature_size must be a whole number of at least 16"),
    ],
)
def test_settings_that_are_refused(given: Given, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        GanSettings.collect(given(**options))


def test_names_that_are_refused(given: Given) -> None:
    for name in ("recipe", "generator", "gan", "augment", "matching"):
        with pytest.raises(ChoiceError, match="unknown"):
            GanSettings.collect(given(**{name: "zzzz"}))
    with pytest.raises(InputError, match="taps must be given for timm:resnet18"):
        GanRecipe(GanSettings.collect(given(network="timm:resnet18")))
    with pytest.raises(InputError, match="must have a network to look through"):
        GanRecipe(GanSettings.collect(given(network="none")))


def test_one_image_is_too_few(given: Given, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "one" / "a.png")
    settings = GanSettings.collect(given(data=tmp_path / "one"))
    with pytest.raises(InputError, match="at least 2 images to learn a generator from, got 1"):
        train(GanRecipe(settings), settings)
    assert not settings.output.exists()
