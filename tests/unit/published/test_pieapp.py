"""PieAPP: its formula, its patches, and what can be wrong with its file. tests/parity has its values."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import opsin
from opsin.distances import ALL_DISTANCES
from opsin.distances.pieapp import PatchError
from opsin.extractors.pieapp import PieAPP, expected_shapes, random_state
from opsin.published.pieapp import pieapp


@pytest.fixture(scope="module")
def net() -> PieAPP:
    return PieAPP("random")


@pytest.fixture(scope="module")
def loss(net: PieAPP) -> opsin.PerceptualLoss:
    return opsin.PerceptualLoss([opsin.Term(net, "patches", PatchError(**net.heads))], reduction="none")


def images(n: int = 2, height: int = 64, width: int = 95, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(n, 3, height, width, generator=generator, dtype=dtype)
    return x, (x + 0.2 * torch.randn(x.shape, generator=generator, dtype=dtype)).clamp(0, 1)


def small_distance() -> PatchError:
    return PatchError([0.1, -0.3], [0.5, -0.7], 0.2, [0.4, 0.0, -0.1], [0.3, 0.2, 0.6], 0.5)


def slow_patch_error(x: Tensor, y: Tensor) -> float:
    """`small_distance` of one pair (5,H,W), position by position."""
    top = bottom = 0.0
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            d = (y[:, i, j] - x[:, i, j]).tolist()
            error = 0.2 + 0.5 * max(0.0, d[0] + 0.1) - 0.7 * max(0.0, d[1] - 0.3)
            weight = 0.5 + 0.3 * max(0.0, d[2] + 0.4) + 0.2 * max(0.0, d[3]) + 0.6 * max(0.0, d[4] - 0.1)
            top, bottom = top + error * weight, bottom + weight
    return top / bottom


def test_the_distance_is_the_formula() -> None:
    x, y = torch.randn(2, 3, 5, 2, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    distance = small_distance().double()
    expected = [slow_patch_error(a, b) for a, b in zip(x, y, strict=True)]
    assert distance(x, y).tolist() == pytest.approx(expected, rel=1e-12)
    assert distance(x, y[:1]).tolist()[1] == pytest.approx(slow_patch_error(x[1], y[0]), rel=1e-12)
    assert torch.autograd.gradcheck(lambda t: distance(t, y), x.requires_grad_())
    again = PatchError(**distance.config()).double()
    assert torch.equal(again(x, y), distance(x, y))
    assert "sha256" in repr(distance)
    assert not distance.state_dict()
    with pytest.raises(opsin.InputError, match="one number per channel, 4 here"):
        distance(x[:, :4], y[:, :4])
    with pytest.raises(opsin.InputError, match="must have the shape of x's"):
        distance(x, y[..., :3])
    with pytest.raises(opsin.InputError, match=r"got 1 and 2\. Take both"):
        PatchError([1.0], [1.0, 2.0], 0.0, [1.0], [1.0], 0.0)
    with pytest.raises(opsin.InputError, match="score_gain must be finite"):
        PatchError([1.0], [float("nan")], 0.0, [1.0], [1.0], 0.0)


def test_patches_are_where_they_should_be(net: PieAPP) -> None:
    x, _ = images(2, 100, 127)
    dense = net(x, ["patches"])["patches"]
    assert dense.shape == (2, 1024, 2, 3)
    rounding = 1e-5 * float(dense.abs().max())  # sums are added up in another order, by another number of threads
    for row in range(2):
        for column in range(3):
            crop = x[:, :, 27 * row : 27 * row + 64, 27 * column : 27 * column + 64]
            alone = net(crop, ["patches"])["patches"][:, :, 0, 0]
            torch.testing.assert_close(dense[:, :, row, column], alone, rtol=1e-3, atol=rounding)
    assert not torch.allclose(dense[:, :, 0, 0], dense[:, :, 0, 1], rtol=1e-2, atol=1e-1)
    both = net(x.requires_grad_(), ["patches", "image"], with_graph=["image"])
    assert both["image"].requires_grad
    assert not both["patches"].requires_grad


def test_equal_images_batches_and_targets(loss: opsin.PerceptualLoss) -> None:
    x, y = images()
    assert torch.equal(loss(x, x), torch.zeros(2))
    assert bool((loss(x, y) > 0).all())
    assert not torch.allclose(loss(x, y), loss(y, x), rtol=1e-3)
    torch.testing.assert_close(loss(x, y)[1:], loss(x[1:], y[1:]), rtol=1e-4, atol=0)
    torch.testing.assert_close(loss(x, y[:1]), loss(x, y[:1].expand_as(x)), rtol=1e-4, atol=0)
    targets = loss.targets(target=y)
    torch.testing.assert_close(loss(x, targets), loss(x, y), rtol=0, atol=0)
    with torch.autocast("cpu", torch.bfloat16):
        half = loss(x, y)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, loss(x, y), rtol=0.02, atol=0)


@pytest.mark.parametrize("kind", ["equal", "constant", "black", "black and photo"])
def test_gradients_are_finite(loss: opsin.PerceptualLoss, kind: str) -> None:
    _, y = images(1)
    x = {"equal": y, "constant": torch.full_like(y, 0.5)}.get(kind, torch.zeros_like(y)).clone().requires_grad_()
    (grad,) = torch.autograd.grad(loss(x, torch.zeros_like(y) if kind == "black" else y).sum(), x)
    assert bool(torch.isfinite(grad).all())


def test_gradients_are_the_slopes_of_the_values(net: PieAPP) -> None:
    double = copy.deepcopy(net).double()
    x, y = images(1, 64, 64, torch.float64)
    loss = opsin.PerceptualLoss([opsin.Term(double, "patches", PatchError(**net.heads))]).double()
    assert torch.autograd.gradcheck(lambda t: loss(t, y), x.requires_grad_(), eps=1e-7, rtol=1e-3, fast_mode=True)


def test_what_it_is_made_of() -> None:
    loss = pieapp("random", stride=13, channels="bgr", seed=2, name="p")
    (net,) = loss.extractors
    assert isinstance(net, PieAPP)
    assert net.spec.network == "pieapp at stride 13"
    assert (net.spec.sha256, net.spec.normalization) == ("seed:2", "0..255 bgr")
    expected = {"network": "pieapp", "weights": "random", "stride": 13, "channels": "bgr", "seed": 2}
    assert net.config() == expected
    assert list(loss.terms) == ["patches"]
    assert not loss.state_dict()
    x, _ = images(1, 64, 77)
    rgb = PieAPP("random", stride=13, seed=2)(x, ["patches"])["patches"]
    assert rgb.shape == (1, 1024, 1, 2)
    torch.testing.assert_close(net(x.flip(1), ["patches"])["patches"], rgb, rtol=1e-3, atol=1e-2)


def test_a_yaml_file(loss: opsin.PerceptualLoss, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ALL_DISTANCES, "patch_error", PatchError)
    path = tmp_path / "pieapp.yaml"
    loss.to_yaml(path)
    x, y = images(1)
    again = opsin.load(path, extractors={"pieapp": loss.extractors[0]})
    torch.testing.assert_close(again(x, y), loss(x, y), rtol=0, atol=0)


@pytest.mark.parametrize("weights", [None, "official", "bundled"])
def test_weights_must_be_named(weights: str | None) -> None:
    with pytest.raises(opsin.WeightsError, match=r"or 'random', got (none|official|bundled)\. .*licence"):
        pieapp(weights)


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(opsin.WeightsError, match="no such file"):
        pieapp(tmp_path / "PieAPPv0.1.pth")
    small = {"conv1.weight": torch.zeros(64, 3, 3, 3)}
    torch.save(small, tmp_path / "short.pth")
    with pytest.raises(opsin.WeightsError, match=r"another network.*conv1.bias is nothing instead of \(64,\)"):
        pieapp(tmp_path / "short.pth")
    # Tensors of the right shapes that take no room on the disk cannot be saved; the names alone are checked first.
    wrong = {name: torch.zeros(1) for name in expected_shapes()}
    save_file(wrong, tmp_path / "wrong.safetensors")
    with pytest.raises(opsin.WeightsError, match=r"is \(1,\) instead of"):
        pieapp(tmp_path / "wrong.safetensors")


def test_bad_input(net: PieAPP, loss: opsin.PerceptualLoss) -> None:
    x, y = images(1)
    with pytest.raises(opsin.InputError, match="at least 64×64 for PieAPP, got 63×95"):
        loss(x[:, :, 1:], y[:, :, 1:])
    with pytest.raises(opsin.InputError, match="size of x"):
        loss(x, y[..., :70])
    with pytest.raises(opsin.InputError, match="stride must be a whole number"):
        PieAPP("random", stride=0)
    with pytest.raises(opsin.ChoiceError, match="did you mean 'rgb'"):
        PieAPP("random", channels="rbg")
    with pytest.raises(opsin.ChoiceError, match="unknown tap"):
        net(x, ["relu1"])


def test_random_weights_are_the_same_everywhere() -> None:
    with torch.device("meta"):
        state = random_state(0)
    assert state["conv1.weight"].device.type == "cpu"
    assert {name: tuple(value.shape) for name, value in state.items()} == expected_shapes()
    assert float(state["conv1.weight"].std()) == pytest.approx((2 / 27) ** 0.5, rel=0.05)
