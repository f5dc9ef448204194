"""Extractors of any module and of timm models."""

from __future__ import annotations

import copy
import pickle
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import opsin


class Residual(nn.Module):
    """What ResNets do: an in-place activation used twice and an in-place sum."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.act = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        self.unused = nn.Conv2d(3, 3, 1)
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        identity = self.act(self.conv(x))
        out = self.norm(identity)
        out += identity
        out = self.drop(self.act(out))
        return self.head(out.mean((2, 3)))


@pytest.fixture
def net() -> Residual:
    torch.manual_seed(0)
    return Residual()


def test_taps_keep_their_values_in_front_of_in_place_operations(net: Residual) -> None:
    extractor = opsin.ModuleExtractor(net)
    x = torch.rand(2, 3, 8, 8)
    f = extractor(x, ["conv", "act", "norm", "act#2", "drop", "head"])
    conv = torch.nn.functional.conv2d(x, net.conv.weight, net.conv.bias, padding=1)
    torch.testing.assert_close(f["conv"], conv)
    assert f["conv"].min() < 0
    torch.testing.assert_close(f["act"], conv.relu())
    torch.testing.assert_close(f["norm"], conv.relu() / (1 + net.norm.eps) ** 0.5)
    torch.testing.assert_close(f["act#2"], f["norm"] + f["act"])
    assert torch.equal(f["drop"], f["act#2"])  # eval mode: no dropout
    assert f["head"].shape == (2, 2, 1, 1)


def test_the_net_itself_stays_as_it_was(net: Residual) -> None:
    net.train()
    extractor = opsin.ModuleExtractor(net)
    assert net.training
    assert net.act.inplace
    assert all(p.requires_grad for p in net.parameters())
    with torch.no_grad():
        net.conv.weight.zero_()
    assert extractor(torch.rand(1, 3, 8, 8), ["conv"])["conv"].abs().max() > 0.1  # a copy
    shared = opsin.ModuleExtractor(net, copy_net=False)
    assert not any(p.requires_grad for p in net.parameters())
    assert float(shared(torch.rand(1, 3, 8, 8), ["conv"])["conv"].std(dim=(2, 3)).max()) < 1e-6


def test_it_adds_nothing_moves_copies_and_pickles(net: Residual) -> None:
    extractor = opsin.ModuleExtractor(net, normalization="inet")
    host = nn.Sequential(extractor)
    host.train()
    assert host.state_dict() == {}
    assert list(host.parameters()) == list(host.buffers()) == []
    x = torch.rand(1, 3, 8, 8)
    expected = extractor(x, ["norm"])["norm"]
    for twin in (copy.deepcopy(extractor), pickle.loads(pickle.dumps(extractor))):
        torch.testing.assert_close(twin(x, ["norm"])["norm"], expected)
        assert twin.double()(x.double(), ["norm"])["norm"].dtype == torch.float64


def test_it_ends_at_the_last_tap_and_leaves_no_hooks(net: Residual) -> None:
    extractor = opsin.ModuleExtractor(net)
    inner = extractor._network["net"]
    inner.head.register_forward_hook(lambda *_: pytest.fail("ran past the deepest tap"))
    extractor(torch.rand(1, 3, 8, 8), ["norm", "image"])
    assert not inner.norm._forward_hooks


def test_gradients_reach_the_images_only(net: Residual) -> None:
    extractor = opsin.ModuleExtractor(net)
    x = torch.rand(1, 3, 8, 8, requires_grad=True)
    f = extractor(x, ["conv", "norm"], with_graph=["conv"])
    assert f["conv"].requires_grad
    assert not f["norm"].requires_grad
    f["conv"].square().sum().backward()
    assert x.grad is not None
    assert all(p.grad is None for p in extractor._network.parameters())


def test_two_modules_are_never_one_but_a_copy_is(net: Residual) -> None:
    a, b = opsin.ModuleExtractor(net), opsin.ModuleExtractor(net)
    assert a.spec != b.spec
    assert copy.deepcopy(a).spec == a.spec
    assert a.spec.describe() == b.spec.describe()  # a signature is the same from run to run


def test_normalization_by_numbers(net: Residual) -> None:
    x = torch.rand(1, 3, 8, 8)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    f = opsin.ModuleExtractor(net, normalization=(mean, std))(x, ["conv"])["conv"]
    y = (x - torch.tensor(mean).reshape(1, 3, 1, 1)) / torch.tensor(std).reshape(1, 3, 1, 1)
    torch.testing.assert_close(f, opsin.ModuleExtractor(net)(y, ["conv"])["conv"], rtol=1e-5, atol=1e-5)


class Tuples(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 4, batch_first=True)
        self.flat = nn.Flatten(0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.flat(x)
        return self.lstm(x.flatten(2).transpose(1, 2))[0]


@pytest.mark.parametrize(
    ("tap", "message"),
    [
        ("lstm", "must be a tensor, got tuple"),
        ("flat", "2, 3 or 4 dimensions"),
        ("nope", "unknown tap 'nope'"),
    ],
)
def test_taps_without_a_map(tap: str, message: str) -> None:
    with pytest.raises(opsin.OpsinError, match=message):
        opsin.ModuleExtractor(Tuples())(torch.rand(1, 3, 4, 4), [tap])


def test_taps_that_a_pass_does_not_reach(net: Residual) -> None:
    extractor = opsin.ModuleExtractor(net)
    with pytest.raises(opsin.InputError, match="does not run"):
        extractor(torch.rand(1, 3, 8, 8), ["unused"])
    with pytest.raises(opsin.InputError, match=r"act 2 times"):
        extractor(torch.rand(1, 3, 8, 8), ["act#3"])
    with pytest.raises(opsin.InputError, match=r"torch\.nn\.Module"):
        opsin.ModuleExtractor("vgg")  # type: ignore[arg-type]


def test_a_loss_on_a_module_trains(net: Residual) -> None:
    loss = opsin.build(opsin.ModuleExtractor(net), {"conv": 1.0, "act#2": 2.0}, "l1")
    x = torch.rand(2, 3, 8, 8, requires_grad=True)
    loss(x, torch.rand(2, 3, 8, 8)).backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    with pytest.raises(opsin.InputError, match="extractors="):
        loss.to_yaml()


# timm's models are untrained here: nothing is downloaded.
@pytest.fixture(scope="module")
def resnet() -> opsin.TimmExtractor:
    return opsin.TimmExtractor("resnet10t", weights="random")


def test_timm_resnet(resnet: opsin.TimmExtractor) -> None:
    f = resnet(torch.rand(2, 3, 64, 64), ["layer1", "layer3"])
    assert f["layer1"].shape == (2, 64, 16, 16)
    assert f["layer3"].shape == (2, 256, 4, 4)
    assert opsin.TimmExtractor("resnet10t", weights="random").spec == resnet.spec
    assert opsin.TimmExtractor("resnet10t", weights="random", seed=1).spec != resnet.spec
    assert resnet.spec.normalization == "mean 0.485,0.456,0.406 std 0.229,0.224,0.225"


def test_timm_vision_transformer_gives_maps() -> None:
    vit = opsin.TimmExtractor("vit_tiny_patch16_224", weights="random", img_size=64)
    with pytest.raises(opsin.InputError, match="img_size="):
        vit(torch.rand(2, 3, 48, 48), ["blocks.1"])
    f = vit(torch.rand(2, 3, 64, 64), ["blocks.1"])["blocks.1"]
    assert f.shape == (2, 192, 4, 4)
    tokens = {}
    vit._network["net"].blocks[1].register_forward_hook(lambda _m, _i, out: tokens.update(out=out))
    x = torch.rand(1, 3, 64, 64)
    f = vit(x, ["blocks.2", "blocks.1"])["blocks.1"]
    torch.testing.assert_close(f[0, :, 1, 2], tokens["out"][0, 1 + 1 * 4 + 2])  # after the class token, row by row


def test_timm_channels_last_models() -> None:
    swin = opsin.TimmExtractor("swin_tiny_patch4_window7_224", weights="random", img_size=64)
    assert swin(torch.rand(1, 3, 64, 64), ["layers.1"])["layers.1"].shape == (1, 192, 8, 8)


def test_timm_yaml(resnet: opsin.TimmExtractor, tmp_path: Path) -> None:
    loss = opsin.build(resnet, {"layer1": 1.0}, "l2")
    path = tmp_path / "loss.yaml"
    loss.to_yaml(path)
    x, y = torch.rand(2, 1, 3, 64, 64)
    assert float(opsin.load(path)(x, y)) == float(loss(x, y))


def test_timm_bad_names_and_files(tmp_path: Path) -> None:
    with pytest.raises(opsin.ChoiceError, match="unknown timm model"):
        opsin.TimmExtractor("resnet10000", weights="random")
    path = tmp_path / "w.pth"
    torch.save({"x": torch.zeros(1)}, path)
    with pytest.raises(opsin.WeightsError, match="must be those of resnet10t"):
        opsin.TimmExtractor("resnet10t", weights=path)
    with pytest.raises(opsin.WeightsError):
        opsin.TimmExtractor("resnet10t", weights=tmp_path / "missing.pth")


def test_without_timm_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(opsin.MissingExtraError, match=r"opsin\[timm\]"):
        opsin.TimmExtractor("resnet10t", weights="random")
