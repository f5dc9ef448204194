"""Pairs of crops: the small one is that of the whole image made small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from opsin.errors import ImageError
from opsin.images import read_image
from opsin.superres.data import PairFolder, cut_to_multiple, rounded
from opsin.superres.degradations import make_degradation
from opsin.training.data import TooSmallError, batches


def folder(photos: Path, name: str = "bicubic", scale: int = 4, crop: int = 16, **options: float) -> PairFolder:
    return PairFolder(photos, crop, scale, make_degradation(name, scale), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [2, 4])
def test_a_small_crop_is_one_of_the_small_image(photos: Path, scale: int) -> None:
    data = folder(photos, scale=scale)
    image = cut_to_multiple(read_image(photos / "a.png"), scale)[0]
    whole = rounded(data.degradation(image, np.random.default_rng(0)))
    side = 16 // scale
    height, width = whole.shape[-2:]
    for top, left in [(0, 0), (height - side, width - side), (3, 2), (0, width - side)]:
        small, large = data.pair(image, top, left, np.random.default_rng(0))
        # One level of 255 where the sums' rounding falls on the other side of a half.
        torch.testing.assert_close(small, whole[:, top : top + side, left : left + side], rtol=0, atol=1.01 / 255)
        assert float((small != whole[:, top : top + side, left : left + side]).float().mean()) < 0.02
        assert torch.equal(large, image[:, scale * top : scale * top + 16, scale * left : scale * left + 16])


def test_both_are_turned_alike(photos: Path) -> None:
    """The eight ways occur, and a large crop made small is the small one but for its edges."""
    data = folder(photos, scale=2, crop=32)
    again = make = data.degradation
    assert again is make
    for i in range(20):
        small, large = data[i].images
        assert (small.shape, large.shape) == ((3, 16, 16), (3, 32, 32))
        mine = rounded(make(large, np.random.default_rng(0)))
        torch.testing.assert_close(mine[:, 3:-3, 3:-3], small[:, 3:-3, 3:-3], rtol=0, atol=1.01 / 255)


def test_the_stream_is_the_same_whoever_reads_it(photos: Path) -> None:
    data = folder(photos, "real-esrgan", crop=32, cache=2**20)

    def read(workers: int) -> list[torch.Tensor]:
        stream = batches(data, first=0, last=3, batch=2, part=2, process=0, processes=1, workers=workers)
        return [tensor for batch in stream for tensor in batch.images]

    for a, b in zip(read(0), read(2), strict=True):
        assert torch.equal(a, b)


def test_small_images_are_passed_over(photos: Path) -> None:
    data = folder(photos, crop=40)
    skipped = {Path(path).name: why for i in range(10) for path, why in data[i].skipped.items()}
    assert set(skipped) == {"d.bmp"}
    assert isinstance(skipped["d.bmp"], TooSmallError)
    assert data.middles(9)[1].shape == (4, 3, 40, 40)
    with pytest.raises(ImageError, match="as large as a crop"):
        folder(photos, crop=400)[0]


def test_middles_are_always_degraded_alike(photos: Path) -> None:
    data = folder(photos, "real-esrgan", crop=32)
    first, again = data.middles(3), data.middles(3)
    assert [t.shape for t in first] == [(3, 3, 8, 8), (3, 3, 32, 32)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
