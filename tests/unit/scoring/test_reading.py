"""What is done to images before they are compared: the filter that sizes are made by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from opsin.errors import ChoiceError
from opsin.images import resize
from opsin.scoring.reading import PILLOW_BILINEAR, Preparation, load, to_batch
from opsin.scoring.results import Pair


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """Two pictures of noise, 96 by 80."""
    paths = []
    for seed in range(2):
        noise = np.random.default_rng(seed).integers(0, 256, (80, 96, 3), dtype=np.uint8)
        paths.append(str(tmp_path / f"{seed}.png"))
        Image.fromarray(noise).save(paths[-1])
    return Pair("a", paths[0], {"m": paths[1]})


def test_pillows_bilinear_filter_on_8_bits(pair):
    loaded = load(0, pair, Preparation("40", filter=PILLOW_BILINEAR))
    for pixels, path in ((loaded.reference, pair.reference), (loaded.distorted["m"], pair.distorted["m"])):
        assert pixels is not None and pixels.dtype == np.uint8
        with Image.open(path) as image:
            wanted = np.asarray(image.resize((48, 40), Image.Resampling.BILINEAR))
            other = np.asarray(image.resize((48, 40), Image.Resampling.BICUBIC))
        assert np.array_equal(pixels, wanted)
        assert not np.array_equal(pixels, other)


def test_the_size_that_it_has_already(pair):
    loaded = load(0, pair, Preparation("80", filter=PILLOW_BILINEAR))
    plain = load(0, pair, Preparation())
    assert np.array_equal(loaded.distorted["m"], plain.distorted["m"])


def test_16_bits_become_8(tmp_path):
    deep = np.random.default_rng(0).integers(0, 65536, (40, 40), dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    place = str(tmp_path / "deep.png")
    loaded = load(0, Pair("a", place, {"m": place}), Preparation("20", filter=PILLOW_BILINEAR))
    octets = Image.fromarray(np.rint(deep / 65535 * 255).astype(np.uint8))
    wanted = np.asarray(octets.resize((20, 20), Image.Resampling.BILINEAR))
    assert loaded.reference is not None
    assert np.abs(loaded.reference[..., 0].astype(int) - wanted).max() <= 1


def test_to_the_references_size(pair, tmp_path):
    small = tmp_path / "small.png"
    with Image.open(pair.distorted["m"]) as image:
        image.crop((0, 0, 48, 40)).save(small)
    loaded = load(0, Pair("a", pair.reference, {"m": str(small)}), Preparation("match", filter=PILLOW_BILINEAR))
    with Image.open(small) as image:
        wanted = np.asarray(image.resize((96, 80), Image.Resampling.BILINEAR))
    assert np.array_equal(loaded.distorted["m"], wanted)


def test_without_a_filter_it_is_the_librarys_own(pair):
    loaded = load(0, pair, Preparation("40"))
    with Image.open(pair.reference) as image:
        plain = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
    wanted = resize(plain, "40")[0].permute(1, 2, 0)
    torch.testing.assert_close(torch.from_numpy(loaded.reference), wanted, rtol=0, atol=2e-6)


def test_the_signature_says_it():
    assert Preparation("64", filter=PILLOW_BILINEAR).describe() == {
        "resize": "64", "background": "white", "filter": "pillow-bilinear"
    }  # fmt: skip
    assert "filter" not in Preparation("64").describe()


def test_unknown_filters():
    with pytest.raises(ChoiceError, match="did you mean 'pillow-bilinear'"):
        Preparation("64", filter="bilinear")


def test_a_batch_is_the_pixels_between_0_and_1(pair):
    first, second = (load(0, pair, Preparation(crop=size)).distorted["m"] for size in ("64", "64x64"))
    second = second[::-1]  # and not contiguous
    floats = second.astype(np.float32) / 255
    wanted = np.stack([first, second]).astype(np.float32).transpose(0, 3, 1, 2) / np.float32(255)
    for images in ([first, second], [first, floats]):
        batch = to_batch(images)
        assert batch.dtype == torch.float32 and batch.is_contiguous(memory_format=torch.channels_last)
        assert np.array_equal(batch.numpy(), wanted)


def test_a_batch_is_a_copy(pair):
    pixels = load(0, pair, Preparation()).distorted["m"]
    floats = pixels.astype(np.float32) / 255
    for image in (pixels, floats):
        before = image.copy()
        to_batch([image]).zero_()
        assert np.array_equal(image, before)
