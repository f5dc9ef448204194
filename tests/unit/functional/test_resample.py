"""The bicubic filter that makes images smaller, beside Pillow and beside the formula in plain numpy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from opsin.errors import ChoiceError, InputError
from opsin.functional.resample import downscale

Array = npt.NDArray[np.float64]


def picture(height: int, width: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).random((height, width))


def small(image: Array, scale: int, kind: str) -> Array:
    return downscale(torch.from_numpy(image)[None, None], scale, kind)[0, 0].numpy()


def imresize(image: Array, scale: int) -> Array:
    """MATLAB's, as its documentation tells it: pixel by pixel, edges mirrored, antialiased by widening the kernel."""

    def cubic(x: float) -> float:
        x = abs(x)
        if x <= 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0

    def along(rows: Array) -> Array:
        size = rows.shape[0]
        made = []
        for k in range(1, size // scale + 1):  # MATLAB counts from 1
            centre = k * scale + 0.5 * (1 - scale)
            left = int(np.floor(centre - 2 * scale))
            places = range(left, left + 4 * scale + 2)
            weights = np.array([cubic((centre - i) / scale) / scale for i in places])
            mirrored = [*range(size), *reversed(range(size))]
            made.append((weights / weights.sum()) @ rows[[mirrored[(i - 1) % (2 * size)] for i in places]])
        return np.stack(made)

    return along(along(image).T).T


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_matlab_is_the_formula(scale: int) -> None:
    image = picture(3 * scale, 5 * scale)
    np.testing.assert_allclose(small(image, scale, "matlab"), imresize(image, scale), rtol=0, atol=1e-12)


def test_matlab_of_what_can_be_reckoned_by_hand() -> None:
    """Scale 2: weights (-3 -9 29 111 111 29 -9 -3)/256, which are the kernel at odd quarters of a pixel."""
    ramp = np.zeros((2, 16))
    ramp[:, 8] = 256.0
    middle = small(ramp, 2, "matlab")[0]
    np.testing.assert_allclose(middle, [0, 0, -3, 29, 111, -9, 0, 0], rtol=0, atol=1e-10)
    np.testing.assert_allclose(small(np.full((4, 4), 0.3), 4, "matlab"), [[0.3]], rtol=0, atol=1e-15)


def test_matlab_is_what_others_take_it_for() -> None:
    """BasicSR 1.4.2's `imresize`, which reckons in single precision, of this image."""
    i, j = np.mgrid[:8, :12]
    image = np.sin(0.7 * i + 0.1 * i * j) + 0.2 * j
    golden = {
        2: [
            [0.4316029, 0.9143376, 1.3616216, 1.7688336, 2.1404617, 2.4873152],
            [0.9844811, 1.0968406, 1.0942696, 1.1406195, 1.3569053, 1.7618423],
            [-0.1057016, -0.2767424, 0.2022755, 1.1521838, 2.0232291, 2.4794900],
            [-0.8068847, 0.3922660, 1.6261148, 1.7454258, 1.3504887, 1.6567452],
        ],
        4: [[0.7627784, 1.2960236, 2.0613689], [-0.1314790, 1.1987741, 1.8070394]],
    }
    for scale, wanted in golden.items():
        np.testing.assert_allclose(small(image, scale, "matlab"), wanted, rtol=0, atol=5e-7)
        assert np.abs(small(image, scale, "pillow") - wanted).max() > 1e-3


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_pillow_is_pillow(scale: int) -> None:
    image = picture(6 * scale, 7 * scale).astype(np.float32)
    made = Image.fromarray(image).resize((7, 6), Image.Resampling.BICUBIC)
    np.testing.assert_allclose(small(image, scale, "pillow"), np.asarray(made), rtol=0, atol=1e-5)


def test_pillow_in_8_bits_differs_by_a_level() -> None:
    octets = (picture(32, 40) * 255).astype(np.uint8)
    made = np.asarray(Image.fromarray(octets).resize((10, 8), Image.Resampling.BICUBIC), dtype=np.float64)
    ours = small(octets.astype(np.float32), 4, "pillow")
    assert np.abs(np.rint(ours.clip(0, 255)) - made).max() <= 1


def test_the_kinds_differ_at_edges_alone() -> None:
    image = picture(48, 48)
    a, b = small(image, 4, "matlab"), small(image, 4, "pillow")
    np.testing.assert_allclose(a[2:-2, 2:-2], b[2:-2, 2:-2], rtol=0, atol=1e-12)
    assert np.abs(a - b).max() > 1e-3


def test_a_wrong_kernel_would_be_seen() -> None:
    """torch's kernel without antialiasing has a = -3/4."""
    image = picture(16, 16)
    other = torch.nn.functional.interpolate(torch.from_numpy(image)[None, None], scale_factor=0.5, mode="bicubic")
    assert np.abs(small(image, 2, "matlab") - other[0, 0].numpy()).max() > 1e-2


def test_images_smaller_than_the_kernel() -> None:
    image = picture(4, 4)
    np.testing.assert_allclose(small(image, 4, "matlab"), imresize(image, 4), rtol=0, atol=1e-12)


def test_gradients() -> None:
    x = torch.rand(1, 2, 6, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: downscale(t, 2, "matlab"), x)


def test_what_is_wrong() -> None:
    with pytest.raises(InputError, match=r"multiples of the scale 4, got 10x8\. Cut"):
        downscale(torch.rand(1, 3, 8, 10), 4)
    with pytest.raises(InputError, match="must be a floating point tensor"):
        downscale(torch.zeros(3, 8, 8), 4)
    with pytest.raises(ChoiceError, match="kind 'matlap'"):
        downscale(torch.rand(1, 3, 8, 8), 4, "matlap")
    assert torch.equal(downscale(x := torch.rand(1, 3, 5, 5), 1), x)
