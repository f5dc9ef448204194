"""The same loss in pip lpips, piq and torchmetrics, with one set of seeded weights: values and gradients."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import lpips
import pytest
import torch
from torch import Tensor

import opsin

TAPS = {
    "alex": ("alexnet", ("relu1", "relu2", "relu3", "relu4", "relu5")),
    "vgg": ("vgg16", ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")),
    "squeeze": ("squeezenet1_1", ("relu1", "fire3", "fire5", "fire6", "fire7", "fire8", "fire9")),
}


def pip_lpips(net: str) -> torch.nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls torchvision in a way that is deprecated
        return lpips.LPIPS(net=net, pnet_rand=True, verbose=False)


def make(net: str) -> tuple[torch.nn.Module, opsin.PerceptualLoss]:
    """Pip lpips and ours with the published heads on the same random trunk."""
    theirs = pip_lpips(net)
    network, taps = TAPS[net]
    extractor = opsin.make_extractor(network, "random")
    state = extractor._network.state_dict()
    trunk = [p for name, p in theirs.net.named_parameters() if "slice" in name or "layers" in name]
    ours = [v for k, v in state.items() if k.startswith("features")]
    for parameter, value in zip(trunk, ours, strict=True):
        assert parameter.shape == value.shape
        parameter.data.copy_(value)
    heads = [lin.model[1].weight for lin in theirs.lins]
    terms = [opsin.Term(extractor, t, opsin.distances.UnitL2(h)) for t, h in zip(taps, heads, strict=True)]
    return theirs, opsin.PerceptualLoss(terms, input_range=(-1, 1), reduction="none")


def images(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, 64, 64, generator=generator, dtype=dtype) * 2 - 1
    y = (x + 0.2 * torch.randn(x.shape, generator=generator, dtype=dtype)).clamp(-1, 1)
    return x.requires_grad_(True), y


@pytest.mark.parametrize("net", list(TAPS))
def test_values_and_gradients_equal_pip_lpips(net: str) -> None:
    theirs, ours = make(net)
    x, y = images(torch.float32)
    torch.testing.assert_close(ours(x, y), theirs(x, y).flatten(), rtol=1e-5, atol=1e-8)
    theirs, ours = theirs.double(), ours.double()
    # Its scaling constants went through float32, ours did not.
    for name, values in (("shift", (-0.030, -0.088, -0.188)), ("scale", (0.458, 0.448, 0.450))):
        setattr(theirs.scaling_layer, name, torch.tensor(values, dtype=torch.float64).reshape(1, 3, 1, 1))
    x, y = images(torch.float64)
    expected, got = theirs(x, y).flatten(), ours(x, y)
    torch.testing.assert_close(got, expected, rtol=1e-8, atol=0)
    gradients = [torch.autograd.grad(v.sum(), x)[0] for v in (got, expected)]
    assert float((gradients[0] - gradients[1]).norm() / gradients[1].norm()) < 1e-8
    wrong = ours.reweighted({next(iter(ours.weights)): 1.01})
    with pytest.raises(AssertionError):
        torch.testing.assert_close(wrong(x, y), expected, rtol=1e-6, atol=0)


def test_published_lpips_alex_values() -> None:
    """0.722 and 0.138, the values in the LPIPS repository's README, on real weights."""
    folder = os.environ.get("OPSIN_WEIGHTS_DIR")
    if not folder or not (Path(folder) / "alexnet.safetensors").is_file():
        pytest.skip("OPSIN_WEIGHTS_DIR has no alexnet.safetensors")
    photos = Path(folder).parent / "images"
    if not (photos / "ex_ref.png").is_file():
        pytest.skip("there are no LPIPS example images beside OPSIN_WEIGHTS_DIR")
    extractor = opsin.AlexNet("official")
    heads = [lin.model[1].weight for lin in pip_lpips("alex").lins]
    loss = opsin.PerceptualLoss(
        [opsin.Term(extractor, t, opsin.distances.UnitL2(h)) for t, h in zip(TAPS["alex"][1], heads, strict=True)]
    )
    reference, p0, p1 = (opsin.read_image(photos / f"ex_{n}.png") for n in ("ref", "p0", "p1"))
    assert round(float(loss(p0, reference)), 3) == 0.722
    assert round(float(loss(p1, reference)), 3) == 0.138
