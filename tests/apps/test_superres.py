"""Every recipe of super-resolution, as a program: killed and resumed, and in two processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from opsin.superres.settings import RECIPES

pytest.importorskip("accelerate", reason="extra 'train'")
pytest.importorskip("tensorboard", reason="extra 'train'")
pytest.importorskip("spandrel", reason="extra 'sr'")
pytestmark = pytest.mark.apps

STEPS = 4

# Steps 1 and 2 are of the first stage where there is a discriminator. In float64 where two processes are compared with
# one: sums are rounded otherwise, and Adam divides a gradient that is nothing but rounding by its own size.
PROGRAM = """if True:
    import os
    import signal
    import sys
    import torch
    from opsin.superres.recipe import SrRecipe
    from opsin.superres.settings import SrSettings
    from opsin.training import train

    class Exact(SrRecipe):
        def __init__(self, settings):
            super().__init__(settings)
            for network in self.networks.values():
                network.double()
            if self.perceptual is not None:
                self.perceptual.double()

        def step(self, images, update):
            return super().step(tuple(image.double() for image in images), update)

    def die(progress):
        if progress.step == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    torch.set_num_threads(1)
    where, way, *recipes = sys.argv[1:]
    for name in recipes:
        settings = SrSettings.collect(dict(
            data="photos", output=f"{where}-{name}", recipe=name, steps=4, batch=2, crop=32, network="compact", width=4,
            blocks=1, discriminator_width=2, device="cpu", workers=0, sample_every=0, checkpoint_every=1,
        ))
        recipe = (Exact if way == "exact" else SrRecipe)(settings)
        train(recipe, settings, resume=way == "resume", callback=die if way == "die" else None)
        if "RANK" in os.environ:
            # Weights are the same in all processes.
            weights = [p.detach() for network in recipe.networks.values() for p in network.parameters()]
            with open(f"sums-{os.environ['RANK']}", "w") as file:
                print([float(w.abs().sum()) for w in weights], file=file)
    """


@pytest.fixture
def studio(tmp_path: Path) -> Path:
    """A folder with photos and the program."""
    return furnish(tmp_path)


def furnish(folder: Path) -> Path:
    (folder / "photos").mkdir()
    rng = np.random.default_rng(0)
    for i in range(4):
        coarse = Image.fromarray(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8))
        coarse.resize((64, 48), Image.Resampling.BICUBIC).save(folder / "photos" / f"{i}.png")
    (folder / "program.py").write_text(PROGRAM)
    return folder


def test_killed_and_resumed(studio: Path, runs: Any) -> None:
    """In the second stage, between two checkpoints of it: the weights of all networks are those without the kill."""
    tensors = {recipe: len(names) for recipe, names in runs.kill_and_resume(studio, RECIPES, STEPS).items()}
    # A discriminator's weights are in the checkpoint, its optimiser's too.
    assert all((tensors[recipe] > tensors["psnr"]) == ("gan" in recipe) for recipe in RECIPES)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, runs: Any) -> Path:
    """All recipes in one process."""
    studio = furnish(tmp_path_factory.mktemp("alone"))
    runs.succeed(studio, "one", "exact", *RECIPES)
    return studio


@pytest.mark.parametrize("recipe", RECIPES)
def test_in_two_processes(studio: Path, alone: Path, runs: Any, recipe: str) -> None:
    """Each has half of the batch and the same weights; without batch statistics the curve is that of one process."""
    one, both = runs.rows(alone / f"one-{recipe}"), runs.in_two_processes(studio, "exact", recipe)
    assert [row["step"] for row in both] == [1, 2, 3, 4]
    # A discriminator that normalises does so over the images of its own process; a U-Net's spectral norm moves with
    # each call of it.
    close = {"srgan": 1e-2, "esrgan": 1e-2, "real-esrgan": 1e-3}.get(recipe, 1e-6)
    assert [row["loss"] for row in both] == pytest.approx([row["loss"] for row in one], rel=close)
