"""resize: Pillow's bicubic, the forms of a size, and its bounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from opsin.errors import InputError
from opsin.images import resize, target_size


def pillow(image: torch.Tensor, height: int, width: int, filter_: Image.Resampling) -> torch.Tensor:
    """The same by Pillow, channel by channel in floating point."""
    bands = [Image.fromarray(band.numpy()).resize((width, height), filter_) for band in image[0]]
    return torch.from_numpy(np.stack([np.asarray(band) for band in bands]))[None].clamp(0, 1)


@pytest.mark.parametrize("size", [(7, 9), (40, 64), (13, 50), (50, 13), (1, 1), (31, 47)])
def test_equals_pillows_bicubic(size):
    image = torch.rand(1, 3, 31, 48, generator=torch.Generator().manual_seed(0))
    resized = resize(image, size)
    assert resized.shape == (1, 3, *size)
    # Both compute in float32 or better, and sum up to about 60 products.
    torch.testing.assert_close(resized, pillow(image, *size, Image.Resampling.BICUBIC), rtol=0, atol=2e-6)
    other = pillow(image, *size, Image.Resampling.BILINEAR)
    assert (resized - other).abs().max() > 1e-4  # so the tolerance tells filters apart


def test_overshoot_is_clamped():
    edge = torch.zeros(1, 3, 8, 8)
    edge[..., 4:] = 1
    free = torch.nn.functional.interpolate(edge, (20, 20), mode="bicubic", antialias=True)
    assert free.max() > 1.01  # there is something to clamp
    resized = resize(edge, (20, 20))
    assert resized.min() == 0
    assert resized.max() == 1


def test_a_constant_stays(tmp_path):
    torch.testing.assert_close(resize(torch.full((1, 3, 30, 17), 0.3), "5"), torch.full((1, 3, 9, 5), 0.3))


def test_its_own_size_changes_nothing():
    image = torch.rand(1, 3, 6, 7)
    assert resize(image, "7x6") is image
    assert resize(image, 6) is image


def test_batches_grey_double_and_gradients():
    image = torch.rand(2, 1, 16, 12, dtype=torch.float64, requires_grad=True)
    resized = resize(image * 0.5 + 0.25, "6")
    assert resized.shape == (2, 1, 8, 6)
    assert resized.dtype == torch.float64
    resized.sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0
    separate = torch.cat([resize(one[None] * 0.5 + 0.25, "6") for one in image])
    torch.testing.assert_close(separate, resized, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("20", (20, 30)),
        (" 20 ", (20, 30)),
        (20, (20, 30)),
        ("80", (80, 120)),
        ("20x10", (10, 20)),
        ("20X10", (10, 20)),
        ("20 × 10", (10, 20)),
        ((20, 10), (20, 10)),
        ("1", (1, 2)),
    ],
)
def test_forms_of_a_size(size, expected):
    assert target_size(size, 40, 60) == expected
    assert resize(torch.rand(1, 3, 40, 60), size).shape[-2:] == expected


@pytest.mark.parametrize(
    ("height", "width", "size", "expected"),
    [
        (60, 40, "20", (30, 20)),
        (3, 1000, "2", (2, 667)),
        (2, 3, "1", (1, 2)),  # 1.5, rounded up
        (2, 5, "1", (1, 3)),  # 2.5, rounded up and not to the even 2
        (50, 50, "33", (33, 33)),
    ],
)
def test_the_longer_side_is_in_proportion(height, width, size, expected):
    assert target_size(size, height, width) == expected


@pytest.mark.parametrize(
    "size",
    [
        *["", "x", "20x", "x20", "-5", "0", "0x5", "5x0", "2.5", "20x30x40", "small", "٢٠", "1" * 9],
        *[0, -1, 2.5, True, None, (3,), (3, 0), (3, None), (None, 3), (3.0, 4), (1, 2, 3), [3, 4], (True, 4)],
    ],
)
def test_bad_sizes(size):
    with pytest.raises(InputError, match=r"size must be 'N'.*'WIDTHxHEIGHT'.*\(height, width\)"):
        resize(torch.rand(1, 3, 4, 4), size)


def test_the_result_is_bounded():
    image = torch.rand(1, 3, 4, 8)
    assert resize(image, "10", max_pixels=200).shape == (1, 3, 10, 20)
    with pytest.raises(InputError, match="at most 199 pixels, got 20x10 = 200"):
        resize(image, "10", max_pixels=199)
    with pytest.raises(InputError, match="at most 89,478,485 pixels"):
        resize(image, "9999999x9999999")
    with pytest.raises(InputError, match="max_pixels"):
        resize(image, "10", max_pixels=0)


@pytest.mark.parametrize(
    "image",
    [
        torch.rand(3, 4, 4),
        torch.rand(1, 3, 0, 4),
        torch.zeros(1, 3, 4, 4, dtype=torch.uint8),
        np.zeros((1, 3, 4, 4)),
    ],
)
def test_other_tensors(image):
    with pytest.raises(InputError, match=r"image must be a floating point tensor \(N, C, H, W\)"):
        resize(image, "2")
