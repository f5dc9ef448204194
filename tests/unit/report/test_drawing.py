"""Colours, the colour bar, and the small parts of all pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from opsin.report.drawing import PAPER, colour_bar, colour_table, colourize, font, number, to_picture, wrap

DARKEST, BRIGHTEST = (0, 0, 4), (252, 255, 164)  # of Inferno


def luminance(colours: np.ndarray) -> np.ndarray:
    return colours.astype(np.float64) @ [0.2126, 0.7152, 0.0722]


def test_the_colour_table():
    """256 colours from the darkest to the brightest, each brighter than the one before, none far from it."""
    table = colour_table()
    assert table.shape == (256, 3)
    assert table.dtype == np.uint8
    assert tuple(table[0]) == DARKEST
    assert tuple(table[-1]) == BRIGHTEST
    light = luminance(table)
    assert (np.diff(light[::4]) > 0).all()
    assert np.abs(np.diff(table.astype(int), axis=0)).max() <= 4


def test_the_colour_table_is_inferno():
    """Some colours of matplotlib's own table of 256."""
    known = {64: (87, 16, 110), 128: (188, 55, 84), 191: (249, 140, 10)}
    for index, colour in known.items():
        assert np.abs(colour_table()[index].astype(int) - colour).max() <= 3


@pytest.mark.parametrize("height", [2, 50, 480])
def test_the_ends_of_the_bar(height):
    bar = colour_bar(height, 0.5)
    assert bar.mode == "RGB"
    assert bar.height >= height
    assert bar.getpixel((0, 0)) == BRIGHTEST
    assert bar.getpixel((0, bar.height - 1)) == DARKEST
    column = luminance(np.asarray(bar)[:, 3])
    assert (np.diff(column) <= 1).all()  # darker downwards, but for rounding


def test_a_bar_of_one_pixel():
    assert colour_bar(1, 1.0).height >= 1


def test_a_bar_of_nothing():
    colour_bar(100, 0.0)


def runs(bar: Image.Image) -> list[int]:
    """Heights of the numbers beside a bar."""
    ink = (np.asarray(bar)[:, 30:] != PAPER).any(axis=(1, 2))
    edges = np.flatnonzero(np.diff(np.concatenate([[False], ink, [False]]).astype(int)))
    return [int(end - start) for start, end in zip(edges[::2], edges[1::2], strict=True)]


@pytest.mark.parametrize("height", [1, 8, 24, 60, 120, 480])
def test_numbers_beside_the_bar_can_be_read(height):
    """However low the picture is, no number covers another and none is cut."""
    heights = runs(colour_bar(height, 0.125))
    assert 2 <= len(heights) <= 5
    assert min(heights) >= 8
    assert max(heights) <= 18


@pytest.mark.parametrize("top", [1e-7, 1.234e-5, 0.00123, 1 / 3, 2.0, 123456.0])
def test_numbers_fit_beside_the_bar(top):
    """The last columns stay white: no number is cut."""
    assert (np.asarray(colour_bar(480, top))[:, -1] == PAPER).all()


@pytest.mark.parametrize(
    ("value", "expected"), [(0, "0"), (0.0, "0"), (0.25, "0.25"), (1 / 3, "0.333"), (2.0, "2"), (1e-7, "1e-07")]
)
def test_number(value, expected):
    assert number(value) == expected


def test_wrap():
    line = "opsin 0.1.0 | vgg19 bundled | cosine relu1_2 and then some more words to break"
    lines = wrap(line, 200, 15)
    assert len(lines) > 1
    assert " ".join(lines) == line
    assert all(font(15).getlength(part) <= 200 for part in lines)
    assert wrap("", 100, 15) == []
    assert wrap("unbreakable" * 10, 50, 15) == ["unbreakable" * 10]


def test_to_picture():
    image = torch.tensor([[0.0, 0.5], [1.0, 2.0]]).expand(3, 2, 2).clone()
    image[0] = -1
    for batch in (image, image[None]):
        picture = to_picture(batch)
        assert picture.size == (2, 2)
        assert np.asarray(picture)[..., 0].tolist() == [[0, 0], [0, 0]]
        assert np.asarray(picture)[..., 1].tolist() == [[0, 128], [255, 255]]


def test_to_picture_keeps_8_bits():
    levels = torch.arange(256, dtype=torch.float32).reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
    assert np.asarray(to_picture(levels / 255))[..., 2].flatten().tolist() == list(range(256))


# --- colourize


def test_the_largest_value_has_the_brightest_colour():
    heat = torch.zeros(4, 6)
    heat[1, 2] = 0.5
    picture = colourize(heat, torch.full((1, 3, 4, 6), 0.5), 0.5)
    assert picture.size == (6, 4)
    assert picture.getpixel((2, 1)) == BRIGHTEST
    array = np.asarray(picture)
    assert len({tuple(pixel) for pixel in array.reshape(-1, 3)}) == 2


def test_more_is_brighter():
    heat = torch.linspace(0, 1, 64)[None]
    light = luminance(np.asarray(colourize(heat, torch.zeros(1, 3, 1, 64), 1.0)))[0]
    assert (np.diff(light) >= -1).all()
    assert light[0] < 20
    assert light[-1] > 200


def test_beyond_the_top_is_the_top():
    picture = colourize(torch.tensor([[1.0, 7.0]]), torch.ones(1, 3, 1, 2), 1.0)
    assert picture.getpixel((0, 0)) == picture.getpixel((1, 0)) == BRIGHTEST


@pytest.mark.parametrize("top", [0.0, 1.0])
def test_no_heat_shows_the_image_in_grey(top):
    image = torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    array = np.asarray(colourize(torch.zeros(5, 7), image, top)).astype(int)
    assert np.ptp(array, axis=2).max() <= 4  # but for the faint blue of the darkest colour
    grey = np.asarray(to_picture(image).convert("L")).astype(float)
    assert np.corrcoef(grey.flatten(), luminance(array).flatten())[0, 1] > 0.999


def test_nothing_that_was_handed_in_is_changed():
    heat, image = torch.rand(5, 7).requires_grad_(), torch.rand(1, 3, 5, 7).requires_grad_()
    before = heat.detach().clone(), image.detach().clone()
    colourize(heat, image, 0.5)
    to_picture(image)
    assert torch.equal(heat, before[0])
    assert torch.equal(image, before[1])


def test_the_table_cannot_be_spoilt():
    """It is made once for all: who changed it would change every later picture."""
    assert not colour_table().flags.writeable
