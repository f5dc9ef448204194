"""Every recipe from end to end: what a step does, and that runs go on exactly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from opsin.errors import InputError, OpsinError, WeightsError
from opsin.images import read_image
from opsin.networks import load_upscaler
from opsin.superres.recipe import SrRecipe, pixel_loss
from opsin.superres.settings import RECIPES, SrSettings
from opsin.training import Progress, RunFolder, train
from opsin.training.metrics import read_metrics

pytest.importorskip("accelerate", reason="extra 'train'")
pytest.importorskip("tensorboard", reason="extra 'train'")
pytest.importorskip("spandrel", reason="extra 'sr'")

Given = Callable[..., dict[str, Any]]


def collect(given: Given, **options: Any) -> SrSettings:
    return SrSettings.collect(given(**options))


def rows(folder: RunFolder) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(folder.metrics)]


class DyingError(Exception):
    """The end of a run."""


@pytest.mark.parametrize("name", RECIPES)
def test_from_end_to_end_and_on_after_a_break(given: Given, tmp_path: Path, name: str) -> None:
    """Steps 1 and 2 on pixels where there is a discriminator, 3 and 4 with it; the break is between them."""
    whole = collect(given, recipe=name, output=tmp_path / "whole")
    folder = train(SrRecipe(whole), whole)
    logged = rows(folder)
    assert set(logged[0]) >= {"step", "loss", "pixels", "lr"}
    assert ("perceptual" in logged[-1]) == (name != "psnr")
    assert ("gan" in logged[-1]) == ("gan" in name)
    assert "gan" not in logged[0]
    assert read_image(folder.samples / "step-00000002.png").shape == (1, 3, 96, 128)
    model, about = load_upscaler(folder.model)
    assert (model.scale, model.name, about["recipe"]) == (4, "compact", name)
    assert model(torch.rand(1, 3, 5, 6)).shape == (1, 3, 20, 24)

    def die(progress: Progress) -> None:
        if progress.step == 3:
            raise DyingError

    broken = collect(given, recipe=name)
    with pytest.raises(DyingError):
        train(SrRecipe(broken), broken, callback=die)
    again = train(SrRecipe(broken), broken, resume=True)
    mine, theirs = load_file(again.checkpoint(4)), load_file(folder.checkpoint(4))
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in mine.items())
    assert rows(again) == logged


class Steps:
    """What a recipe gets for a step: it notes what was asked, and steps if it is to."""

    def __init__(self, recipe: SrRecipe, step: int, *, act: bool = False) -> None:
        self.networks, self.step = recipe.networks, step
        self.optimizers = recipe.optimizers(1e-2) if act else {}
        self.losses: list[tuple[str, Tensor]] = []
        self.gradients: dict[str, dict[str, bool]] = {}

    def __call__(self, name: str, loss: Tensor) -> None:
        self.losses.append((name, loss.detach()))
        loss.backward()
        self.gradients[name] = {
            other: any(p.grad is not None and bool(p.grad.any()) for p in network.parameters())
            for other, network in self.networks.items()
        }
        if self.optimizers:
            self.optimizers[name].step()
        for network in self.networks.values():
            network.zero_grad()


def pairs(recipe: SrRecipe) -> tuple[Tensor, ...]:
    data = recipe.folder(recipe.settings)
    return tuple(torch.stack(t) for t in zip(*(data[i].images for i in range(2)), strict=True))


@pytest.mark.parametrize("name", ["srgan", "esrgan", "real-esrgan"])
def test_each_loss_reaches_its_own_network_alone(given: Given, name: str) -> None:
    recipe = SrRecipe(collect(given, recipe=name))
    update = Steps(recipe, step=3)
    logged = {part: float(v.detach()) for part, v in recipe.step(pairs(recipe), update).items()}
    assert [name for name, _ in update.losses] == ["generator", "discriminator"]
    assert update.gradients["generator"] == {"generator": True, "discriminator": False}
    assert update.gradients["discriminator"] == {"generator": False, "discriminator": True}
    s = recipe.settings
    parts = {"pixels": s.pixel_weight, "perceptual": s.perceptual_weight, "gan": s.gan_weight}
    total = sum(weight * logged[part] for part, weight in parts.items() if weight)
    assert logged["loss"] == pytest.approx(total, rel=1e-5)
    assert all(p.requires_grad for p in recipe.networks["discriminator"].parameters())


def test_the_first_stage_is_of_pixels_alone(given: Given) -> None:
    recipe = SrRecipe(collect(given, recipe="esrgan"))
    update = Steps(recipe, step=1)
    logged = {part: float(v.detach()) for part, v in recipe.step(pairs(recipe), update).items()}
    assert set(logged) == {"loss", "pixels"}
    assert [name for name, _ in update.losses] == ["generator"]


@pytest.mark.parametrize("name", ["esrgan", "real-esrgan"])
def test_mixed_precision(given: Given, tmp_path: Path, name: str) -> None:
    plain, mixed = (
        collect(given, recipe=name, precision=precision, output=tmp_path / precision)
        for precision in ("float32", "bfloat16")
    )
    a, b = (rows(train(SrRecipe(settings), settings)) for settings in (plain, mixed))
    assert a != b
    assert [row["loss"] for row in b] == pytest.approx([row["loss"] for row in a], rel=0.1)
    assert all(t.dtype != torch.bfloat16 for t in load_file(tmp_path / "bfloat16" / "model.safetensors").values())


@pytest.mark.parametrize("name", ["psnr", "perceptual"])
def test_it_learns(given: Given, name: str) -> None:
    recipe = SrRecipe(collect(given, recipe=name, width=8))
    update = Steps(recipe, step=0, act=True)
    batch = pairs(recipe)
    losses = [float(recipe.step(batch, update)["loss"].detach()) for _ in range(15)]
    assert losses[-1] < 0.9 * losses[0]


def test_the_frozen_network_of_the_loss_stays_and_is_not_in_checkpoints(given: Given) -> None:
    settings = collect(given, recipe="perceptual")
    recipe = SrRecipe(settings)
    assert recipe.perceptual is not None
    (extractor,) = recipe.perceptual.extractors
    before = {name: tensor.clone() for name, tensor in extractor._network.state_dict().items()}
    assert sum(tensor.numel() for tensor in before.values()) > 10_000_000
    folder = train(recipe, settings)
    after = extractor._network.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert sum(t.numel() for t in load_file(folder.model).values()) == 4 * 27 + 4 + 4 + 4 * 36 + 4 + 4 + 48 * 36 + 48


def test_the_schedule_begins_anew_with_the_second_stage(given: Given) -> None:
    settings = collect(given, recipe="esrgan", schedule="cosine", steps=8, pretrain_steps=4, pretrain_lr=2e-3, lr=1e-3)
    recipe = SrRecipe(settings)
    rates = [1e-3 * recipe.rate(settings, step) for step in range(8)]
    first = [1, 0.853553, 0.5, 0.146447]
    assert rates == pytest.approx([2e-3 * f for f in first] + [1e-3 * f for f in first], rel=1e-5)


@pytest.mark.parametrize("loss", ["contextual", "focal-frequency"])
def test_other_perceptual_losses(given: Given, loss: str) -> None:
    recipe = SrRecipe(collect(given, recipe="perceptual", perceptual=loss))
    logged = recipe.step(pairs(recipe), Steps(recipe, step=0))
    assert float(logged["perceptual"].detach()) > 0


def test_lpips_vgg(given: Given) -> None:
    recipe = SrRecipe(collect(given, recipe="perceptual", perceptual="lpips-vgg", weights="random"))
    update = Steps(recipe, step=0)
    assert float(recipe.step(pairs(recipe), update)["perceptual"].detach()) > 0
    assert update.gradients["generator"]["generator"]


def test_validation_on_held_out_files(given: Given, photos: Path) -> None:
    pytest.importorskip("torchmetrics", reason="extra 'sr'")
    (photos / "broken.png").write_bytes(b"\x89PNG no more")
    settings = collect(given, recipe="perceptual", val_fraction=0.4, val_every=2, max_unreadable=9)
    recipe = SrRecipe(settings)
    folder = train(recipe, settings)
    logged = rows(folder)
    assert [("val_psnr" in row, "val_perceptual" in row) for row in logged] == [(False, False), (True, True)] * 2
    assert all(5 < row["val_psnr"] < 40 for row in logged[1::2])
    data = recipe.folder(settings)
    assert len(data.held_out_paths) == 2
    assert not set(data.held_out_paths) & set(data.paths)


def test_beginning_with_a_checkpoint(given: Given, tmp_path: Path) -> None:
    first = train(SrRecipe(s := collect(given)), s)
    plain = {k: v for k, v in given(output=tmp_path / "more").items() if k not in ("network", "width", "blocks")}
    settings = SrSettings.collect({**plain, "init": first.model, "recipe": "perceptual"})
    recipe = SrRecipe(settings)
    begun = load_upscaler(first.model).network.state_dict()
    assert all(torch.equal(t, begun[k]) for k, t in recipe.networks["generator"].state_dict().items())
    train(recipe, settings)
    with pytest.raises(InputError, match=r"scale must be 4, that of the model .*, got 2"):
        SrRecipe(SrSettings.collect({**plain, "init": first.model, "scale": 2}))
    with pytest.raises(WeightsError, match="no file"):
        SrRecipe(SrSettings.collect({**plain, "init": tmp_path / "none.pth"}))


def test_small_images_are_counted(given: Given) -> None:
    with pytest.warns(UserWarning, match=r"skipped 1 images smaller than a crop of 40x40, e\.g\. '.*d\.bmp'"):
        train(SrRecipe(s := collect(given, crop=40, steps=5)), s)


def test_a_loss_that_is_no_number_stops_at_the_last_checkpoint(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = collect(given)
    recipe = SrRecipe(settings)
    plain, calls = recipe.step, 0

    def poisoned(images: tuple[Tensor, ...], update: Any) -> dict[str, Tensor]:
        nonlocal calls
        calls += 1
        if calls == 3:
            images = (images[0], images[1] * float("nan"))
        return plain(images, update)

    monkeypatch.setattr(recipe, "step", poisoned)
    with pytest.raises(OpsinError, match=r"generator's loss must be a finite number, got nan at step 3; .* of step 2"):
        train(recipe, settings)


def test_pixel_losses() -> None:
    x, y = torch.tensor([[[[0.0, 3.0]]]]), torch.tensor([[[[1.0, 1.0]]]])
    assert float(pixel_loss("l1", x, y)) == 1.5
    assert float(pixel_loss("l2", x, y)) == 2.5
    assert float(pixel_loss("charbonnier", x, y)) == pytest.approx(1.5, abs=1e-5)
    z = x.clone().requires_grad_()
    pixel_loss("charbonnier", z, z.detach()).backward()
    assert bool(z.grad is not None and z.grad.isfinite().all())
