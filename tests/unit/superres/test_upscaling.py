"""upscale: tiles leave no seams, take little memory, and are chosen by what there is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from opsin.errors import ChoiceError, InputError
from opsin.networks import Upscaler
from opsin.superres import upscaling
from opsin.superres.upscaling import plan, upscale


class Convolutions(Upscaler):
    """Convolutions with zero padding, and a shuffle."""

    architecture = "test-convolutions"
    name = "convolutions"

    def __init__(self, scale: int = 2, layers: int = 3) -> None:
        super().__init__()
        self.scale, self.radius = scale, layers + 1
        generator = torch.Generator().manual_seed(0)
        inner = [nn.Conv2d(3 if i == 0 else 6, 6, 3, padding=1) for i in range(layers)]
        self.body = nn.ModuleList(inner)
        self.last = nn.Conv2d(6, 3 * scale**2, 3, padding=1)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.25
        self.seen: list[tuple[int, int]] = []

    def config(self) -> dict[str, Any]:
        return {}

    def forward(self, image: Tensor) -> Tensor:
        self.seen.append((image.shape[-2], image.shape[-1]))
        x = image
        for layer in self.body:
            x = layer(x).relu()
        return F.pixel_shuffle(self.last(x), self.scale) + F.interpolate(image, scale_factor=self.scale)


class Windows(Convolutions):
    """What every pixel becomes depends on the 8 by 8 pixels that it lies among, as where windows attend."""

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        x = F.pad(image, (0, -width % 8, 0, -height % 8), mode="replicate")
        means = F.interpolate(F.avg_pool2d(x, 8), scale_factor=8)
        return F.interpolate((x + means) / 2, scale_factor=self.scale)[..., : self.scale * height, : self.scale * width]


def picture(height: int, width: int) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(height * 1000 + width))


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    tile=st.integers(16, 50),
    scale=st.sampled_from([1, 2, 3, 4]),
    more=st.integers(0, 3),
)
def test_tiles_give_the_whole_image_up_to_its_border(height, width, tile, scale, more):
    model, image = Convolutions(scale), picture(height, width)
    whole = upscale(model, image, tile=0)
    assert whole.shape == (1, 3, scale * height, scale * width)
    tiled = upscale(model, image, tile=tile, overlap=model.radius + more)
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=0)


def test_too_little_overlap_is_seen():
    model, image = Convolutions(layers=20), picture(64, 64)
    whole = upscale(model, image, tile=0)
    # Overlaps are rounded up to the grid: 0 stays none.
    assert (upscale(model, image, tile=16, overlap=0) - whole).abs().max() > 1e-3
    assert not plan(model, 64, 64, tile=16, overlap=20).exact and plan(model, 64, 64, tile=16, overlap=21).exact


def test_windows_lie_as_in_the_whole_image():
    model, image = Windows(), picture(70, 51)
    torch.testing.assert_close(
        upscale(model, image, tile=20, overlap=3), upscale(model, image, tile=0), atol=1e-6, rtol=0
    )


def test_a_coarser_grid_of_a_model_is_kept():
    model = Convolutions()
    model.granularity = 24
    upscale(model, picture(100, 20), tile=30, overlap=5)
    # Of 0 to 48, 48 to 96, 96 to 100.
    assert [rows for rows, _ in model.seen] == [96, 100, 52]


def test_what_is_computed_does_not_grow_with_the_image():
    model = Convolutions()
    upscale(model, picture(40, 400), tile=32)
    assert len(model.seen) > 20 and max(max(size) for size in model.seen) <= 32 + 2 * 16


def test_what_is_looked_at_around_a_tile():
    model = Convolutions()
    for radius, expected, exact in ((4, 4, True), (64, 64, True), (65, 64, False), (None, 32, False)):
        model.radius = radius
        assert plan(model, 200, 100, tile=32) == (32, expected, exact)
    assert plan(model, 30, 32, tile=32) == (0, 0, True)


def test_tiles_follow_the_memory_there_is(monkeypatch):
    model = Convolutions()
    needed = int(upscaling.bytes_a_pixel(model) * 300 * 400)
    for free, tile in ((4 * needed, 0), (needed * 1.2, 192), (10, 64), (None, 0)):
        monkeypatch.setattr(upscaling, "available_memory", lambda _, free=free: free)
        assert plan(model, 300, 400).tile == tile
    assert plan(model, 1000, 1000).tile == 512


def test_what_a_pixel_takes_does_not_depend_on_the_image():
    model = Convolutions()
    small, large = (upscaling.network_memory(model, (1, 3, n, n)) / n**2 for n in (32, 200))
    # Of convolutions in and out at least: 6 maps each.
    assert small == pytest.approx(large, rel=0.1) and small > 4 * 12
    assert small == upscaling.bytes_a_pixel(model)


def test_a_model_that_must_see_all(monkeypatch):
    model = Convolutions()
    model.tileable = False
    assert plan(model, 100, 100).tile == 0
    with pytest.raises(InputError, match=r"tile must be left out, or 0, for 'convolutions'"):
        upscale(model, picture(40, 40), tile=32)
    monkeypatch.setattr(upscaling, "available_memory", lambda _: 1000)
    with pytest.raises(InputError, match=r"image must fit into memory whole, since 'convolutions' .* got 1000x900"):
        upscale(model, picture(900, 1000))


def test_values_are_clamped_and_kept_in_the_images_type():
    model = Convolutions()
    result = upscale(model, 5 * picture(9, 8).double() - 2)
    assert result.min() == 0 and result.max() == 1 and not result.requires_grad and result.dtype == torch.float64


def test_half_precision():
    model, image = Convolutions(), picture(20, 20)
    whole = upscale(model, image)
    result = upscale(model, image, precision="bfloat16")
    assert result.dtype == torch.float32
    assert 0 < (result - whole).abs().max() < 0.05


def test_the_callback_is_told_and_can_end_it():
    told = []
    upscale(Convolutions(), picture(20, 70), tile=32, callback=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upscale(Convolutions(), picture(20, 70), tile=32, callback=stop)


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (torch.zeros(3, 8, 8), {}, r"image must be \(1,3,H,W\) of floats in \[0,1\], got \(3, 8, 8\)"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), {}, "image must be"),
        (torch.zeros(1, 3, 8, 8), {"tile": 8}, "tile must be at least 16 pixels, or 0 for the whole image, got 8"),
        (torch.zeros(1, 3, 8, 8), {"tile": -1}, "tile must be a whole number of at least 0, got -1"),
        (torch.zeros(1, 3, 8, 8), {"overlap": -1}, "overlap must be a whole number of at least 0, got -1"),
    ],
)
def test_bad_arguments(image, options, message):
    with pytest.raises(InputError, match=message):
        upscale(Convolutions(), image, **options)


def test_an_unknown_precision():
    with pytest.raises(ChoiceError, match="did you mean 'float16'"):
        upscale(Convolutions(), picture(8, 8), precision="float61")


def test_a_model_that_is_not_as_it_says():
    model = Convolutions()
    model.scale = 3
    model.forward = lambda image: torch.cat([image, image], -1)
    with pytest.raises(InputError, match="model must enlarge 3 times, as it says"):
        upscale(model, picture(8, 8))
