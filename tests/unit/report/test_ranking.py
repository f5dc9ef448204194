"""The demo's picture of two rankings, and the demo's distortions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from opsin.report import demonstration
from opsin.report.drawing import ACCENT, LINE, PAPER
from opsin.report.ranking import Distorted, ranking_figure

DARKEST, BRIGHTEST = (0, 0, 4), (252, 255, 164)


def items(mses, losses, height=12, width=16):
    """Distortions of one colour each, so that their places can be found."""
    made = []
    for i, (mse, loss) in enumerate(zip(mses, losses, strict=True)):
        image = torch.zeros(1, 3, height, width)
        image[:, 1] = (50 + i) / 255
        heat = torch.zeros(1, 1, height, width)
        heat[..., height // 2, width // 2] = loss
        made.append(Distorted(f"item{i}", image, mse, loss, heat))
    return made


def figure(made, height=12, width=16, captions=("opsin", "Photo: nobody")):
    return ranking_figure(torch.full((1, 3, height, width), 1 / 255), made, captions=captions)


def places(picture, colour) -> list[tuple[int, int]]:
    """Upper left corners of the squares of 208 pixels in one colour, (y, x), left to right."""
    mask = (np.asarray(picture) == colour).all(axis=2)
    mask[:, mask.sum(axis=0) < 208] = False  # a letter's soft edge may have the colour too
    rows, columns = np.nonzero(mask)
    found = []
    edges = np.unique(columns)
    for x in edges[np.diff(edges, prepend=-2) > 1]:
        inside = rows[(columns >= x) & (columns < x + 208)]
        found.append((int(inside.min()), int(x)))
    return found


def test_each_column_is_sorted():
    made = items(mses=[0.3, 0.1, 0.2], losses=[1.0, 3.0, 2.0])
    picture = figure(made)
    left, right = {}, {}
    for i, item in enumerate(made):
        (y, x), (other_y, other_x) = places(picture, (0, 50 + i, 0))
        left[item.name], right[item.name] = (y, x), (other_y, other_x)
    assert sorted(left, key=left.__getitem__) == ["item1", "item2", "item0"]
    assert sorted(right, key=right.__getitem__) == ["item0", "item2", "item1"]
    assert len({x for _, x in left.values()}) == len({x for _, x in right.values()}) == 1
    assert sorted(y for y, _ in left.values()) == sorted(y for y, _ in right.values())
    assert len(places(picture, (1, 1, 1))) == 1  # the photo itself, once


def test_lines_are_coloured_where_the_ranks_are_two_apart():
    def coloured(losses):
        array = np.asarray(figure(items(mses=[1.0, 2.0, 3.0], losses=losses)))
        return bool((array == ACCENT).all(axis=2).any()), bool((array == LINE).all(axis=2).any())

    assert coloured([1.0, 2.0, 3.0]) == (False, True)
    assert coloured([2.0, 1.0, 3.0]) == (False, True)
    assert coloured([3.0, 2.0, 1.0]) == (True, True)
    assert coloured([2.0, 3.0, 1.0]) == (True, True)


def test_one_scale_for_all_maps():
    """Only the largest loss reaches the brightest colour; the bar has both ends."""
    picture = figure(items(mses=[1.0, 2.0], losses=[1.0, 4.0]), height=208, width=208)
    array = np.asarray(picture)
    for colour in (BRIGHTEST, DARKEST):
        assert (array == colour).all(axis=2).any()


@pytest.mark.parametrize("number", [1, 2, 5, 9])
def test_the_size_grows_with_the_number(number):
    one = figure(items([1.0], [1.0]))
    picture = figure(items(range(number), range(number)))
    assert picture.width == one.width
    assert picture.height - one.height == (number - 1) * 222
    assert picture.getpixel((0, 0)) == PAPER


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 100), (100, 1), (20, 400), (300, 200)])
def test_awkward_shapes(height, width):
    figure(items([1.0, 2.0], [2.0, 1.0], height, width), height, width)


def test_all_equal():
    """Five times nothing: no division by zero, and the order that was handed in."""
    figure(items([0.0] * 5, [0.0] * 5))


@pytest.mark.parametrize("captions", [(), ("",), ("word " * 300, "end")])
def test_captions(captions):
    picture = np.asarray(figure(items([1.0, 2.0], [2.0, 1.0]), captions=captions)).copy()
    picture[10:-10, 10:-10] = PAPER
    assert (picture == PAPER).all()  # nothing is cut at the edges


# --- the distortions


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.linspace(0, 1, 40), torch.linspace(0, 1, 56), indexing="ij")
    return torch.stack([rows, columns, (12 * rows).sin() / 2 + 0.5])[None]


@pytest.mark.parametrize("name", demonstration.DISTORTIONS)
def test_distortions(photo, name):
    distort = demonstration.DISTORTIONS[name]
    before = photo.clone()
    result = distort(photo)
    assert result.shape == photo.shape
    assert result.dtype == torch.float32
    assert 0 <= float(result.min()) <= float(result.max()) <= 1
    assert 1e-5 < float((result - photo).square().mean()) < 0.1
    torch.testing.assert_close(distort(photo), result, rtol=0, atol=0)
    assert torch.equal(photo, before)


def test_the_shift_is_three_pixels(photo):
    result = demonstration.shift(photo)
    torch.testing.assert_close(result[..., 3:, 3:], photo[..., :-3, :-3], rtol=0, atol=0)


def test_the_noise_leaves_the_generator_alone(photo):
    torch.manual_seed(7)
    state = torch.get_rng_state()
    demonstration.noise(photo)
    assert torch.equal(torch.get_rng_state(), state)


def test_run(tmp_path):
    """What the numbers are of: the photo and what `distort` makes of it."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    photo, made, picture = demonstration.run(tmp_path / "photo.png")
    assert photo.shape == (1, 3, 40, 48)
    assert [item.name for item in made] == list(demonstration.DISTORTIONS)
    assert picture.height > 1000
    for item in made:
        torch.testing.assert_close(item.image, demonstration.DISTORTIONS[item.name](photo), rtol=0, atol=0)
        assert item.mse == pytest.approx(float((item.image.double() - photo.double()).square().mean()), rel=1e-4)
        assert item.heat.shape == (1, 1, 40, 48)
        assert item.loss > 0
