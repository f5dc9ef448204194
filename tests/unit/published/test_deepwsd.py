"""DeepWSD: against the formula, group by group, and what it does with sizes that make no whole groups."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor

import opsin
from opsin.distances.deep_wasserstein import GroupedWasserstein
from opsin.extractors.averaged import Averaged
from opsin.functional.deep_wasserstein import group, grouped_wasserstein, index_transport
from opsin.published.deepwsd import TAPS, UNSCALED, deepwsd


@pytest.fixture(scope="module")
def vgg() -> opsin.Extractor:
    return opsin.VGG("vgg16", "random", pooling="l2", normalization=UNSCALED)


@pytest.fixture(scope="module", params=["terms", "log", "paper"])
def loss(request: pytest.FixtureRequest, vgg: opsin.Extractor) -> opsin.PerceptualLoss:
    options: dict[str, Any] = {"terms": {}, "log": {"log": True}, "paper": {"variant": "paper"}}[request.param]
    return deepwsd(vgg, reduction="none", **options)


def images(n: int = 2, size: int = 24, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(n, 3, size, size, generator=generator, dtype=dtype)
    return x, (x + 0.2 * torch.randn(x.shape, generator=generator, dtype=dtype)).clamp(0, 1)


def slow_transport(p: list[float], q: list[float]) -> float:
    """Σ_ij (i - j)² · the length that the intervals of mass i of p and mass j of q have in common."""
    p, q = list(p), list(q)
    lack = sum(p) - sum(q)
    p[-1] += max(0.0, -lack)
    q[-1] += max(0.0, lack)
    total = 0.0
    for i in range(len(p)):
        for j in range(len(q)):
            common = min(sum(p[: i + 1]), sum(q[: j + 1])) - max(sum(p[:i]), sum(q[:j]))
            total += (i - j) ** 2 * max(0.0, common)
    return total


def slow_pad(f: Tensor, window: int) -> Tensor:
    """Rows at the bottom and columns on the left, filled with 0 or cropped."""
    c, h, w = f.shape
    height, width = (max(1, round(n / window)) * window for n in (h, w))
    out = f.new_zeros(c, height, width)
    for i in range(height):
        for j in range(width):
            if i < h and j >= width - w:
                out[:, i, j] = f[:, i, j - (width - w)]
    return out


def slow_groups(f: Tensor, window: int, variant: str) -> list[list[float]]:
    f = slow_pad(f, window)
    c, h, w = f.shape
    count = window * window
    if variant == "code":
        flat = f.flatten().tolist()
        step = len(flat) // count
        return [[flat[g + k * step] for k in range(count)] for g in range(step)]
    return [
        [float(f[k, i + a, j + b]) for a in range(window) for b in range(window)]
        for k in range(c)
        for i in range(0, h, window)
        for j in range(0, w, window)
    ]


def slow_stage(x: Tensor, y: Tensor, window: int = 4, variant: str = "code") -> float:
    sum_x, sum_y = (float(slow_pad(f, window).sum()) + 1e-6 for f in (x, y))
    total = 0.0
    for a, b in zip(slow_groups(x, window, variant), slow_groups(y, window, variant), strict=True):
        cost = slow_transport([v * v / sum_x for v in a], [v * v / sum_y for v in b])
        weight = 1 / (math.sqrt(math.exp(-1 / (cost + 10))) * (cost + 10) ** 2)
        total += cost + weight * sum((v - u) ** 2 for v, u in zip(a, b, strict=True))
    return total


@pytest.mark.parametrize("variant", ["code", "paper"])
@pytest.mark.parametrize(("shape", "window"), [((3, 8, 12), 4), ((16, 4, 4), 4), ((4, 5, 7), 4), ((2, 1, 9), 2)])
def test_a_stage_against_the_formula(shape: tuple[int, ...], window: int, variant: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(2, 2, *shape, generator=generator, dtype=torch.float64)
    y = y * (y > 0.4)  # zeros, as behind a ReLU
    values = grouped_wasserstein(x, y, window, variant)
    for i in range(2):
        assert float(values[i]) == pytest.approx(slow_stage(x[i], y[i], window, variant), rel=1e-10)


def test_the_mean_of_the_stages(vgg: opsin.Extractor) -> None:
    double = copy.deepcopy(vgg).double()
    x, y = images(1, 16, torch.float64)
    a, b = double(x, TAPS), double(y, TAPS)
    result = deepwsd(double).evaluate(x, target=y)
    assert list(result.terms) == list(TAPS)
    deep = TAPS[2:3] + TAPS[4:]  # the others take seconds each
    for tap in deep:
        assert float(result.terms[tap]) == pytest.approx(slow_stage(a[tap][0], b[tap][0]), rel=1e-9)
    mean = sum(result.terms.values()) / 6
    torch.testing.assert_close(result.total, mean, rtol=1e-12, atol=0)
    log = deepwsd(double, log=True)
    assert list(log.terms) == ["log"]
    torch.testing.assert_close(log(x, y), (1 + mean).log()[0], rtol=1e-12, atol=0)


def test_a_wrong_formula_would_be_noticed() -> None:
    x, y = torch.rand(2, 1, 16, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    value = float(grouped_wasserstein(x, y))
    assert value == pytest.approx(slow_stage(x[0], y[0]), rel=1e-10)
    assert value != pytest.approx(slow_stage(x[0], y[0], variant="paper"), rel=1e-5)
    assert value != pytest.approx(slow_stage(x[0].mT, y[0]), rel=1e-5)


def test_transport() -> None:
    # All mass moves two places; and 0.25 that is lacking lies at the last place, one from where it should be.
    p, q = torch.tensor([[[1.0, 0, 0]]]), torch.tensor([[[0.0, 0, 1]]])
    assert float(index_transport(p, q)) == 4
    assert float(index_transport(torch.tensor([[[0.0, 1, 0]]]), torch.tensor([[[0.0, 0.75, 0]]]))) == 0.25
    assert float(index_transport(p, p)) == 0


def test_groups() -> None:
    f = torch.arange(2 * 16 * 4 * 8).reshape(2, 16, 4, 8)
    code, windows = group(f, 4, "code"), group(f, 4, "paper")
    assert code.shape == windows.shape == (2, 32, 16)
    assert torch.equal(code[0, 0], f[0, :, 0, 0])  # 16 channels at one position
    assert torch.equal(windows[0, 1], f[0, 0, :, 4:].flatten())
    strided = f.to(memory_format=torch.channels_last)
    assert torch.equal(group(strided, 4, "code"), code)
    assert group(f[..., :2, :1], 4, "code").shape == (2, 16, 16)


def test_equal_images_symmetry_and_batches(loss: opsin.PerceptualLoss) -> None:
    x, y = images(3)
    assert torch.equal(loss(x, x), torch.zeros(3))
    torch.testing.assert_close(loss(x, y), loss(y, x), rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(loss(x, y)[1:2], loss(x[1:2], y[1:2]), rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(loss(x, y[:1]), loss(x, y[:1].expand_as(x)), rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(loss(x, loss.targets(target=y)), loss(x, y), rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["equal", "constant", "black", "black and photo"])
def test_gradients_are_finite(loss: opsin.PerceptualLoss, kind: str) -> None:
    x, y = images(1)
    x = {"equal": y, "constant": torch.full_like(y, 0.5)}.get(kind, torch.zeros_like(y)).clone().requires_grad_()
    (grad,) = torch.autograd.grad(loss(x, torch.zeros_like(y) if kind == "black" else y).sum(), x)
    assert bool(torch.isfinite(grad).all())
    if kind in ("equal", "black"):
        assert float(grad.abs().max()) == 0


@pytest.mark.parametrize("variant", ["code", "paper"])
def test_equal_maps_are_equal_whatever_their_order_in_memory(variant: str) -> None:
    maps = torch.rand(8, 512, 2, 2, generator=torch.Generator().manual_seed(0))
    for f in maps.split(1):
        last = f.contiguous(memory_format=torch.channels_last)
        # The stride of a single image tells nothing, and convolutions leave it as they like.
        odd = last.as_strided(f.shape, (512, 1, 1024, 512))
        for other in (f, odd):
            assert float(grouped_wasserstein(last, other, 4, variant)) == 0


def test_values_that_undershoot_are_finite() -> None:
    x = torch.full((1, 1, 4, 4), -1e-6 / 16)  # their sum and the constant cancel
    assert math.isfinite(float(grouped_wasserstein(x, torch.rand(1, 1, 4, 4))))


@pytest.mark.parametrize("variant", ["code", "paper"])
def test_gradcheck(variant: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = 3 * torch.rand(2, 2, 2, 5, 4, generator=generator, dtype=torch.float64)
    distance = GroupedWasserstein(2, variant)
    assert torch.autograd.gradcheck(lambda t: distance(t, y), x.requires_grad_())


def test_autocast(loss: opsin.PerceptualLoss) -> None:
    x, y = images()
    with torch.autocast("cpu", torch.bfloat16):
        got = loss(x, y)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, loss(x, y), rtol=0.02, atol=0)


def test_images_are_averaged(vgg: opsin.Extractor) -> None:
    x, y = images(1, 48)
    assert Averaged(vgg, 33)(x, ["image"])["image"].data_ptr() == x.data_ptr()  # 1.45 is 1
    small = Averaged(vgg, 16)
    got = small(x[..., :47], ["image"])["image"]
    assert got.shape == (1, 3, 16, 15)
    torch.testing.assert_close(got[0, 1, 2, 3], x[0, 1, 6:9, 9:12].mean())
    assert small.spec.network == "vgg16 averaged to 16 px"
    assert small.config()["average"] == 16
    a, b = (small(t, ["image"])["image"] for t in (x, y))
    torch.testing.assert_close(deepwsd(vgg, average=16)(x, y), deepwsd(vgg, average=None)(a, b), rtol=1e-5, atol=0)
    assert Averaged(vgg, 8)(x[..., :2], ["image"])["image"].shape == (1, 3, 8, 1)


def test_network_and_precision(vgg: opsin.Extractor) -> None:
    made = deepwsd(weights="random", average=None)
    spec = made.terms["image"].extractor.spec
    assert (spec.pooling, spec.key) == ("l2", vgg.spec.key)
    x, y = images(1)
    torch.testing.assert_close(made(x, y), deepwsd(vgg)(x, y), rtol=1e-6, atol=0)
    double = copy.deepcopy(made).to(torch.float64)
    torch.testing.assert_close(double(x.double(), y.double()).float(), made(x, y), rtol=1e-4, atol=0)
    assert made.weights == pytest.approx(dict.fromkeys(TAPS, 1 / 6))
    assert float(deepwsd(vgg, taps=["image", "relu1_1"], window=2)(x, y)) > 0


def test_bad_input(vgg: opsin.Extractor) -> None:
    x, y = images(1)
    with pytest.raises(opsin.InputError, match="size of x's"):
        deepwsd(vgg)(x, y[..., :16])
    with pytest.raises(opsin.ChoiceError, match="unknown tap 'relu1_2' for alexnet"):
        deepwsd("alexnet", "random")
    with pytest.raises(opsin.ChoiceError, match="unknown variant 'papers'"):
        deepwsd(vgg, variant="papers")
    with pytest.raises(opsin.InputError, match="longer_side must be a whole number"):
        deepwsd(vgg, average=0)
    for window in (0, 1.5, True):
        with pytest.raises(opsin.InputError, match="window must be a whole number"):
            deepwsd(vgg, window=window)
