"""Both recipes of generators, as a program: killed and resumed, and in two processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from opsin.gan.settings import RECIPES

pytest.importorskip("accelerate", reason="extra 'train'")
pytest.importorskip("tensorboard", reason="extra 'train'")
pytestmark = pytest.mark.apps

STEPS = 4

PROGRAM = """if True:
    import os
    import signal
    import sys
    import torch
    from opsin.gan.recipe import GanRecipe
    from opsin.gan.settings import GanSettings
    from opsin.training import train

    def die(progress):
        if progress.step == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    torch.set_num_threads(1)
    where, way, *recipes = sys.argv[1:]
    for name in recipes:
        settings = GanSettings.collect(dict(
            data="pictures", output=f"{where}-{name}", recipe=name, steps=4, batch=8, size=32, generator="tiny",
            network="efficientnet_lite0" if name == "projected" else "none", weights="random", discriminator_width=2,
            device="cpu", workers=0, sample_every=0, checkpoint_every=1,
            precision="bfloat16" if way == "half" else "float32",
        ))
        recipe = GanRecipe(settings)
        frozen = getattr(recipe.discriminator, "digest", None)
        train(recipe, settings, resume=way == "resume", callback=die if way == "die" else None)
        assert getattr(recipe.discriminator, "digest", None) == frozen
        if "RANK" in os.environ:
            # Weights are the same in all processes.
            weights = [p.detach() for network in recipe.networks.values() for p in network.parameters()]
            with open(f"sums-{os.environ['RANK']}", "w") as file:
                print([float(w.abs().sum()) for w in weights], file=file)
    """


@pytest.fixture
def studio(tmp_path: Path) -> Path:
    """A folder with pictures and the program."""
    (tmp_path / "pictures").mkdir()
    rng = np.random.default_rng(0)
    for i in range(6):
        coarse = Image.fromarray(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8))
        coarse.resize((48, 40), Image.Resampling.BICUBIC).save(tmp_path / "pictures" / f"{i}.png")
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path


def test_killed_and_resumed(studio: Path, runs: Any) -> None:
    runs.kill_and_resume(studio, RECIPES, STEPS)


@pytest.mark.parametrize("recipe", RECIPES)
def test_in_two_processes(studio: Path, runs: Any, recipe: str) -> None:
    """Each has half of the batch, noise of its own, and the same weights."""
    assert [row["step"] for row in runs.in_two_processes(studio, "run", recipe)] == [1, 2, 3, 4]


def test_in_half_precision(studio: Path, runs: Any) -> None:
    runs.succeed(studio, "half", "half", *RECIPES)
    for recipe in RECIPES:
        assert all(np.isfinite(row["loss"]) for row in runs.rows(studio / f"half-{recipe}"))
