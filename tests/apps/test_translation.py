"""Both recipes of images of images, as a program: killed and resumed, in two processes, in parts, in half precision."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
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
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both recipes in one process, at once."""
    studio = furnish(tmp_path_factory.mktemp("alone"))
    done = call(studio, "one", "exact", *RECIPES)
    assert done.returncode == 0, done.stderr
    return studio


def call(studio: Path, where: str, way: str, *recipes: str, processes: int = 1) -> subprocess.CompletedProcess[str]:
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes))
    return subprocess.run(
        [sys.executable, *(launcher if processes > 1 else ()), "program.py", where, way, *recipes],
        cwd=studio,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def rows(run: Path) -> list[dict[str, Any]]:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def test_killed_and_resumed(studio: Path) -> None:
    whole = call(studio, "whole", "run", *RECIPES)
    assert whole.returncode == 0, whole.stderr
    for recipe in RECIPES:
        killed = call(studio, "run", "die", recipe)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = call(studio, "run", "resume", *RECIPES)
    assert resumed.returncode == 0, resumed.stderr
    tensors = set()
    for recipe in RECIPES:
        a, b = studio / f"whole-{recipe}", studio / f"run-{recipe}"
        name = f"checkpoints/step-{STEPS:08d}.safetensors"
        mine, theirs = load_file(a / name), load_file(b / name)
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(tensor, theirs[key]) for key, tensor in mine.items())
        assert rows(a) == rows(b)
        assert (a / "model.safetensors").read_bytes() == (b / "model.safetensors").read_bytes()
        tensors.add(frozenset(mine))
    # One of the recipes looks through a frozen network, and its checkpoints hold no more than the other's.
    assert len(tensors) == 1


@pytest.mark.parametrize("recipe", RECIPES)
def test_in_two_processes_and_in_two_parts(studio: Path, alone: Path, recipe: str) -> None:
    """Nothing is normalised over a batch, so that halves of it, here or there, give what the whole gives."""
    done = call(studio, "two", "exact", recipe, processes=2)
    assert done.returncode == 0, done.stderr
    sums = [(studio / f"sums-{rank}").read_text() for rank in range(2)]
    assert sums[0] == sums[1]
    done = call(studio, "parts", "parts", recipe)
    assert done.returncode == 0, done.stderr
    expected = rows(alone / f"one-{recipe}")
    for where in ("two", "parts"):
        for mine, theirs in zip(rows(studio / f"{where}-{recipe}"), expected, strict=True):
            # Logged in float32.
            assert mine == pytest.approx(theirs, rel=1e-4, abs=1e-5), where


def test_in_half_precision(studio: Path, alone: Path) -> None:
    done = call(studio, "half", "half", *RECIPES)
    assert done.returncode == 0, done.stderr
    for recipe in RECIPES:
        expected = rows(alone / f"one-{recipe}")
        found = rows(studio / f"half-{recipe}")
        assert found != expected
        assert [row["loss"] for row in found] == pytest.approx([row["loss"] for row in expected], rel=0.1)
        state = load_file(studio / f"half-{recipe}" / "model.safetensors")
        assert all(tensor.dtype == torch.float32 for tensor in state.values())
