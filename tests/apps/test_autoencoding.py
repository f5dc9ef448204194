"""Both autoencoders, as a program: killed and resumed, in two processes, in half precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from opsin.gan.autoencoding.settings import MODELS

pytest.importorskip("accelerate", reason="extra 'train'")
pytest.importorskip("tensorboard", reason="extra 'train'")
pytestmark = pytest.mark.apps

STEPS = 4

PROGRAM = """if True:
    import hashlib
    import os
    import signal
    import sys
    import torch
    from opsin.gan.autoencoding.recipe import AutoencoderRecipe
    from opsin.gan.autoencoding.settings import AutoencoderSettings
    from opsin.training import train

    def frozen(recipe):
        (extractor,) = recipe.perceptual.extractors
        tensors = list(extractor._network.state_dict().values())
        return hashlib.sha256(b"".join(t.numpy().tobytes() for t in tensors)).hexdigest(), len(tensors)

    def die(progress):
        if progress.step == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    torch.set_num_threads(1)
    where, way, *models = sys.argv[1:]
    for name in models:
        # The discriminator comes in halfway.
        settings = AutoencoderSettings.collect(dict(
            data="pictures", output=f"{where}-{name}", model=name, steps=4, batch=4, crop=32, width=4, blocks=1,
            channels=2, entries=8 if name == "vq" else None, discriminator_width=2, disc_start=2, weights="random",
            device="cpu", workers=0, sample_every=0, checkpoint_every=1,
            precision="bfloat16" if way == "half" else "float32",
        ))
        recipe = AutoencoderRecipe(settings)
        before = frozen(recipe)
        assert before[1] > 0
        train(recipe, settings, resume=way == "resume", callback=die if way == "die" else None)
        assert frozen(recipe) == before
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
    runs.kill_and_resume(studio, MODELS, STEPS)


@pytest.mark.parametrize("model", MODELS)
def test_in_two_processes(studio: Path, runs: Any, model: str) -> None:
    """Each has half of the batch, codes and an adaptive weight of its own, and the same weights."""
    assert [row["step"] for row in runs.in_two_processes(studio, "run", model)] == [1, 2, 3, 4]


def test_in_half_precision(studio: Path, runs: Any) -> None:
    runs.succeed(studio, "half", "half", *MODELS)
    for model in MODELS:
        assert all(np.isfinite(row["loss"]) for row in runs.rows(studio / f"half-{model}"))
