"""The heat map's picture: its size, its parts, and images of awkward shapes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from opsin.report.drawing import PAPER
from opsin.report.heatmap import heatmap_figure

DARKEST, BRIGHTEST = (0, 0, 4), (252, 255, 164)
GREY = 0.5


def figure(height, width, *, heat=None, layers=(), title="perceptual distance 0.123", caption="opsin", **options):
    """A grey image and a black one, which differ most in the middle."""
    if heat is None:
        heat = torch.zeros(1, 1, height, width)
        heat[..., height // 2, width // 2] = 0.125
    reference = torch.full((1, 3, height, width), GREY)
    image = torch.zeros(1, 3, height, width)
    image[:, 0] = 1
    maps = {name: heat * (i + 1) for i, name in enumerate(layers)} or None
    return heatmap_figure(reference, image, heat, title=title, caption=caption, layers=maps, **options)


def count(picture, colour) -> int:
    return int((np.asarray(picture) == colour).all(axis=2).sum())


def test_three_panels_and_a_bar():
    picture = figure(30, 40)
    assert picture.mode == "RGB"
    assert picture.width > 3 * 480
    assert 360 < picture.height < 360 + 200
    assert count(picture, (128, 128, 128)) == 480 * 360  # the reference, pixel for pixel
    assert count(picture, (255, 0, 0)) == 480 * 360  # the image
    array = np.asarray(picture)
    for colour in (BRIGHTEST, DARKEST):  # the ends of the bar
        rows, columns = np.nonzero((array == colour).all(axis=2))
        right = columns > columns.max() - 10
        assert right.sum() >= 10
        assert len(set(rows[right])) <= 3
    assert picture.getpixel((0, 0)) == PAPER


def test_where_they_differ_is_brightest():
    """One pixel of 40 × 30 becomes a square of 12 × 12, in the place it has."""
    picture = np.asarray(figure(30, 40))
    rows, columns = np.nonzero((picture == BRIGHTEST).all(axis=2))
    inside = columns < columns.max() - 100  # not the bar
    assert inside.sum() == 144
    assert np.ptp(rows[inside]) == np.ptp(columns[inside]) == 11
    image_rows, image_columns = np.nonzero((picture == (255, 0, 0)).all(axis=2))
    assert rows[inside].min() - image_rows.min() == 15 * 12
    assert columns[inside].min() - image_columns.min() == 20 * 12 + 480 + 20  # in the next panel


@pytest.mark.parametrize(("number", "rows"), [(1, 1), (3, 1), (4, 2), (5, 2), (7, 3)])
def test_layers_go_below(number, rows):
    plain = figure(30, 40)
    picture = figure(30, 40, layers=[f"relu{i}_1" for i in range(number)])
    assert picture.width == plain.width
    added = picture.height - plain.height
    assert rows * 360 < added < rows * (360 + 80)
    assert count(picture, BRIGHTEST) == count(plain, BRIGHTEST) + number * 144  # each on its own scale


def test_each_layer_has_a_scale_of_its_own():
    """A layer whose values are small is as bright as the others."""
    picture = figure(30, 40, layers=["a", "b"], heat=torch.rand(1, 1, 30, 40) * 1e-6)
    assert count(picture, BRIGHTEST) >= 3 * 144


def test_equal_images():
    """Nothing differs: no division by zero, no colour but the bar's."""
    picture = figure(30, 40, heat=torch.zeros(1, 1, 30, 40), layers=["relu1_1", "relu2_1"])
    assert count(picture, BRIGHTEST) <= 2 * 20


@pytest.mark.parametrize("weight", [-1.0, -1e-3])
def test_weights_below_zero(weight):
    """A term of negative weight makes a map below zero, which is no reason for an error."""
    figure(30, 40, heat=torch.full((1, 1, 30, 40), weight))


@pytest.mark.parametrize(
    ("height", "width", "panel"),
    [
        (1, 1, (480, 480)),
        (1, 64, (480, 8)),
        (64, 1, (8, 480)),
        (1, 3000, (480, 1)),
        (20, 400, (480, 24)),
        (480, 480, (480, 480)),
        (900, 600, (320, 480)),
        (700, 1000, (480, 336)),
    ],
)
def test_the_longer_side_is_480(height, width, panel):
    picture = figure(height, width)
    assert count(picture, (128, 128, 128)) == panel[0] * panel[1]
    assert picture.width > 3 * panel[0]
    assert picture.height > panel[1]


SHAPES = [(1, 1), (1, 64), (20, 400), (300, 400), (400, 300), (400, 180), (400, 20), (64, 1)]


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_no_writing_is_cut_at_the_edges(height, width):
    """Whatever the shape: a border of 10 pixels stays white."""
    caption = (
        "opsin 0.1.0 | vgg19 bundled c34748d2 (caffe, max, zeros) | 1·cosine(relu1_2) + 1·cosine(relu2_2) | float32"
    )
    picture = np.asarray(figure(height, width, caption=caption, layers=["relu1_2", "relu2_2"])).copy()
    picture[10:-10, 10:-10] = PAPER
    assert (picture == PAPER).all()


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_the_numbers_beside_the_bar_can_be_read(height, width):
    """They stand in the last columns: none covers another, none is cut."""
    picture = figure(height, width, title="", caption="")
    labels = np.asarray(picture)[:, picture.width - 28 - 88 :]
    ink = (labels != PAPER).any(axis=(1, 2))
    edges = np.flatnonzero(np.diff(np.concatenate([[False], ink, [False]]).astype(int)))
    heights = edges[1::2] - edges[::2]
    assert 2 <= len(heights) <= 5
    assert heights.min() >= 8
    assert heights.max() <= 18


@pytest.mark.parametrize("name", ["", "a" * 500, "日本語.png", "a\tb", "caf\udce9.png", "two\nlines.png"])
def test_names_and_captions_of_any_kind(name):
    picture = figure(30, 40, names=(name, name), title=name, caption=name)
    assert picture.width < 3 * 480 + 300


def test_long_captions_make_it_taller():
    short = figure(30, 40, caption="a word")
    long = figure(30, 40, caption="a word " * 200)
    assert long.width == short.width
    assert long.height > short.height + 60


def test_it_is_the_same_each_time():
    assert figure(30, 40, layers=["relu1_1"]).tobytes() == figure(30, 40, layers=["relu1_1"]).tobytes()
