"""read_picture and write_picture: transparency, grey and 16 bits come back; and 16 bits as other programs see them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from opsin.errors import ImageError, InputError
from opsin.images import Picture, deep, profiles, read_image, read_picture, write_picture


def random_picture(height: int, width: int, *, depth: int = 8, grey: bool = False, alpha: bool = False) -> Picture:
    generator = torch.Generator().manual_seed(height + 100 * width)
    top = 2**depth - 1
    levels = torch.randint(0, top + 1, (1, 4, height, width), generator=generator) / top
    colour = levels[:, :1].expand(-1, 3, -1, -1) if grey else levels[:, :3]
    return Picture(colour, levels[:, 3:] if alpha else None, depth, grey)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".bmp"])
@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("depth", [8, 16])
def test_what_a_format_can_hold_comes_back(tmp_path, suffix, grey, alpha, depth):
    path, picture = tmp_path / f"a{suffix}", random_picture(7, 5, depth=depth, grey=grey, alpha=alpha)
    write_picture(path, picture)
    back = read_picture(path)
    deep = depth == 16 and suffix in {".png", ".tif"}
    assert back.depth == (16 if deep else 8)
    assert (back.alpha is not None) == (alpha and suffix != ".bmp")
    assert back.grey == (grey and suffix != ".webp" and not (suffix == ".tif" and alpha and deep))
    expected = picture.colour
    if alpha and suffix == ".bmp":
        expected = expected * picture.alpha + 1 - picture.alpha
    tolerance = 1e-7 if deep or (depth == 8 and not (alpha and suffix == ".bmp")) else 0.51 / 255
    torch.testing.assert_close(back.colour, expected, atol=tolerance, rtol=0)
    if back.alpha is not None:
        torch.testing.assert_close(back.alpha, picture.alpha, atol=tolerance, rtol=0)


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    channels=st.integers(1, 4),
    smooth=st.booleans(),
    block=st.sampled_from([1, 100, 1 << 20]),
)
def test_16_bits_as_three_programs_read_them(tmp_path_factory, height, width, channels, smooth, block):
    levels = np.random.default_rng(height * 10 + width).integers(0, 65536, (height, width, channels), dtype=np.uint16)
    if smooth:
        levels = np.cumsum(levels // 4096, axis=1).astype(np.uint16)
    samples = deep.Samples(height, width, channels, lambda first, last: levels[first:last])
    folder = tmp_path_factory.mktemp("deep")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deep, "_BLOCK_BYTES", block)
        deep.write_png(folder / "a.png", samples, {"a": "b"})
        deep.write_tiff(folder / "a.tif", samples, {"a": "b"})
    squeezed = levels[..., 0] if channels == 1 else levels
    np.testing.assert_array_equal(tifffile.imread(folder / "a.tif").reshape(levels.shape), levels)
    if channels != 2:  # which OpenCV makes BGRA of
        order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[channels]
        for name in ("a.png", "a.tif"):
            read = cv2.imread(str(folder / name), cv2.IMREAD_UNCHANGED)
            read = read[..., order] if channels > 1 else read
            np.testing.assert_array_equal(read, squeezed)
    back = read_picture(folder / "a.png")
    planes = [back.colour[0, :1] if channels < 3 else back.colour[0], *([] if back.alpha is None else [back.alpha[0]])]
    np.testing.assert_array_equal(np.rint(torch.cat(planes).permute(1, 2, 0).numpy() * 65535), levels)


def test_what_a_16_bit_file_says_of_itself(tmp_path):
    for name in ("a.png", "a.tif"):
        write_picture(tmp_path / name, random_picture(4, 3, depth=16), metadata={"Software": "opsin ü"})
        with Image.open(tmp_path / name) as image:
            assert image.info["icc_profile"] == profiles.srgb_profile()
            said = image.info.get("Software") or json.loads(image.tag_v2[270])["Software"]
            assert said == "opsin ü"


def test_smooth_pictures_become_small(tmp_path):
    ramp = torch.linspace(0, 1, 300).expand(1, 3, 200, 300)
    for name in ("a.png", "a.tif"):
        write_picture(tmp_path / name, Picture(ramp, depth=16))
        assert (tmp_path / name).stat().st_size < 200 * 300 * 6 / 20


def test_jpeg_is_laid_over_white(tmp_path):
    picture = Picture(torch.zeros(1, 3, 8, 8), torch.zeros(1, 1, 8, 8))
    write_picture(tmp_path / "a.jpg", picture)
    assert read_image(tmp_path / "a.jpg").min() == 1


def test_orientation_is_that_of_the_alpha_too(tmp_path):
    levels = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4) * 10
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(levels).save(tmp_path / "a.png", exif=exif)
    picture = read_picture(tmp_path / "a.png")
    turned = np.rot90(levels, -1)
    np.testing.assert_array_equal((picture.alpha[0, 0] * 255).round().numpy(), turned[..., 3])
    np.testing.assert_array_equal((picture.colour[0] * 255).round().numpy(), turned[..., :3].transpose(2, 0, 1))


def test_colour_under_transparency_is_kept(tmp_path):
    levels = np.full((2, 2, 4), 77, np.uint8)
    levels[..., 3] = 0
    Image.fromarray(levels).save(tmp_path / "a.png")
    assert (read_picture(tmp_path / "a.png").colour * 255).round().unique().tolist() == [77]


@pytest.mark.parametrize(("mode", "alpha", "grey"), [("P", False, False), ("1", False, True), ("L", False, True)])
def test_kinds_of_files(tmp_path, mode, alpha, grey):
    Image.new(mode, (3, 2)).save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png")
    assert (picture.alpha is not None, picture.grey) == (alpha, grey)


def test_a_palette_with_transparency(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", transparency=0)
    picture = read_picture(tmp_path / "a.png")
    assert picture.alpha is not None and picture.alpha.flatten().tolist() == [0, 1]


def test_nothing_is_left_of_a_file_that_could_not_be_written(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(deep, "_chunk", full)
    with pytest.raises(ImageError, match="No space left on device"):
        write_picture(tmp_path / "a.png", random_picture(4, 4, depth=16))
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="metadata"):
        write_picture(tmp_path / "b.png", random_picture(4, 4, depth=16), metadata={"": "b"})


def test_a_tiff_that_would_be_too_long(tmp_path, monkeypatch):
    monkeypatch.setattr(deep, "_LONGEST", 100)
    with pytest.raises(ImageError, match="shorter than 4 GiB"):
        write_picture(tmp_path / "a.tif", random_picture(20, 20, depth=16))
    assert not list(Path(tmp_path).iterdir())
