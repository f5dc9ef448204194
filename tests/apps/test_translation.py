"""Both recipes of images of images, as a program: killed and resumed, in two processes, in parts, in half precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file

from opsin.gan.translation.settings import RECIPES

pytest.importorskip("accelerate", reason="extra 'train'")
pytest.importorskip("tensorboard", reason="extra 'train'")
pytestmark = pytest.mark.apps

STEPS = 4

# In float64 where runs are compared that add up in another order: Adam divides a gradient that is nothing but rounding
# by its own size.
PROGRAM = """if True:
    import hashlib
    import os
    import signal
    import sys
    import torch
    from opsin.gan.translation.recipe import TranslateRecipe
    from opsin.gan.translation.settings import TranslateSettings
    from opsin.training import train

    class Exact(TranslateRecipe):
        def __init__(self, settings):
            super().__init__(settings)
            for network in self.networks.values():
                network.double()
            if self.perceptual is not None:
                self.perceptual.double()

        def step(self, images, update):
            return super().step(tuple(image.double() for image in images), update)

    def frozen(recipe):
        # Of the networks themselves: a loss does not own them, and its own lists of tensors are empty.
        networks = [] if recipe.perceptual is None else [e._network for e in recipe.perceptual.extractors]
        tensors = [t.detach().double() for network in networks for t in network.state_dict().values()]
        return hashlib.sha256(b"".join(t.numpy().tobytes() for t in tensors)).hexdigest(), len(tensors)

    def die(progress):
        if progress.step == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    torch.set_num_threads(1)
    where, way, *recipes = sys.argv[1:]
    for name in recipes:
        settings = TranslateSettings.collect(dict(
            data="pairs", output=f"{where}-{name}", recipe=name, steps=4, batch=4, crop=32, generator="tiny",
            discriminator_width=2, weights="random" if name == "pix2pixhd" else None, device="cpu", workers=0,
            sample_every=0, checkpoint_every=1, accumulate=2 if way == "parts" else 1,
            precision="bfloat16" if way == "half" else "float32",
        ))
        recipe = (Exact if way in ("exact", "parts") else TranslateRecipe)(settings)
        before = frozen(recipe)
        assert (before[1] > 0) == (name == "pix2pixhd")
        train(recipe, settings, resume=way == "resume", callback=die if way == "die" else None)
        assert frozen(recipe) == before
        if "RANK" in os.environ:
            # Weights are the same in all processes.
            weights = [p.detach() for network in recipe.networks.values() for p in network.parameters()]
            with open(f"sums-{os.environ['RANK']}", "w") as file:
                print([float(w.abs().sum()) for w in weights], file=file)
    """


def furnish(folder: Path) -> Path:
    """A folder with pairs and the program."""
    rng = np.random.default_rng(0)
    for kind in ("input", "target"):
        (folder / "pairs" / kind).mkdir(parents=True)
    for i in range(4):
        coarse = Image.fromarray(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8))
        picture = coarse.resize((48, 40), Image.Resampling.BICUBIC)
        picture.save(folder / "pairs" / "target" / f"{i}.png")
        ImageOps.grayscale(picture).save(folder / "pairs" / "input" / f"{i}.png")
    (folder / "program.py").write_text(PROGRAM)
    return folder


@pytest.fixture
def studio(tmp_path: Path) -> Path:
    """See `furnish`."""
    return furnish(tmp_path)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, runs: Any) -> Path:
    """Both recipes in one process, at once."""
    studio = furnish(tmp_path_factory.mktemp("alone"))
    runs.succeed(studio, "one", "exact", *RECIPES)
    return studio


def test_killed_and_resumed(studio: Path, runs: Any) -> None:
    tensors = set(runs.kill_and_resume(studio, RECIPES, STEPS).values())
    # One of the recipes looks through a frozen network, and its checkpoints hold no more than the other's.
    assert len(tensors) == 1


@pytest.mark.parametrize("recipe", RECIPES)
def test_in_two_processes_and_in_two_parts(studio: Path, alone: Path, runs: Any, recipe: str) -> None:
    """Nothing is normalised over a batch, so that halves of it, here or there, give what the whole gives."""
    both = runs.in_two_processes(studio, "exact", recipe)
    runs.succeed(studio, "parts", "parts", recipe)
    expected = runs.rows(alone / f"one-{recipe}")
    for where, found in (("two", both), ("parts", runs.rows(studio / f"parts-{recipe}"))):
        for mine, theirs in zip(found, expected, strict=True):
            # Logged in float32.
            assert mine == pytest.approx(theirs, rel=1e-4, abs=1e-5), where


def test_in_half_precision(studio: Path, alone: Path, runs: Any) -> None:
    runs.succeed(studio, "half", "half", *RECIPES)
    for recipe in RECIPES:
        expected = runs.rows(alone / f"one-{recipe}")
        found = runs.rows(studio / f"half-{recipe}")
        assert found != expected
        assert [row["loss"] for row in found] == pytest.approx([row["loss"] for row in expected], rel=0.1)
        state = load_file(studio / f"half-{recipe}" / "model.safetensors")
        assert all(tensor.dtype == torch.float32 for tensor in state.values())
