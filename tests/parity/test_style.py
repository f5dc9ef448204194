"""The content and style losses of piq with one set of seeded weights: values and gradients in float64."""

from __future__ import annotations

import piq
import piq.perceptual
import pytest
import torch
from torch import Tensor

import opsin
from opsin.published.johnson import johnson_feature, johnson_style

# piq's default layers have one convolution less in the fourth block than Johnson's.
TAPS = {"relu1_2": 1.0, "relu2_2": 0.5, "relu3_3": 0.25}


@pytest.fixture(scope="module")
def vgg() -> opsin.VGG:
    return opsin.VGG("vgg16", "random").double()


def theirs(kind: type, vgg: opsin.VGG, taps: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> torch.nn.Module:
    """piq's loss on our weights, no file read."""

    def made(**_: object) -> torch.nn.Module:
        import torchvision

        net = torchvision.models.vgg16(weights=None)
        state = {k: v for k, v in vgg._network.state_dict().items() if k.startswith("features")}
        net.load_state_dict(state, strict=False)
        return net.double()

    monkeypatch.setattr(piq.perceptual, "vgg16", made)
    loss = kind(feature_extractor="vgg16", layers=list(taps), weights=list(taps.values()), reduction="none")
    # Its normalising constants went through float32, ours did not.
    loss.mean = torch.tensor(piq.perceptual.IMAGENET_MEAN, dtype=torch.float64).reshape(1, 3, 1, 1)
    loss.std = torch.tensor(piq.perceptual.IMAGENET_STD, dtype=torch.float64).reshape(1, 3, 1, 1)
    return loss


def images() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(2, 2, 3, 32, 32, generator=generator, dtype=torch.float64)
    return x.requires_grad_(True), y


def same(ours: Tensor, expected: Tensor, x: Tensor) -> None:
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=0)
    (a,), (b,) = (torch.autograd.grad(v.sum(), x) for v in (ours, expected))
    torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6 * float(b.abs().max()))


def test_content(vgg: opsin.VGG, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = images()
    peer = theirs(piq.ContentLoss, vgg, TAPS, monkeypatch)
    # piq sums over channels, Johnson averages.
    channels = {"relu1_2": 64, "relu2_2": 128, "relu3_3": 256}
    layers = {tap: w * channels[tap] for tap, w in TAPS.items()}
    same(johnson_feature(vgg, layers=layers, reduction="none")(x, y), peer(x, y), x)
    with pytest.raises(AssertionError):
        same(johnson_feature(vgg, layers=TAPS, reduction="none")(x, y), peer(x, y), x)


@pytest.mark.parametrize("variant", ["code", "paper"])
def test_style(variant: str, vgg: opsin.VGG, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = images()
    peer = theirs(piq.StyleLoss, vgg, TAPS, monkeypatch)
    # piq's Gram matrices are not divided by C·H·W = 64·32², 128·16² and 256·8², and it averages over C².
    sizes = {"relu1_2": (64, 32), "relu2_2": (128, 16), "relu3_3": (256, 8)}
    layers = {}
    for tap, w in TAPS.items():
        c, side = sizes[tap]
        layers[tap] = w * (c * side**2) ** 2 / (1 if variant == "code" else c**2)
    same(johnson_style(vgg, layers=layers, variant=variant, reduction="none")(x, y), peer(x, y), x)
    with pytest.raises(AssertionError):
        other = "paper" if variant == "code" else "code"
        same(johnson_style(vgg, layers=layers, variant=other, reduction="none")(x, y), peer(x, y), x)
