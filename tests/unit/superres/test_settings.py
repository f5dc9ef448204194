"""Recipes: what they set, what may be set otherwise, and what does not go together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from opsin.errors import ChoiceError, InputError
from opsin.superres.settings import RECIPES, SrSettings

Given = Callable[..., dict[str, Any]]


@pytest.fixture
def settings(given: Given) -> Callable[..., SrSettings]:
    return lambda **options: SrSettings.collect(given(**options))


Make = Callable[..., SrSettings]


def test_the_papers_values(settings: Make) -> None:
    """As in the papers and their released configurations."""
    chosen = {name: settings(recipe=name) for name in RECIPES}

    def weights(name: str) -> tuple[float, float, float]:
        s = chosen[name]
        return s.pixel_weight, s.perceptual_weight, s.gan_weight

    assert weights("psnr") == (1, 0, 0)
    assert weights("perceptual") == (1, 1, 0)
    assert weights("johnson") == (0, 1, 0)
    assert weights("srgan") == (0, 1, 1e-3)
    assert weights("esrgan") == (1e-2, 1, 5e-3)
    assert weights("real-esrgan") == (1, 1, 0.1)
    assert [chosen[name].gan for name in ("srgan", "esrgan", "real-esrgan")] == ["vanilla", "relativistic", "vanilla"]
    assert [chosen[name].discriminator for name in ("srgan", "esrgan", "real-esrgan")] == ["vgg", "vgg", "unet"]
    assert [chosen[name].pixel_loss for name in ("psnr", "srgan", "esrgan")] == ["l1", "l2", "l1"]
    assert chosen["real-esrgan"].degradation == "real-esrgan"
    assert {s.ema for s in chosen.values()} == {0.999}
    assert [chosen[name].pretrain_steps for name in RECIPES] == [0, 0, 0, 2, 2, 2]


def test_what_is_given_counts_more_than_the_recipe(settings: Make) -> None:
    s = settings(recipe="esrgan", gan_weight=0.1, lr=1e-3, pretrain_steps=1, perceptual="lpips-vgg")
    assert (s.gan_weight, s.lr, s.pretrain_steps, s.perceptual, s.perceptual_weight) == (0.1, 1e-3, 1, "lpips-vgg", 1)
    assert settings(recipe="psnr", perceptual="contextual").perceptual_weight == 1
    assert settings(recipe="esrgan", perceptual="none").perceptual_weight == 0
    assert settings(recipe="esrgan", gan="none").gan_weight == 0


def test_a_file_counts_more_than_the_recipe_and_holds_every_value(settings: Make, given: Given, tmp_path: Path) -> None:
    file = tmp_path / "esrgan.yaml"
    first = settings(recipe="esrgan", gan_weight=0.02)
    first.write(file)
    assert SrSettings.collect({}, file) == first
    text = file.read_text()
    assert all(f"\n{name}: " in text for name in ("perceptual", "pretrain_steps", "degradation", "ema", "lr"))
    file.write_text("recipe: esrgan\ngan_weigt: 1\n")
    with pytest.raises(ChoiceError, match=r"unknown setting 'gan_weigt'.*did you mean 'gan_weight'"):
        SrSettings.collect(given(), file)


def test_a_checkpoint_says_its_network(settings: Make, given: Given, tmp_path: Path) -> None:
    plain = {name: value for name, value in given().items() if name not in ("network", "width", "blocks")}
    s = SrSettings.collect({**plain, "init": tmp_path / "m.pth", "recipe": "esrgan"})
    assert (s.network, s.pretrain_steps) == (None, 0)
    assert SrSettings.collect(plain).network == "compact"
    with pytest.raises(InputError, match="network, width and blocks must be left out where --init"):
        settings(init=tmp_path / "m.pth")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recipe": "esrgun"}, r"unknown recipe 'esrgun'.*did you mean 'esrgan'"),
        ({"crop": 30}, r"crop must be a multiple of the scale 4, got 30\. E\.g\. 28\."),
        ({"scale": 0}, "scale must be"),
        ({"gan_weight": -1.0}, "gan_weight must be 0 or a positive number, got -1"),
        ({"gan": "hinge"}, r"gan and gan_weight must go together, got 'hinge' and 0\.0"),
        ({"gan": "hing", "gan_weight": 1.0}, r"unknown gan 'hing'.*did you mean 'hinge'"),
        ({"perceptual": "gatys-style"}, "perceptual must be a loss that says how a picture differs"),
        ({"perceptual": "lpips"}, "unknown perceptual 'lpips'"),
        ({"perceptual_weight": 1.0}, "perceptual must name a loss for its weight"),
        ({"pixel_weight": 0.0}, "one of pixel_weight, perceptual_weight and gan_weight must be more than 0"),
        ({"degradation": "blur"}, "unknown degradation 'blur'"),
        ({"downscale": "gimp"}, "unknown downscale 'gimp'"),
        ({"val_fraction": 1.0}, "val_fraction must be at least 0 and below 1"),
        ({"discriminator": "resnet"}, "unknown discriminator 'resnet'"),
        ({"pixel_loss": "l3"}, "unknown pixel_loss 'l3'"),
        ({"pretrain_lr": 0.0}, "pretrain_lr must be a positive number"),
    ],
)
def test_what_is_wrong(settings: Make, options: dict[str, Any], message: str) -> None:
    with pytest.raises((InputError, ChoiceError), match=message):
        settings(**options)
