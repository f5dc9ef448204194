"""Autoencoders: both models from end to end, what a step changes, and when the discriminator begins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from opsin.errors import ChoiceError, InputError
from opsin.functional.adversarial import adaptive_weight, generator_loss
from opsin.gan.autoencoding.recipe import AutoencoderRecipe
from opsin.gan.autoencoding.settings import MODELS, AutoencoderSettings
from opsin.images import read_image
from opsin.networks import Autoencoder, load_network
from opsin.training import Progress, train
from opsin.training.adversarial import distance_from
from opsin.training.metrics import read_metrics

pytest.importorskip("accelerate", reason="extra 'train'")
pytest.importorskip("tensorboard", reason="extra 'train'")

Given = Callable[..., dict[str, Any]]


@pytest.fixture
def given(pictures: Path, tmp_path: Path) -> Given:
    """What is given of a run of a few steps, the discriminator in the second half of them."""

    def make(**options: Any) -> dict[str, Any]:
        plain: dict[str, Any] = {
            "data": pictures,
            "output": tmp_path / "run",
            "steps": 4,
            "batch": 2,
            "crop": 24,
            "width": 4,
            "blocks": 1,
            "entries": 8 if options.get("model") == "vq" else None,
            "discriminator_width": 2,
            "perceptual": "none",
            "max_unreadable": 9,
            "workers": 0,
            "device": "cpu",
            "sample_every": 4,
            "checkpoint_every": 1,
        }
        return {**plain, **options}

    return make


@pytest.fixture(autouse=True)
def _no_small_ones(pictures: Path) -> None:
    (pictures / "d.bmp").unlink()


def collect(given: Given, **options: Any) -> AutoencoderSettings:
    return AutoencoderSettings.collect(given(**options))


def rows(path: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(path)]


def frozen(recipe: AutoencoderRecipe) -> dict[str, Tensor]:
    """The weights of the network that the perceptual loss looks through."""
    assert recipe.perceptual is not None
    (extractor,) = recipe.perceptual.extractors
    return extractor._network.state_dict()


class DyingError(Exception):
    """The end of a run."""


@pytest.mark.parametrize("model", MODELS)
def test_from_end_to_end_and_on_after_a_break(given: Given, tmp_path: Path, model: str) -> None:
    whole = collect(given, model=model, perceptual="real-esrgan", output=tmp_path / "whole")
    recipe = AutoencoderRecipe(whole)
    before = {name: tensor.clone() for name, tensor in frozen(recipe).items()}
    folder = train(recipe, whole)
    assert all(torch.equal(tensor, before[name]) for name, tensor in frozen(recipe).items())
    logged = rows(folder.metrics)
    assert ["gan" in row for row in logged] == [False, False, True, True]
    assert all(("kl" if model == "vae" else "codebook") in row and row["perceptual"] > 0 for row in logged)
    assert read_image(folder.samples / "step-00000004.png").shape == (1, 3, 48, 96)
    network, about = load_network(folder.model, model)
    assert isinstance(network, Autoencoder)
    assert network.reconstruct(torch.rand(1, 3, 16, 20)).shape == (1, 3, 16, 20)
    assert (about["model"], about["perceptual"], about["step"]) == (model, "real-esrgan", 4)
    # The frozen network adds nothing: the weights are those of the networks that are trained.
    assert load_file(folder.model).keys() == recipe.autoencoder.state_dict().keys()
    saved = load_file(folder.checkpoint(4))
    wide = {tensor.shape for tensor in before.values() if tensor.ndim == 4}
    assert len(wide) > 4
    assert not wide & {tensor.shape for tensor in saved.values()}

    def die(progress: Progress) -> None:
        if progress.step == 3:
            raise DyingError

    broken = collect(given, model=model, perceptual="real-esrgan")
    with pytest.raises(DyingError):
        train(AutoencoderRecipe(broken), broken, callback=die)
    again = train(AutoencoderRecipe(broken), broken, resume=True)
    mine = load_file(again.checkpoint(4))
    assert mine.keys() == saved.keys()
    assert all(torch.equal(tensor, saved[key]) for key, tensor in mine.items())
    assert rows(again.metrics) == logged


class Steps:
    """What a recipe gets for a step: it notes what was asked, and steps if it is to."""

    def __init__(self, recipe: AutoencoderRecipe, step: int, *, act: bool = False) -> None:
        self.networks, self.step = recipe.networks, step
        self.optimizers = recipe.optimizers(2e-3) if act else {}
        self.reached: dict[str, set[str]] = {}
        self.last: Tensor | None = None

    def __call__(self, name: str, loss: Tensor) -> None:
        loss.backward()
        self.reached[name] = {
            other
            for other, network in self.networks.items()
            if any(p.grad is not None and bool(p.grad.any()) for p in network.parameters())
        }
        if name == "autoencoder":
            network = self.networks[name]
            assert isinstance(network, Autoencoder)
            self.last = network.last_layer.grad
        if self.optimizers:
            self.optimizers[name].step()
        for network in self.networks.values():
            network.zero_grad()


def batch(recipe: AutoencoderRecipe) -> tuple[Tensor, ...]:
    data = recipe.folder(recipe.settings)
    return (torch.stack([data[i].images[0] for i in range(2)]),)


@pytest.mark.parametrize("model", MODELS)
def test_each_loss_reaches_its_own_network_alone(given: Given, model: str) -> None:
    recipe = AutoencoderRecipe(collect(given, model=model))
    first = Steps(recipe, step=1)
    assert set(recipe.step(batch(recipe), first)) == {"loss", "pixels", "kl" if model == "vae" else "codebook"}
    assert first.reached == {"autoencoder": {"autoencoder"}}
    second = Steps(recipe, step=2)
    logged = {name: float(value.detach()) for name, value in recipe.step(batch(recipe), second).items()}
    assert second.reached == {"autoencoder": {"autoencoder"}, "discriminator": {"discriminator"}}
    s = recipe.settings
    penalty = logged["kl" if model == "vae" else "codebook"]
    total = 2 * logged["pixels"] + s.penalty_weight * penalty + s.disc_weight * logged["adaptive"] * logged["gan"]
    assert logged["loss"] == pytest.approx(total, rel=1e-5)
    assert all(p.requires_grad for p in recipe.networks["discriminator"].parameters())


def test_the_last_layer_gets_equal_shares_of_both_losses(given: Given) -> None:
    """With weight 1 the adversarial gradient there is as long as that of the reconstruction."""
    recipe = AutoencoderRecipe(collect(given, disc_weight=1.0, penalty_weight=0.0))
    images = batch(recipe)
    torch.manual_seed(3)
    update = Steps(recipe, step=2)
    recipe.step(images, update)
    torch.manual_seed(3)  # of the codes
    plain = Steps(recipe, step=0)
    recipe.step(images, plain)
    assert update.last is not None
    assert plain.last is not None
    share = (update.last - plain.last).norm() / plain.last.norm()
    assert float(share) == pytest.approx(1, abs=0.02)  # less for the 1e-4 beside the adversarial gradient


@pytest.mark.parametrize("model", MODELS)
def test_the_perceptual_gradient_reaches_encoder_and_decoder(given: Given, model: str) -> None:
    recipe = AutoencoderRecipe(collect(given, model=model, perceptual="lpips-vgg", weights="random", pixel_weight=0.0))
    assert recipe.settings.perceptual_weight == 1
    assert recipe.perceptual is not None
    (images,) = batch(recipe)
    made = recipe.autoencoder(images).images
    distance_from(images, made, recipe.perceptual).backward()
    for part in (recipe.autoencoder.encoder, recipe.autoencoder.decoder):
        assert all(p.grad is not None and bool(p.grad.any()) for p in part.parameters() if p.ndim > 1)
    assert all(p.grad is None for p in recipe.perceptual.parameters())
    reconstruction, gan = (
        distance_from(images, recipe.autoencoder(images).images, recipe.perceptual),
        recipe._deceive(made),
    )
    with pytest.raises(InputError, match="must depend on last_layer"):
        adaptive_weight(reconstruction, generator_loss("hinge", gan.detach()), recipe.autoencoder.last_layer)


@pytest.mark.parametrize("model", MODELS)
def test_it_learns(given: Given, model: str) -> None:
    recipe = AutoencoderRecipe(collect(given, model=model, width=8, disc_weight=0))
    assert set(recipe.networks) == {"autoencoder"}
    update, images = Steps(recipe, step=9, act=True), batch(recipe)
    losses = [float(recipe.step(images, update)["pixels"].detach()) for _ in range(50)]
    assert losses[-1] < 0.75 * losses[0]


@pytest.mark.parametrize("model", MODELS)
def test_mixed_precision_and_parts(given: Given, tmp_path: Path, model: str) -> None:
    plain, mixed = (
        collect(given, model=model, precision=precision, accumulate=2, output=tmp_path / precision)
        for precision in ("float32", "bfloat16")
    )
    a, b = (rows(train(AutoencoderRecipe(s), s).metrics) for s in (plain, mixed))
    assert a != b
    assert [row["pixels"] for row in b] == pytest.approx([row["pixels"] for row in a], rel=0.1)


def test_validation_on_held_out_files(given: Given) -> None:
    settings = collect(given, val_fraction=0.4, val_every=2)
    logged = rows(train(AutoencoderRecipe(settings), settings).metrics)
    assert ["val_psnr" in row for row in logged] == [False, True] * 2
    assert all(3 < row["val_psnr"] < 40 for row in logged[1::2])


def test_defaults_follow_from_the_model_and_the_loss(given: Given) -> None:
    vae, vq = collect(given), collect(given, model="vq", perceptual="real-esrgan", steps=10)
    assert (vae.penalty_weight, vae.disc_weight, vae.perceptual_weight, vae.disc_start) == (1e-6, 0.5, 1.0, 2)
    assert (vq.penalty_weight, vq.disc_weight, vq.perceptual_weight, vq.disc_start) == (1.0, 0.8, 0.2, 5)


def test_what_cannot_be(given: Given) -> None:
    for options, said in {
        ("crop", 26): "crop must be a multiple of the downsampling 4, got 26. E.g. 24.",
        ("downsampling", 16): "downsampling must be 4 or 8, got 16",
        ("disc_start", -1): "disc_start must be a whole number of at least 0, got -1",
        ("disc_weight", -1.0): "disc_weight must be a number from 0 on",
        ("pixel_weight", 0.0): "one of pixel_weight and perceptual_weight must be more than 0",
        ("val_fraction", 1.0): "val_fraction must be",
        ("perceptual", "gatys-style"): "perceptual must be a loss that says how a picture differs",
    }.items():
        name, value = options
        with pytest.raises(InputError, match=said):
            collect(given, **{name: value})
    with pytest.raises(ChoiceError, match="unknown model 'vea'; did you mean 'vae'"):
        collect(given, model="vea")
    with pytest.raises(InputError, match="at least 24x24, got 16x16"):
        AutoencoderRecipe(collect(given, crop=16))
    with pytest.raises(InputError, match="entries must be left out for 'vae'"):
        AutoencoderRecipe(collect(given, entries=8))
