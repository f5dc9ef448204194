"""A folder of pictures and recipes that take milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from opsin.networks import ImageTransformNet, Network
from opsin.training import Recipe, Settings, Updates


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Maps are so small that threads would mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Inverting(Recipe):
    """Learns to turn pictures into their negatives; a second network learns to tell how bright pictures are."""

    product = "inverter"
    scale = (1.0, 2.0)

    def __init__(self, poison: int | None = None) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.networks: dict[str, Network] = {
                "inverter": ImageTransformNet(width=2, blocks=1),
                "judge": ImageTransformNet(width=1, blocks=1),
            }
        self.poison, self.calls = poison, 0

    def optimizers(self, lr: float) -> dict[str, Optimizer]:
        parameters = {name: network.parameters() for name, network in self.networks.items()}
        return {"inverter": Adam(parameters["inverter"], lr=lr), "judge": SGD(parameters["judge"], lr=lr, momentum=0.9)}

    def step(self, images: tuple[Tensor, ...], update: Updates) -> dict[str, Tensor]:
        self.calls += 1
        (photos,) = images
        noisy = (photos + 0.01 * torch.randn_like(photos)).clamp(0, 1)
        made = update.networks["inverter"](noisy)
        loss = (made - (1 - photos)).square().mean()
        if self.calls == self.poison:
            loss = loss / 0
        update("inverter", loss)
        judged = (update.networks["judge"](made.detach()).mean() - photos.mean()).square()
        update("judge", judged)
        return {"loss": loss, "judge": judged}

    def sample(self, network: nn.Module, images: tuple[Tensor, ...]) -> Tensor:
        (photos,) = images
        return torch.cat([photos[0], network(photos)[0]], dim=2)

    def about(self) -> dict[str, Any]:
        return {"kind": "inverting"}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five pictures of several formats and sizes, in two folders."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    rng = np.random.default_rng(0)
    sizes = {"a.png": (40, 30), "b.jpg": (64, 24), "more/c.webp": (20, 20), "more/d.bmp": (9, 12), "e.tif": (31, 47)}
    for name, (width, height) in sizes.items():
        coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(folder / name)
    return folder


@pytest.fixture
def settings(photos: Path, tmp_path: Path) -> Callable[..., Settings]:
    """Makes settings of a run of six short steps."""

    def make(**options: Any) -> Settings:
        plain: dict[str, Any] = {
            "data": photos,
            "output": tmp_path / "run",
            "steps": 6,
            "batch": 2,
            "crop": 16,
            "device": "cpu",
            "workers": 0,
            "sample_every": 3,
            "checkpoint_every": 2,
        }
        return Settings(**{**plain, **options})

    return make


@pytest.fixture
def recipe() -> Callable[..., Recipe]:
    """Makes the same recipe each time; with `poison` its loss is infinite in that call."""
    return Inverting
