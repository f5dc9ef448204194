"""write_image and save_pil: what is in the file, and that it is there whole or not at all."""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from opsin.errors import ImageError, InputError, OpsinError
from opsin.images import WRITABLE_SUFFIXES, profiles, read_image, save_pil, write_image

LEVELS = torch.arange(3 * 8 * 12).reshape(1, 3, 8, 12) % 256
IMAGE = LEVELS / 255
LOSSLESS = [".png", ".tif", ".tiff", ".webp", ".bmp"]


def smooth() -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.linspace(0, 1, 32), torch.linspace(0, 1, 48), indexing="ij")
    return torch.stack([rows, columns, (rows + columns) / 2])[None]


# --- what is written


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_lossless_round_trip_is_exact(tmp_path, suffix):
    write_image(tmp_path / f"a{suffix}", IMAGE)
    torch.testing.assert_close(read_image(tmp_path / f"a{suffix}"), IMAGE, rtol=0, atol=0)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".JPG"])
def test_jpeg_is_near_and_keeps_its_chroma(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    write_image(path, smooth())
    torch.testing.assert_close(read_image(path), smooth(), rtol=0, atol=4 / 255)
    with Image.open(path) as image:
        assert image.format == "JPEG"
        assert {component[1:3] for component in image.layer} == {(1, 1)}  # no channel is sampled at fewer points


@pytest.mark.parametrize("suffix", WRITABLE_SUFFIXES)
@pytest.mark.parametrize("shape", [(1, 6, 5), (1, 1, 6, 5)])
def test_one_channel_is_grey(tmp_path, suffix, shape):
    path = tmp_path / f"a{suffix}"
    grey = torch.linspace(0, 1, 30).reshape(shape)
    write_image(path, grey)
    expected = (grey * 255).round().reshape(1, 1, 6, 5).expand(1, 3, 6, 5) / 255
    tolerance = 4 / 255 if suffix.startswith(".j") else 0
    torch.testing.assert_close(read_image(path), expected, rtol=0, atol=tolerance)
    if suffix != ".webp":  # which knows colour only
        with Image.open(path) as image:
            assert image.mode == "L"


def test_without_a_batch_dimension_and_of_any_float(tmp_path):
    write_image(tmp_path / "a.png", IMAGE[0])
    write_image(tmp_path / "b.png", IMAGE.double().requires_grad_())
    write_image(tmp_path / "c.png", IMAGE.to(memory_format=torch.channels_last))
    first = (tmp_path / "a.png").read_bytes()
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "c.png").read_bytes() == first
    write_image(tmp_path / "d.png", torch.tensor([0.0, 0.5, 1.0], dtype=torch.bfloat16).reshape(1, 1, 3))
    assert read_image(tmp_path / "d.png")[0, 0, 0].mul(255).tolist() == [0, 128, 255]


def test_values_are_clamped_and_rounded(tmp_path):
    row = torch.tensor([-3.0, -0.001, 0.4 / 255, 0.6 / 255, 99.4 / 255, 99.6 / 255, 1.001, 7.0])
    write_image(tmp_path / "a.png", row.reshape(1, 1, 8))
    assert read_image(tmp_path / "a.png")[0, 0, 0].mul(255).round().tolist() == [
        0,
        0,
        0,
        1,
        99,
        100,
        255,
        255,
    ]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_colour_is_tagged_srgb(tmp_path, suffix):
    write_image(tmp_path / f"a{suffix}", IMAGE)
    with Image.open(tmp_path / f"a{suffix}") as image:
        profile = image.info["icc_profile"]
    assert profile == profiles.srgb_profile()
    assert not profiles.changes_pixels(profile, "RGB")


def test_grey_carries_no_profile_of_colours(tmp_path):
    write_image(tmp_path / "a.png", IMAGE[:, :1])
    with Image.open(tmp_path / "a.png") as image:
        assert "icc_profile" not in image.info


def test_an_own_profile_is_kept(tmp_path):
    own = b"an odd profile, kept as it is"
    image = Image.new("RGB", (2, 2))
    image.info["icc_profile"] = own
    save_pil(tmp_path / "a.png", image)
    with Image.open(tmp_path / "a.png") as read:
        assert read.info["icc_profile"] == own


def test_the_profile_does_not_tell_the_time():
    lcms = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert int.from_bytes(lcms[24:26], "big") == datetime.now(timezone.utc).year  # what must not be kept
    assert profiles.srgb_profile()[24:26] == (2000).to_bytes(2, "big")
    assert ImageCms.getProfileDescription(profiles._srgb()).strip() == "sRGB built-in"


@pytest.mark.parametrize("suffix", WRITABLE_SUFFIXES)
def test_the_same_image_makes_the_same_bytes(tmp_path, suffix):
    for name in ("a", "b"):
        write_image(tmp_path / f"{name}{suffix}", IMAGE, metadata={"made by": "opsin"})
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


# --- metadata

TEXTS = {"signature": "vgg19:bundled", "Größe": "Ω 3×4\nline"}


def test_metadata_in_png(tmp_path):
    write_image(tmp_path / "a.png", IMAGE, metadata=TEXTS)
    with Image.open(tmp_path / "a.png") as image:
        image.load()
        assert image.text == TEXTS
    torch.testing.assert_close(read_image(tmp_path / "a.png"), IMAGE, rtol=0, atol=0)


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".tif"])
def test_metadata_in_exif(tmp_path, suffix):
    write_image(tmp_path / f"a{suffix}", smooth(), metadata=TEXTS)
    with Image.open(tmp_path / f"a{suffix}") as image:
        assert json.loads(image.getexif()[0x010E]) == TEXTS
    assert read_image(tmp_path / f"a{suffix}").shape == smooth().shape


def test_bmp_has_no_place_for_metadata(tmp_path):
    write_image(tmp_path / "a.bmp", IMAGE, metadata=TEXTS)
    torch.testing.assert_close(read_image(tmp_path / "a.bmp"), IMAGE, rtol=0, atol=0)


@pytest.mark.parametrize("metadata", [{"": "x"}, {"k" * 80: "x"}, {"日本": "x"}, {"a\nb": "x"}, {"n": 3}, {3: "n"}])
@pytest.mark.parametrize("suffix", [".png", ".bmp"])
def test_bad_metadata(tmp_path, metadata, suffix):
    with pytest.raises(InputError, match="metadata"):
        write_image(tmp_path / f"a{suffix}", IMAGE, metadata=metadata)
    assert list(tmp_path.iterdir()) == []


# --- what is refused


@pytest.mark.parametrize("name", ["a.gif", "a", "a.png.txt", ".png"])
def test_an_unknown_suffix(tmp_path, name):
    with pytest.raises(ImageError, match=r"must end in \.png, \.jpg.*\.bmp, got") as caught:
        write_image(tmp_path / name, IMAGE)
    assert name in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_not_finite(tmp_path, value):
    image = IMAGE.clone()
    image[0, 1, 2, 3] = value
    with pytest.raises(InputError, match="finite"):
        write_image(tmp_path / "a.png", image)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "shape", [(8, 8), (2, 3, 8, 8), (4, 8, 8), (1, 2, 8, 8), (8, 8, 3), (3, 0, 8), (1, 1, 3, 8, 8), ()]
)
def test_other_shapes(tmp_path, shape):
    with pytest.raises(InputError, match="image must have shape"):
        write_image(tmp_path / "a.png", torch.zeros(shape))


@pytest.mark.parametrize("image", [LEVELS, LEVELS.to(torch.uint8), IMAGE > 0, IMAGE.numpy(), None])
def test_other_types(tmp_path, image):
    with pytest.raises(InputError, match="image must be a floating point tensor"):
        write_image(tmp_path / "a.png", image)


def test_an_existing_file_stays_unless_told(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"precious")
    with pytest.raises(OpsinError, match="which exists"):
        write_image(path, IMAGE)
    assert path.read_bytes() == b"precious"
    write_image(path, IMAGE, overwrite=True)
    torch.testing.assert_close(read_image(path), IMAGE, rtol=0, atol=0)
    assert list(tmp_path.iterdir()) == [path]


def test_the_folder_must_exist(tmp_path):
    with pytest.raises(OpsinError, match="output folder must exist"):
        write_image(tmp_path / "none" / "a.png", IMAGE)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OpsinError, match="must be a file"):
        write_image(tmp_path / "folder.png", IMAGE, overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("odd\nthing"), MemoryError()])
def test_a_failure_leaves_no_half_file(tmp_path, monkeypatch, overwrite, error):
    path = tmp_path / "a.png"
    if overwrite:
        path.write_bytes(b"precious")

    def fail(_self, target, **_options):
        with open(target, "wb") as file:  # noqa: PTH123 - what Pillow itself does
            file.write(b"half")
        raise error

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(ImageError, match="image must be one that PNG can hold") as caught:
        write_image(path, IMAGE, overwrite=overwrite)
    assert "\n" not in str(caught.value)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == ([b"precious"] if overwrite else [])


def test_an_interruption_leaves_no_half_file(tmp_path, monkeypatch):
    def interrupt(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_image(tmp_path / "a.png", IMAGE)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_may_not_be_written(tmp_path, monkeypatch):
    def refuse(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("opsin.files.tempfile.mkstemp", refuse)
    with pytest.raises(ImageError, match="Permission denied"):
        write_image(tmp_path / "a.png", IMAGE)


def test_an_image_that_the_format_cannot_hold(tmp_path):
    with pytest.raises(ImageError, match=r"one that JPEG can hold.*mode RGBA"):
        save_pil(tmp_path / "a.jpg", Image.new("RGBA", (2, 2)))
    with pytest.raises(ImageError, match=r"one that WEBP can hold.*20000x1 pixels"):
        save_pil(tmp_path / "a.webp", Image.new("RGB", (20000, 1)))
    assert list(tmp_path.iterdir()) == []


# --- save_pil


def test_save_pil_keeps_alpha(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 4), dtype=np.uint8)
    for suffix in (".png", ".webp", ".tif"):
        save_pil(os.fspath(tmp_path / f"a{suffix}"), Image.fromarray(pixels), metadata={"a": "b"})
        with Image.open(tmp_path / f"a{suffix}") as image:
            np.testing.assert_array_equal(np.asarray(image), pixels)
            assert image.info["icc_profile"] == profiles.srgb_profile()


def test_save_pil_does_not_change_the_image(tmp_path):
    image = Image.new("RGB", (2, 2), "red")
    save_pil(tmp_path / "a.png", image, metadata={"a": "b"})
    assert image.info == {}
