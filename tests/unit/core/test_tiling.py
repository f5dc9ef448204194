"""Tiles give the values, maps and gradients of the whole image."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import opsin
from opsin import InputError
from opsin.published.coral import coral
from opsin.published.dists import dists
from opsin.published.gatys import gatys_content, gatys_style
from opsin.published.lpips import lpips
from opsin.published.wasserstein import wasserstein_style
from opsin.tiles import Tiling

SIZE = (97, 130)


def images(*size: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(*size, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def both(loss: opsin.PerceptualLoss, tile: int, size: tuple[int, int] = SIZE, **options):
    """Evaluations and gradients, of the whole image and in tiles; the two images' totals count differently."""
    loss = loss.to(torch.float64)
    x = images(2, 3, *size).requires_grad_(True)
    references = {name: images(2 - i % 2, 3, *size, seed=i + 1) for i, name in enumerate(loss.references)}
    results = []
    for chosen in ({}, {"tile": tile}):
        result = loss.evaluate(x, **references, **options, **chosen)
        (gradient,) = torch.autograd.grad(result.total @ torch.tensor([1.0, -2.0], dtype=x.dtype), x)
        results.append((result, gradient))
    return results


def assert_same(loss: opsin.PerceptualLoss, tile: int, size: tuple[int, int] = SIZE, **options) -> None:
    (whole, slope), (tiled, slope_tiled) = both(loss, tile, size, **options)
    torch.testing.assert_close(tiled.total, whole.total, rtol=1e-10, atol=0)
    torch.testing.assert_close(dict(tiled.terms), dict(whole.terms), rtol=1e-10, atol=1e-30)
    torch.testing.assert_close(slope_tiled, slope, rtol=0, atol=1e-10 * float(slope.abs().max()))
    assert float(slope.abs().max()) > 0
    if whole.maps is not None:
        torch.testing.assert_close(tiled.maps, whole.maps, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("net", ["alex", "vgg", "squeeze"])
@pytest.mark.parametrize("tile", [50, 500])
def test_lpips(net, tile):
    assert_same(lpips(net, "random"), tile)


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(33, 90),
    width=st.integers(33, 90),
    tile=st.integers(1, 64),
    net=st.sampled_from(["vgg11", "vgg13_bn", "alexnet", "squeezenet1_1"]),
    padding=st.sampled_from(["zeros", "reflect", "replicate"]),
    pooling=st.sampled_from(["max", "avg", "l2"]),
    deep=st.floats(0, 1),
)
def test_any_size_tile_network_and_tap(height, width, tile, net, padding, pooling, deep):
    extractor = opsin.make_extractor(net, "random", padding=padding, pooling=pooling)
    fitting = [tap for tap in extractor.taps if extractor.minimum_size(tap) <= min(height, width)]
    taps = fitting[1 : 2 + round(deep * (len(fitting) - 2))][-3:]
    assert_same(opsin.build(extractor, taps, "l2"), tile, (height, width))


@pytest.mark.parametrize(
    "distance", ["l1", "l2", "euclidean", "charbonnier", "huber", "cosine", "unit_l2", "half_squared_error"]
)
def test_additive_distances(distance):
    assert_same(opsin.build("vgg11", {"relu1_1": 1.0, "relu3_1": 0.5}, distance, weights="random"), 32, maps=True)


@pytest.mark.parametrize("distance", ["gram", "mean_std", "coral"])
def test_statistics(distance):
    assert_same(opsin.build("vgg11", {"relu2_1": 1.0, "relu3_1": 0.5}, distance, weights="random"), 32)


def test_a_statistic_that_divides_by_small_numbers():
    """Roots of nearly singular covariances: both ways round to 1e-9 here."""
    (whole, slope), (tiled, slope_tiled) = both(wasserstein_style("vgg11", "random", layers={"relu2_1": 1.0}), 32)
    torch.testing.assert_close(tiled.total, whole.total, rtol=1e-10, atol=0)
    torch.testing.assert_close(slope_tiled, slope, rtol=0, atol=1e-8 * float(slope.abs().max()))


def test_a_sum_of_all_kinds_on_two_networks_and_the_image():
    loss = (
        lpips("vgg", "random")
        + gatys_style("vgg16", "random")
        + gatys_content("vgg16", "random", reference="style")
        + 0.2 * coral("vgg11", "random", layers={"relu2_1": 1.0})
        + 3.0 * opsin.build("image", ["image"], "l1", name="pixels")
        + dists("vgg16", "random", resize=32)
    )
    assert_same(loss, 40)


def test_a_term_of_weight_zero_is_evaluated_and_has_no_gradient():
    loss = opsin.build("vgg11", {"relu1_1": 0.0, "relu2_1": 1.0}, "l2", weights="random")
    loss = loss + opsin.build("vgg11", {"relu1_1": 0.0, "relu2_1": 1.0}, "gram", weights="random")
    assert_same(loss, 24)
    x = images(1, 3, 40, 40).requires_grad_(True)
    assert not loss.to(torch.float64).reweighted(dict.fromkeys(loss.terms, 0.0)).evaluate(x, target=x, tile=16).total


@pytest.mark.parametrize("shrink", [False, True])
def test_masks(shrink):
    mask = torch.zeros(1, 1, *SIZE, dtype=torch.float64)
    mask[..., 20:80, 30:100] = 1
    loss = opsin.build("vgg11", ["relu1_1", "relu2_1"], "l1", weights="random")
    assert_same(loss, 32, mask=mask, shrink_mask=shrink, maps=True)
    style = gatys_style("vgg11", "random", layers={"relu2_1": 1.0}, reference="target")
    with pytest.raises(InputError, match="mask must be for terms that have a map"):
        both(loss + style, 32, mask=mask)


def test_float32_with_the_native_convolution():
    loss = lpips("vgg", "random") + gatys_style("vgg16", "random", reference="target")
    x, y = images(2, 1, 3, 150, 201, dtype=torch.float32)
    torch.testing.assert_close(
        loss.evaluate(x, target=y, tile=64).terms, loss.evaluate(x, target=y).terms, rtol=1e-5, atol=0
    )


def test_kept_targets_in_tiles_fit_whole_images_and_the_other_way_round():
    loss = (lpips("vgg", "random") + gatys_style("vgg16", "random")).to(torch.float64)
    x, y = images(2, 2, 3, 70, 90)
    style = images(1, 3, 50, 61, seed=3)
    whole, tiled = loss.targets(target=y, style=style), loss.targets(target=y, style=style, tile=32)
    for key in whole:
        torch.testing.assert_close(tiled[key], whole[key], rtol=1e-10, atol=1e-14)
    values = [loss.evaluate(x, t, tile=tile).total for t in (whole, tiled) for tile in (None, 48)]
    mixed = loss.evaluate(x, loss.targets(style=style), target=y, tile=48).total
    for value in (*values, mixed):
        torch.testing.assert_close(value, values[0], rtol=1e-10, atol=0)


def test_clips_ranges_and_reductions():
    loss = opsin.build("vgg11", ["relu2_1"], "l2", weights="random", input_range=(-1, 1), reduction="none")
    x, y = (2 * images(2, 2, 3, 3, 40, 50, dtype=torch.float32) - 1).requires_grad_(True)
    assert loss(x, y, tile=16).shape == (2, 3)
    slopes = [torch.autograd.grad(loss(x, y, **options).sum(), x)[0] for options in ({}, {"tile": 16})]
    torch.testing.assert_close(slopes[1], slopes[0], rtol=0, atol=1e-5 * float(slopes[0].abs().max()))


def test_no_gradient_where_none_is_wanted():
    loss = opsin.build("vgg11", ["relu2_1"], "gram", weights="random")
    x = images(1, 3, 40, 50, dtype=torch.float32)
    assert not loss(x, x, tile=16).requires_grad
    with torch.no_grad():
        assert not loss(x.requires_grad_(True), x, tile=16).requires_grad


def test_it_has_no_second_derivative_and_says_so():
    loss = opsin.build("vgg11", ["relu2_1"], "l2", weights="random")
    x = images(1, 3, 40, 50, dtype=torch.float32).requires_grad_(True)
    with pytest.raises(InputError, match="second derivative"):
        torch.autograd.grad(loss(x, x.detach().flip(3), tile=16), x, create_graph=True)


def test_the_network_sees_no_more_than_a_tile_and_its_halo(monkeypatch):
    loss = opsin.build("vgg11", ["relu2_1"], "l2", weights="random")
    sizes = []
    forward = type(loss.extractors[0]).forward
    monkeypatch.setattr(
        type(loss.extractors[0]), "forward", lambda s, x, *a, **k: sizes.append(x.shape[2:]) or forward(s, x, *a, **k)
    )
    x = images(1, 3, 128, 64, dtype=torch.float32).requires_grad_(True)
    loss(x, x.detach().flip(2), tile=32).backward()
    # relu2_1 of VGG-11 sees 8 pixels: 3 on the left of the two that are its own and 3 on the right.
    assert max(max(size) for size in sizes) == 32 + 4 + 3
    assert len(sizes) == 2 * 4 * 2


class Blurred(opsin.distances.L2):
    """A map whose positions see their neighbours: no tile can know it."""

    def map(self, x: Tensor, y: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(super().map(x, y)[:, None], 3, 1, 1)[:, 0]


class Rooted(opsin.distances.Gram):
    """A statistic of its own, with the sums of another."""

    def statistic(self, feature: Tensor) -> Tensor:
        return super().statistic(feature.sqrt())


@pytest.mark.parametrize("distance", [Blurred(), Rooted(), "contextual", lambda x, y: (x - y).abs()])
def test_what_cannot_be_computed_in_tiles_is_refused(distance):
    loss = opsin.build("vgg11", ["relu2_1"], distance, weights="random")
    x = images(1, 3, 40, 50, dtype=torch.float32)
    with pytest.raises(InputError, match=r"tile must be for terms that are sums over positions.*'relu2_1'"):
        loss(x, x, tile=16)


def test_bad_tiles_and_networks():
    loss = opsin.build("vgg11", ["relu2_1"], "l2", weights="random")
    x = images(1, 3, 40, 50, dtype=torch.float32)
    for tile in (0, -8, 16.0, True):
        with pytest.raises(InputError, match="tile must be a whole number"):
            loss(x, x, tile=tile)
    with pytest.raises(InputError, match="memory must be 'normal' with tile"):
        loss(x, x, tile=16, memory="low")
    module = opsin.ModuleExtractor(nn.Sequential(nn.Conv2d(3, 4, 3)))
    with pytest.raises(InputError, match="receptive fields are known"):
        opsin.PerceptualLoss([opsin.Term(module, "0", "l2")])(x, x, tile=16)
    with pytest.raises(InputError, match="images must be at least"):
        opsin.build("vgg11", ["relu5_1"], "l2", weights="random")(x[..., :8], x[..., :8], tile=16)


def test_every_position_is_owned_once():
    extractor = opsin.make_extractor("vgg11", "random")
    tiling = Tiling(extractor, ["relu1_1", "relu3_1", "pool4"], (75, 130), 32)
    for tap, size in tiling.sizes.items():
        count = torch.zeros(size)
        for part in tiling:
            part.part(tap, count).add_(1)
        assert bool((count == 1).all())
