"""The training step of docs/autoencoder.md with diffusers' AutoencoderKL: it is run as it stands there."""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from opsin import published
from opsin.loss import PerceptualLoss

pytest.importorskip("diffusers", reason="extra 'diffusers'")

from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

PAGE = Path(__file__).parents[3] / "docs" / "autoencoder.md"


Run = Callable[[], dict[str, Any]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the page's step on a photo of 32x32, on the CPU, and gives its names."""
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (code,) = (block for block in blocks if "import AutoencoderKL" in block)
    coarse = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8))
    coarse.resize((32, 32), Image.Resampling.BICUBIC).save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def execute() -> dict[str, Any]:
        names: dict[str, Any] = {"__name__": "__docs__"}
        with torch.random.fork_rng(devices=[]), contextlib.redirect_stdout(io.StringIO()):
            torch.manual_seed(0)
            exec(compile(code, PAGE.name, "exec"), names)
        return names

    return execute


@pytest.fixture
def page(run: Run) -> dict[str, Any]:
    """The names of the page's step as it stands."""
    return run()


@pytest.fixture
def light(run: Run, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The same with a smaller network to look through."""
    monkeypatch.setattr(published, "real_esrgan", partial(published.lpips, "squeeze", weights="random"))
    return run()


def digest(module: nn.Module) -> str:
    """Of all weights and buffers."""
    found = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        found.update(name.encode() + tensor.numpy().tobytes())
    return found.hexdigest()


def frozen(loss: PerceptualLoss) -> str:
    (extractor,) = loss.extractors
    return digest(extractor._network)


def reached(module: nn.Module) -> list[bool]:
    return [p.grad is not None and bool(p.grad.any()) for p in module.parameters() if p.ndim > 1]


def test_it_runs_as_it_stands(page: dict[str, Any]) -> None:
    assert list(page["log"]) == ["pixels", "perceptual", "kl", "gan", "discriminator"]
    assert page["perceptual"].validate == "never"
    assert frozen(page["perceptual"]) == frozen(published.real_esrgan())


def test_it_learns(light: dict[str, Any]) -> None:
    light["vae_optimizer"].param_groups[0]["lr"] = 5e-3
    judge = digest(light["discriminator"])
    torch.manual_seed(0)
    logs = [light["train_step"](light["images"], adversarial=False) for _ in range(60)]
    for name in ("pixels", "perceptual"):  # means of five: codes are drawn at random
        first, last = (sum(log[name] for log in part) for part in (logs[:5], logs[-5:]))
        assert last < 0.7 * first
    assert digest(light["discriminator"]) == judge


def test_the_perceptual_gradient_reaches_encoder_and_decoder(
    light: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = torch.zeros(())
    monkeypatch.setattr(DiagonalGaussianDistribution, "kl", lambda _: nothing)
    light["F"] = SimpleNamespace(l1_loss=lambda *_: nothing)
    light["train_step"](light["images"], adversarial=False)
    encoder, decoder = reached(light["vae"].encoder), reached(light["vae"].decoder)
    assert all(encoder + decoder)
    assert min(len(encoder), len(decoder)) > 8


def test_an_adversarial_step_trains_both(light: dict[str, Any]) -> None:
    before = digest(light["vae"]), digest(light["discriminator"]), frozen(light["perceptual"])
    light["train_step"](light["images"], adversarial=True)
    after = digest(light["vae"]), digest(light["discriminator"]), frozen(light["perceptual"])
    assert [a != b for a, b in zip(after, before, strict=True)] == [True, True, False]


def test_nothing_of_the_loss_is_saved(light: dict[str, Any], tmp_path: Path) -> None:
    vae = light["vae"]
    own = set(type(vae)(**vae.config).state_dict())
    both = nn.ModuleDict({"vae": vae, "loss": light["perceptual"]})
    assert set(both.state_dict()) == {f"vae.{name}" for name in own}
    assert list(light["perceptual"].parameters()) == []
    vae.save_pretrained(tmp_path / "vae")
    (file,) = (tmp_path / "vae").glob("*.safetensors")
    assert set(load_file(file)) == own


def test_in_mixed_precision(light: dict[str, Any]) -> None:
    """The same step, of the same random numbers, in bfloat16: near to that in float32, and not equal to it."""
    state = {name: tensor.clone() for name, tensor in light["vae"].state_dict().items()}
    logs = []
    for half in (False, True):
        light["half"] = half
        light["vae"].load_state_dict(state)
        torch.manual_seed(1)
        logs.append(light["train_step"](light["images"], adversarial=True))
        grads: list[Tensor] = [p.grad for p in light["vae"].parameters()]
        assert all(bool(grad.isfinite().all()) for grad in grads)
    assert logs[0] != logs[1]
    for name in ("pixels", "perceptual", "kl"):
        assert logs[1][name] == pytest.approx(logs[0][name], rel=0.05)
