"""Each distance against a slow, obvious implementation, and at the inputs where gradients break."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor

import opsin
from opsin.distances import DISTANCES, CallableDistance, SpatialDistance, make_distance

NAMES = list(DISTANCES)


def slow(name: str, x: Tensor, y: Tensor) -> float:
    """The formula of one pair (C,H,W), by loops over positions."""
    c, h, w = x.shape
    positions = [(x[:, i, j], y[:, i, j]) for i in range(h) for j in range(w)]
    d = (x - y).flatten().tolist()

    def unit(v: Tensor) -> Tensor:
        length = math.sqrt(sum(a * a for a in v.tolist()))
        return v / length if length else v

    if name == "l1":
        return sum(abs(a) for a in d) / len(d)
    if name == "l2":
        return sum(a * a for a in d) / len(d)
    if name == "euclidean":
        return sum(math.sqrt(float(((a - b) ** 2).sum())) for a, b in positions) / len(positions)
    if name == "charbonnier":
        return sum(math.sqrt(a * a + 1e-6) for a in d) / len(d)
    if name == "huber":
        return sum(0.5 * a * a if abs(a) < 1 else abs(a) - 0.5 for a in d) / len(d)
    if name == "unit_l2":
        return sum(float(((unit(a) - unit(b)) ** 2).sum()) for a, b in positions) / len(positions)
    if name == "cosine":
        return sum(1 - float(unit(a) @ unit(b)) for a, b in positions) / len(positions)
    if name == "gram":
        total = 0.0
        for i in range(c):
            for j in range(c):
                gx = float((x[i] * x[j]).sum()) / (c * h * w)
                gy = float((y[i] * y[j]).sum()) / (c * h * w)
                total += (gx - gy) ** 2
        return total / c**2
    if name == "mean_std":
        total = 0.0
        for i in range(c):
            mx, my = float(x[i].mean()), float(y[i].mean())
            sx = math.sqrt(float(((x[i] - mx) ** 2).mean()) + 1e-5)
            sy = math.sqrt(float(((y[i] - my) ** 2).mean()) + 1e-5)
            total += (mx - my) ** 2 + (sx - sy) ** 2
        return total / c
    raise ValueError(name)


def features(n: int = 3, c: int = 4, h: int = 5, w: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(2, n, c, h, w, generator=generator, dtype=torch.float64) * 2)  # type: ignore[return-value]


@pytest.mark.parametrize("name", NAMES)
def test_against_the_formula(name: str) -> None:
    x, y = features()
    got = make_distance(name)(x, y)
    assert got.shape == (3,)
    expected = [slow(name, a, b) for a, b in zip(x, y, strict=True)]
    torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-12)


def test_a_wrong_formula_would_be_noticed() -> None:
    x, y = features()
    wrong = torch.tensor([slow("l2", a, b) for a, b in zip(x, y, strict=True)], dtype=torch.float64)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(make_distance("l1")(x, y), wrong, rtol=1e-3, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_one_reference_serves_a_batch(name: str) -> None:
    x, y = features()
    distance = make_distance(name)
    torch.testing.assert_close(distance(x, y[:1]), distance(x, y[:1].expand_as(x)))


@pytest.mark.parametrize("name", NAMES)
def test_gradcheck(name: str) -> None:
    x, y = features(2, 3, 3, 2)
    distance = make_distance(name)
    y = y.detach()
    assert torch.autograd.gradcheck(lambda a: distance(a, y), x.requires_grad_(True))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", ["equal", "x zero", "y zero", "both zero", "constant", "some vectors zero"])
def test_gradients_are_finite_where_they_usually_break(name: str, dtype: torch.dtype, case: str) -> None:
    x, y = (t.to(dtype) for t in features())
    if case == "equal":
        y = x.clone()
    if case in ("x zero", "both zero"):
        x = torch.zeros_like(x)
    if case in ("y zero", "both zero"):
        y = torch.zeros_like(y)
    if case == "constant":
        x, y = torch.full_like(x, 0.5), torch.full_like(x, 0.5)
    if case == "some vectors zero":
        x, y = x.clone(), y.clone()
        x[:, :, ::2], y[:, :, 1:3] = 0, 0
    x.requires_grad_(True)
    value = make_distance(name)(x, y)
    value.sum().backward()
    assert value.isfinite().all()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert x.grad.abs().max() < 1e3  # finite, and not 1/eps either
    if case in ("equal", "both zero", "constant"):
        expected = 1e-3 if name == "charbonnier" else 0.0
        torch.testing.assert_close(value, torch.full_like(value, expected), rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_and_autocast_compute_in_float32(name: str, dtype: torch.dtype) -> None:
    """Features of the size that caffe networks have: their squares overflow float16."""
    x, y = (300 * t.float() for t in features(2, 8, 16, 16))
    x, y = x.to(dtype), y.to(dtype)
    distance = make_distance(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = distance(x, y)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, distance(x.float(), y.float()), rtol=0, atol=0)
    assert got.isfinite().all()


@pytest.mark.parametrize("name", [n for n, d in DISTANCES.items() if issubclass(d, SpatialDistance)])
def test_the_mean_of_the_map_is_the_distance(name: str) -> None:
    x, y = features()
    distance = make_distance(name)
    assert isinstance(distance, SpatialDistance)
    picture = distance.map(distance.statistic(x), distance.statistic(y))
    assert picture.shape == (3, 5, 3)
    torch.testing.assert_close(picture.mean((1, 2)), distance(x, y))


def test_lpips_heads_as_channel_weights() -> None:
    x, y = features()
    w = torch.tensor([0.0, 1.0, 2.0, 0.5])
    got = make_distance("unit_l2", channel_weights=w)(x, y)
    a, b = (t / (t.square().sum(1, keepdim=True).sqrt() + 1e-10) for t in (x, y))
    torch.testing.assert_close(got, ((a - b).square() * w.reshape(1, 4, 1, 1)).sum(1).mean((1, 2)))
    with pytest.raises(opsin.InputError, match="one number per channel, 4 here, got 3"):
        make_distance("unit_l2", channel_weights=[1.0, 2.0, 3.0])(x, y)
    with pytest.raises(opsin.InputError, match="finite"):
        make_distance("unit_l2", channel_weights=[float("nan")])


def test_channel_weights_move_and_copy_but_are_no_state() -> None:
    distance = make_distance("unit_l2", channel_weights=[1.0, 2.0])
    host = torch.nn.Sequential(distance)
    assert host.state_dict() == {}
    assert list(host.buffers()) == []
    host.to("meta")
    assert distance.channel_weights.device.type == "meta"
    assert copy.deepcopy(distance).channel_weights.device.type == "meta"


def test_gram_options() -> None:
    x, y = features(1)
    chw = make_distance("gram")(x, y)
    c, m = 4, 15
    torch.testing.assert_close(make_distance("gram", normalize="hw")(x, y), chw * c**2)
    torch.testing.assert_close(make_distance("gram", normalize="none")(x, y), chw * (c * m) ** 2)
    torch.testing.assert_close(make_distance("gram", reduction="sum")(x, y), chw * c**2)


@pytest.mark.parametrize("name", ["gram", "mean_std"])
def test_statistics_compare_images_of_different_sizes_and_ignore_positions(name: str) -> None:
    x, y = features()
    distance = make_distance(name)
    assert distance(x, y[:, :, :2, :2]).isfinite().all()
    shuffled = x.flatten(2)[:, :, torch.randperm(15)].reshape(x.shape)
    torch.testing.assert_close(distance(shuffled, y), distance(x, y))


class TestCallable:
    """Functions as distances."""

    def test_per_image_values_maps_and_scalars(self) -> None:
        x, y = features()
        expected = (x - y).square().mean((1, 2, 3))
        per_image = CallableDistance(lambda a, b: (a - b).square().mean((1, 2, 3)))
        unreduced = CallableDistance(lambda a, b: (a - b).square())
        scalar = CallableDistance(torch.nn.functional.mse_loss)
        for distance in (per_image, unreduced, scalar):
            torch.testing.assert_close(distance(x, y), expected)
            torch.testing.assert_close(distance(x, y[:1]), (x - y[:1]).square().mean((1, 2, 3)))

    def test_a_module_with_a_state_leaks_nothing(self) -> None:
        inner = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.BatchNorm2d(4))
        distance = CallableDistance(inner)
        host = torch.nn.Sequential(distance)
        assert host.state_dict() == {}
        host.to(torch.float64)
        host.train()
        copied = distance.function
        assert copied[1].running_mean.dtype == torch.float64
        assert not any(m.training for m in copied.modules())
        assert not any(p.requires_grad for p in copied.parameters())
        assert inner.training  # the caller's module stays as it was
        assert inner[1].weight.requires_grad

    @pytest.mark.parametrize(
        ("function", "message"),
        [
            (lambda a, b: (a - b).mean().item(), "must return a torch.Tensor, got float"),
            (lambda a, b: (a - b).mean((0, 2, 3)), r"got shape \(4,\)"),
        ],
    )
    def test_what_it_must_return(self, function: object, message: str) -> None:
        x, y = features()
        with pytest.raises(opsin.InputError, match=message):
            CallableDistance(function)(x, y)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("l3", {}, "unknown distance 'l3'; did you mean 'l"),
        ("huber", {"delta": 0.0}, "delta must be a positive number, got 0.0"),
        ("charbonnier", {"eps": -1.0}, "eps must be"),
        ("gram", {"normalize": "cwh"}, "did you mean 'chw'"),
        ("gram", {"reduction": "max"}, "unknown reduction"),
        ("mean_std", {"eps": -1.0}, "eps must be a positive number"),
    ],
)
def test_bad_options(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(opsin.OpsinError, match=message):
        make_distance(name, **options)


def test_equal_keys_mean_equal_statistics() -> None:
    """Keys let terms share statistics, so that distances of one key must have the same one."""
    x, _ = features()
    kept: dict[str, Tensor] = {}
    several = [make_distance(n) for n in NAMES]
    several += [
        make_distance("gram", normalize="hw"),
        make_distance("unit_l2", eps=0.1),
        make_distance("mean_std", eps=1.0),
    ]
    for distance in several:
        statistic = distance.statistic(x)
        if distance.statistic_key in kept:
            assert torch.equal(kept[distance.statistic_key], statistic)
        kept[distance.statistic_key] = statistic
    assert len(kept) == 5  # feature, gram ×2, mean_std ×2


@pytest.mark.parametrize("memory", [torch.channels_last, torch.contiguous_format])
def test_gram_matrix_and_its_gradients_in_any_layout(memory: torch.memory_format) -> None:
    x, _ = features()
    x = x.requires_grad_(True)
    inner = x.contiguous(memory_format=memory)
    g = opsin.functional.gram(inner, "none")
    flat = x.flatten(2)
    torch.testing.assert_close(g, flat @ flat.transpose(1, 2), rtol=1e-12, atol=0)
    (gradient,) = torch.autograd.grad(g.square().sum(), inner, retain_graph=True)
    assert gradient.stride() == inner.stride()  # no copies on its way through the network
    assert torch.autograd.gradgradcheck(lambda t: opsin.functional.gram(t.contiguous(memory_format=memory)), x)
