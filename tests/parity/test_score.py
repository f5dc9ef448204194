"""`opsin score` beside pip lpips on the same files: its loader, its conversion, one and the same seeded weights."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import opsin
from opsin.cli.main import run

lpips = pytest.importorskip("lpips")
pytest.importorskip("cv2", reason="lpips reads images with OpenCV, extra 'video'")


@pytest.fixture
def weights(tmp_path: Path) -> dict[str, torch.Tensor]:
    """AlexNet's convolutions, random, as a file that a loss names."""
    network = opsin.AlexNet("random")._network
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(state, tmp_path / "alexnet.safetensors")
    opsin.published.lpips("alex", weights=tmp_path / "alexnet.safetensors").to_yaml(tmp_path / "lpips.yaml")
    return state


@pytest.fixture
def folders(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i, size in enumerate([(64, 64), (64, 64), (97, 71), (64, 64), (80, 112)]):
        small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        picture = small.resize(size, Image.Resampling.BICUBIC)
        for name, strength in (("ref", 0), ("a", 8), ("b", 30)):
            (tmp_path / name).mkdir(exist_ok=True)
            noisy = np.asarray(picture) + strength * rng.normal(0, 1, (*size[::-1], 3))
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(tmp_path / name / f"{i}.png")


@pytest.mark.usefixtures("folders")
def test_values_are_those_of_pip_lpips(
    tmp_path: Path, weights: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["score", "ref", "a", "b", "--loss", "lpips.yaml", "--csv", "scores.csv"]) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls torchvision in a way that is deprecated
        theirs = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    convolutions = [m for m in theirs.net.modules() if isinstance(m, nn.Conv2d)]
    values = list(weights.values())
    for conv, weight, bias in zip(convolutions, values[::2], values[1::2], strict=True):
        assert conv.weight.shape == weight.shape
        conv.weight.data.copy_(weight)
        conv.bias.data.copy_(bias)
    with Path("scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10
    for row in rows:
        with torch.no_grad():
            images = [lpips.im2tensor(lpips.load_image(row[name])) for name in ("reference", "distorted")]
            expected = float(theirs(*images))
            # Another image in its place must not pass.
            wrong = float(theirs(images[0], images[1].flip(-1)))
        assert float(row["lpips"]) == pytest.approx(expected, rel=1e-5)
        assert float(row["lpips"]) != pytest.approx(wrong, rel=1e-4)
