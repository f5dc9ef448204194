"""Regions of a photo and of paintings, and losses that are limited to them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import opsin
from opsin.distances import Gram, MeanStd
from opsin.stylize.regions import Region, split

RED, BLUE, GREEN = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, 1.0, 0.0)


def halves(left: tuple[float, ...], right: tuple[float, ...], height: int = 16, width: int = 24) -> Tensor:
    picture = torch.empty(1, 3, height, width)
    picture[..., : width // 2] = torch.tensor(left).reshape(1, 3, 1, 1)
    picture[..., width // 2 :] = torch.tensor(right).reshape(1, 3, 1, 1)
    return picture


def test_regions_of_one_colour_belong_together():
    regions = {name: (mask, found) for name, mask, found in split(halves(RED, BLUE), [halves(BLUE, RED, 10, 10)])}
    assert set(regions) == {"#ff0000", "#0000ff"}
    mask, (found,) = regions["#ff0000"]
    assert mask.shape == (1, 1, 16, 24) and bool(mask[..., :12].all()) and not bool(mask[..., 12:].any())
    assert not bool(found[..., :5].any()) and bool(found[..., 5:].all())


def test_soft_edges_count_to_the_nearest_colour():
    picture = halves(RED, BLUE, 8, 256)
    picture[..., 127] = 0.5 * picture[..., 126] + 0.5 * picture[..., 129]
    assert len(split(picture, [halves(RED, BLUE)])) == 2


def test_a_region_that_no_painting_has():
    with pytest.raises(
        opsin.InputError, match="a region must have pixels in a painting too, got none of the photo's #0000ff"
    ):
        split(halves(RED, BLUE), [halves(RED, RED)])


def test_a_colour_that_the_photo_has_not():
    with pytest.raises(opsin.InputError, match=r"regions of painting 1 must have colours of the photo's.*got #00ff00"):
        split(halves(RED, BLUE), [halves(RED, GREEN)])


def test_a_photo_is_no_picture_of_regions():
    noise = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with pytest.raises(opsin.InputError, match="must be a picture of 1 to 8 plain colours"):
        split(noise, [noise])


def test_a_region_sees_its_positions_alone():
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., :16] = 1
    f = torch.rand(1, 5, 8, 8)
    inside = f[..., :4]
    for distance in (Gram("hw"), MeanStd()):
        got = Region(distance, mask, "left").statistic(f)
        # The same positions in another order.
        torch.testing.assert_close(got, distance.statistic(inside.reshape(1, 5, 1, 32)), rtol=1e-6, atol=1e-6)
        other = f.clone()
        other[..., 4:] = 9
        torch.testing.assert_close(Region(distance, mask, "left").statistic(other), got, rtol=0, atol=0)


def test_a_region_too_small_for_a_position_has_the_one_that_it_fills_most():
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 10:13, 20:22] = 1
    f = torch.rand(1, 3, 4, 4)
    torch.testing.assert_close(Region(Gram("hw"), mask, "dot").statistic(f), Gram("hw").statistic(f[..., 1:2, 2:3]))


def test_layers_of_several_sizes_have_no_regions():
    region = Region(opsin.distances.NearestFeature(), torch.ones(1, 1, 8, 8), "all")
    with pytest.raises(opsin.InputError, match="regions must be for a loss whose layers have one size"):
        region.statistic((torch.rand(1, 3, 8, 8), torch.rand(1, 3, 4, 4)))
