"""read_image: every mode, depth, orientation and profile, and everything that may be wrong with a file."""

from __future__ import annotations

import io
import os
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from opsin.errors import ImageError, InputError
from opsin.images import read_image

DEEP = np.random.default_rng(0).integers(0, 65536, (11, 13, 4), dtype=np.uint16)
RGB = np.random.default_rng(1).integers(0, 256, (9, 7, 3), dtype=np.uint8)


# --- what a file should read as


def hwc(path: Path, **options) -> np.ndarray:
    """The image as (H, W, 3), after the checks that hold for every image."""
    image = read_image(path, **options)
    assert image.dtype == torch.float32
    assert image.shape[:2] == (1, 3)
    assert image.is_contiguous()
    assert image.min() >= 0
    assert image.max() <= 1
    return image[0].permute(1, 2, 0).numpy()


def levels(path: Path, **options) -> np.ndarray:
    """The same in levels of 255, which must be whole."""
    values = hwc(path, **options).astype(np.float64) * 255
    np.testing.assert_allclose(values, values.round(), atol=1e-4)
    return values.round().astype(int)


def float32(values: np.ndarray, top: int) -> np.ndarray:
    return values.astype(np.float32) / np.float32(top)


def blend(colour: np.ndarray, alpha: np.ndarray, background: float = 1.0) -> np.ndarray:
    colour, alpha = colour.astype(np.float64), alpha.astype(np.float64)[..., None]
    return colour * alpha + background * (1 - alpha)


def grey3(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, -1)


# --- files made by hand


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png16(samples: np.ndarray, *, interlaced: bool = False, extra: bytes = b"") -> bytes:
    """A 16 bit PNG of samples (H, W, 1..4)."""
    height, width, channels = samples.shape
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    adam7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    data = b""
    for top, left, down, right in adam7 if interlaced else ((0, 0, 1, 1),):
        for row in samples[top::down, left::right]:
            if row.size:
                data += b"\0" + row.astype(">u2").tobytes()
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, int(interlaced))
    parts = chunk(b"IHDR", header), extra, chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def grey_png(rows: list[bytes], width: int, depth: int, extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, len(rows), depth, 0, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def profile_of(space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile, version 2.4."""
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    size = start + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"\0" * 4, 0x02400000, b"mntr", space, connection)
    header += struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28
    header += struct.pack(">3i", 63190, 65536, 54061)  # D50 in s15Fixed16
    return header.ljust(128, b"\0") + table + body


D50 = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)


def swapped_profile() -> bytes:
    """sRGB with its red and green primaries exchanged: what is red in the file is green to see."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert data.count(b"rXYZ") == data.count(b"gXYZ") == 1
    return data.replace(b"rXYZ", b"####").replace(b"gXYZ", b"rXYZ").replace(b"####", b"gXYZ")


def linear_grey_profile() -> bytes:
    curve = b"curv\0\0\0\0" + struct.pack(">I", 0)  # no entries: the identity
    return profile_of(b"GRAY", b"XYZ ", {b"wtpt": D50, b"kTRC": curve})


def cyan_only_profile() -> bytes:
    """A CMYK profile by which cyan darkens to black and the other inks do nothing."""
    ramp = bytes(range(256))
    corners = b"".join(bytes([0 if index & 8 else 255, 128, 128]) for index in range(16))  # L, a, b; C turns slowest
    matrix = struct.pack(">9i", *(65536 * value for value in (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + matrix + ramp * 4 + corners + ramp * 3
    return profile_of(b"CMYK", b"Lab ", {b"wtpt": D50, b"A2B0": table})


def srgb_encode(linear: np.ndarray) -> np.ndarray:
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


# --- 8 bits


@pytest.mark.parametrize("suffix", ["png", "tiff", "bmp", "webp"])
def test_lossless_rgb_is_exact(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(RGB).save(path, **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(hwc(path), float32(RGB, 255))
    np.testing.assert_array_equal(hwc(str(path)), float32(RGB, 255))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0, "quality": 100}])
def test_jpeg_is_near(tmp_path, options):
    colours = np.array([[[200, 30, 60], [20, 90, 220]]], np.uint8).repeat(16, 0).repeat(16, 1)
    Image.fromarray(colours).save(tmp_path / "a.jpg", **options)
    difference = np.abs(levels(tmp_path / "a.jpg") - colours)[:, [0, 8, 24, 31]]
    assert difference.max() <= 6


def test_the_content_decides_not_the_suffix(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.jpg", format="PNG")
    np.testing.assert_array_equal(levels(tmp_path / "a.jpg"), RGB)


@pytest.mark.parametrize("suffix", ["png", "tiff", "bmp"])
def test_grey_and_one_bit(tmp_path, suffix):
    Image.fromarray(RGB[..., 0]).save(tmp_path / f"grey.{suffix}")
    np.testing.assert_array_equal(levels(tmp_path / f"grey.{suffix}"), grey3(RGB[..., 0]))
    bits = RGB[..., 0] > 127
    Image.fromarray(bits).save(tmp_path / f"bits.{suffix}")
    np.testing.assert_array_equal(levels(tmp_path / f"bits.{suffix}"), grey3(bits * 255))


def test_white_is_zero(tmp_path):
    tifffile.imwrite(tmp_path / "8.tif", RGB[..., 0], photometric="miniswhite")
    np.testing.assert_array_equal(levels(tmp_path / "8.tif"), grey3(255 - RGB[..., 0].astype(int)))
    tifffile.imwrite(tmp_path / "16.tif", DEEP[..., 0], photometric="miniswhite")
    np.testing.assert_allclose(hwc(tmp_path / "16.tif"), grey3(1 - DEEP[..., 0] / 65535), atol=1e-7)


@pytest.mark.parametrize(("background", "level"), [("white", 1.0), ("black", 0.0), ("#336699", None)])
@pytest.mark.parametrize("suffix", ["png", "tiff", "webp"])
def test_rgba_is_laid_over_the_background(tmp_path, suffix, background, level):
    alpha = np.linspace(0, 255, 63).reshape(9, 7).astype(np.uint8)
    path = tmp_path / f"a.{suffix}"
    options = {"lossless": True, "exact": True} if suffix == "webp" else {}
    Image.fromarray(np.dstack([RGB, alpha])).save(path, **options)
    under = np.array([0x33, 0x66, 0x99]) / 255 if level is None else level
    np.testing.assert_allclose(
        hwc(path, background=background), blend(RGB / 255, alpha / 255, under), rtol=0, atol=2e-7
    )


def test_opaque_pixels_are_exact_under_alpha(tmp_path):
    alpha = np.full((9, 7), 255, np.uint8)
    alpha[0, 0] = 0
    Image.fromarray(np.dstack([RGB, alpha])).save(tmp_path / "a.png")
    image = hwc(tmp_path / "a.png", background="black")
    assert (image[0, 0] == 0).all()
    np.testing.assert_array_equal(image[1:], float32(RGB, 255)[1:])


def test_grey_with_alpha(tmp_path):
    Image.fromarray(RGB[..., :2].copy()).save(tmp_path / "a.png")
    expected = blend(grey3(RGB[..., 0] / 255), RGB[..., 1] / 255)
    np.testing.assert_allclose(hwc(tmp_path / "a.png"), expected, rtol=0, atol=2e-7)


@pytest.mark.parametrize("transparency", [1, bytes([255, 0, 128])])
def test_palette_with_transparency(tmp_path, transparency):
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    image.save(tmp_path / "a.png", transparency=transparency)
    last = [0, 0, 255] if transparency == 1 else [127, 127, 255]
    read = hwc(tmp_path / "a.png") * 255
    np.testing.assert_allclose(read, [[[255, 0, 0], [255, 255, 255], last]], atol=1e-4)
    image.save(tmp_path / "b.png")
    np.testing.assert_array_equal(levels(tmp_path / "b.png"), [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]])


def test_transparent_grey_and_colour(tmp_path):
    Image.fromarray(np.array([[10, 20]], np.uint8)).save(tmp_path / "l.png", transparency=20)
    np.testing.assert_array_equal(levels(tmp_path / "l.png"), [[[10] * 3, [255] * 3]])
    two = np.array([[[1, 2, 3], [1, 2, 4]]], np.uint8)
    Image.fromarray(two).save(tmp_path / "rgb.png", transparency=(1, 2, 4))
    np.testing.assert_array_equal(levels(tmp_path / "rgb.png"), [[[1, 2, 3], [255] * 3]])


@pytest.mark.parametrize(
    ("depth", "row", "expected"),
    [(1, 0b01000000, [0, 255]), (2, 0b01100000, [85, 170]), (4, 0x5A, [85, 170])],
)
def test_shallow_grey_png_and_its_transparent_level(tmp_path, depth, row, expected):
    (tmp_path / "a.png").write_bytes(grey_png([bytes([row])], 2, depth))
    np.testing.assert_array_equal(levels(tmp_path / "a.png"), [[[value] * 3 for value in expected]])
    second = {1: 1, 2: 2, 4: 10}[depth]
    (tmp_path / "b.png").write_bytes(grey_png([bytes([row])], 2, depth, chunk(b"tRNS", struct.pack(">H", second))))
    read = levels(tmp_path / "b.png", background="red")
    np.testing.assert_array_equal(read, [[[expected[0]] * 3, [255, 0, 0]]])


def test_first_frame_of_a_gif(tmp_path):
    frames = [Image.new("P", (2, 2), index) for index in (0, 1)]
    for frame in frames:
        frame.putpalette([9, 8, 7, 200, 100, 50])
    frames[0].putpixel((1, 0), 1)
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], transparency=1)
    black = levels(tmp_path / "a.gif", background="black")
    np.testing.assert_array_equal(black, [[[9, 8, 7], [0, 0, 0]], [[9, 8, 7], [9, 8, 7]]])


def test_first_page_of_a_tiff(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.tif", save_all=True, append_images=[Image.new("RGB", (7, 9))])
    np.testing.assert_array_equal(levels(tmp_path / "a.tif"), RGB)


@pytest.mark.parametrize("suffix", ["tif", "jpg"])
def test_cmyk_without_a_profile(tmp_path, suffix):
    inks = np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 255, 255, 0], [0, 0, 0, 255]]], np.uint8)
    inks = inks.repeat(16, 0).repeat(16, 1)
    image = Image.frombytes("CMYK", (64, 16), inks.tobytes())
    image.save(tmp_path / f"a.{suffix}")
    expected = np.array([[255, 255, 255], [0, 255, 255], [255, 0, 0], [0, 0, 0]])
    read = levels(tmp_path / f"a.{suffix}")[8, 8::16]
    np.testing.assert_allclose(read, expected, atol=0 if suffix == "tif" else 3)


def test_lab_tiff(tmp_path):
    lab = Image.merge("LAB", [Image.new("L", (2, 2), value) for value in (255, 128, 128)])
    lab.save(tmp_path / "a.tif")
    np.testing.assert_allclose(levels(tmp_path / "a.tif"), 255, atol=2)


# --- 16 bits


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png(tmp_path, channels, interlaced):
    samples = DEEP[..., :channels]
    (tmp_path / "a.png").write_bytes(png16(samples, interlaced=interlaced))
    colour = float32(samples[..., : 1 if channels < 3 else 3], 65535)
    colour = np.repeat(colour, 3, -1) if channels < 3 else colour
    read = hwc(tmp_path / "a.png")
    if channels in (1, 3):
        np.testing.assert_array_equal(read, colour)
    else:
        np.testing.assert_allclose(read, blend(colour, samples[..., -1] / 65535), rtol=0, atol=2e-7)


def test_16_bit_png_of_many_data_chunks(tmp_path):
    # Two passes over a file whose pixels don't fit in one chunk or one read.
    samples = np.random.default_rng(2).integers(0, 65536, (120, 130, 3), dtype=np.uint16)
    whole = png16(samples)
    start = whole.index(b"IDAT") - 4
    size = struct.unpack_from(">I", whole, start)[0]
    data = whole[start + 8 : start + 8 + size]
    pieces = b"".join(chunk(b"IDAT", data[i : i + 1000]) for i in range(0, len(data), 1000))
    (tmp_path / "a.png").write_bytes(whole[:start] + pieces + whole[start + 12 + size :])
    np.testing.assert_array_equal(hwc(tmp_path / "a.png"), float32(samples, 65535))


def test_16_bit_png_transparent_colour_is_compared_in_16_bits(tmp_path):
    samples = np.array([[[500, 501, 502], [500, 501, 503]]], np.uint16)
    key = chunk(b"tRNS", struct.pack(">3H", 500, 501, 502))
    (tmp_path / "a.png").write_bytes(png16(samples, extra=key))
    np.testing.assert_array_equal(hwc(tmp_path / "a.png")[0, 0], [1, 1, 1])
    np.testing.assert_array_equal(hwc(tmp_path / "a.png")[0, 1], float32(samples, 65535)[0, 1])
    (tmp_path / "b.png").write_bytes(png16(samples[..., 2:], extra=chunk(b"tRNS", struct.pack(">H", 502))))
    np.testing.assert_array_equal(hwc(tmp_path / "b.png")[0, :, 0], [1, np.float32(503) / np.float32(65535)])


@pytest.mark.parametrize("layout", [{}, {"rowsperstrip": 4}, {"tile": (16, 16)}], ids=["one", "strips", "tiles"])
@pytest.mark.parametrize("compression", [None, "deflate", "predictor"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bit_tiff(tmp_path, channels, byteorder, compression, layout):
    samples = np.tile(DEEP, (3, 3, 1))[..., :channels]
    tifffile.imwrite(
        tmp_path / "a.tif",
        samples if channels > 1 else samples[..., 0],
        byteorder=byteorder,
        photometric="minisblack" if channels == 1 else "rgb",
        compression="deflate" if compression else None,
        predictor=2 if compression == "predictor" else None,
        extrasamples=["unassalpha"] if channels == 4 else None,
        **layout,
    )
    colour = float32(samples[..., : min(channels, 3)], 65535)
    read = hwc(tmp_path / "a.tif")
    if channels == 4:
        np.testing.assert_allclose(read, blend(colour, samples[..., 3] / 65535), rtol=0, atol=2e-7)
    else:
        np.testing.assert_array_equal(read, np.broadcast_to(colour, read.shape))


def lzw(data: bytes) -> bytes:
    """TIFF LZW without a match: each code a literal of 9 bits, the table cleared before it grows."""
    bits = ""
    for start in range(0, len(data), 200):
        bits += f"{256:09b}" + "".join(f"{octet:09b}" for octet in data[start : start + 200])
    bits += f"{257:09b}"
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_tiff_lzw(tmp_path, order):
    samples = DEEP[..., :3]
    data = lzw(samples.astype(f"{order}u2").tobytes())
    height, width, _ = samples.shape
    short, long = 3, 4
    tags = [
        (256, long, 1, width), (257, long, 1, height), (258, short, 3, 8 + 12 * 9 + 6), (259, short, 1, 5),
        (262, short, 1, 2), (273, long, 1, 8 + 12 * 9 + 12), (277, short, 1, 3), (278, long, 1, height),
        (279, long, 1, len(data)),
    ]  # fmt: skip
    file = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    for tag, kind, count, value in tags:
        file += struct.pack(f"{order}HHI", tag, kind, count)
        file += struct.pack(f"{order}I" if kind == long or count > 1 else f"{order}Hxx", value)
    file += struct.pack(f"{order}I3H", 0, 16, 16, 16) + data
    (tmp_path / "a.tif").write_bytes(file)
    np.testing.assert_array_equal(hwc(tmp_path / "a.tif"), float32(samples, 65535))


def test_16_bit_tiff_with_premultiplied_alpha(tmp_path):
    alpha = np.array([[65535, 40000, 0]], np.uint16)
    colour = np.array([[[65535, 1, 300], [40000, 20001, 77], [0, 0, 0]]], np.uint16)
    samples = np.dstack([colour, alpha])
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="rgb", extrasamples=["assocalpha"])
    expected = colour / 65535 + (1 - alpha[..., None] / 65535)
    np.testing.assert_allclose(hwc(tmp_path / "a.tif"), expected, rtol=0, atol=2e-7)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("layout", [{}, {"rowsperstrip": 4}, {"tile": (16, 16)}], ids=["one", "strips", "tiles"])
def test_16_bit_planes(tmp_path, layout, compression, byteorder):
    samples = np.tile(DEEP, (3, 3, 1))[..., :3]
    tifffile.imwrite(
        tmp_path / "a.tif",
        samples.transpose(2, 0, 1),
        byteorder=byteorder,
        photometric="rgb",
        planarconfig="separate",
        compression=compression,
        **layout,
    )
    if compression:  # a documented limit
        np.testing.assert_array_equal(levels(tmp_path / "a.tif"), samples >> 8)
    else:
        np.testing.assert_array_equal(hwc(tmp_path / "a.tif"), float32(samples, 65535))


@pytest.mark.parametrize(
    ("extra", "expected"), [("unassalpha", 20000 * 32768 / 65535**2), ("assocalpha", 20000 / 65535)]
)
def test_16_bit_planes_with_alpha(tmp_path, extra, expected):
    planes = np.array([[[20000]], [[0]], [[0]], [[32768]]], np.uint16)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate", extrasamples=[extra])
    np.testing.assert_allclose(hwc(path, background="black"), [[[expected, 0, 0]]], rtol=0, atol=2e-7)


def test_16_bits_fall_back_to_pillows_8(tmp_path, monkeypatch):
    monkeypatch.setattr("opsin.images.decoding._unpackers_pick_bytes", lambda: False)
    (tmp_path / "a.png").write_bytes(png16(DEEP[..., :3]))
    np.testing.assert_array_equal(levels(tmp_path / "a.png"), DEEP[..., :3] >> 8)


def test_grey_of_32_bits_within_16(tmp_path):
    values = np.array([[0, 65535, 1234]], np.int32)
    Image.fromarray(values).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(hwc(tmp_path / "a.tif")[..., 1], float32(values, 65535))
    for bad in (65536, -1):
        Image.fromarray(np.array([[0, bad]], np.int32)).save(tmp_path / "b.tif")
        with pytest.raises(ImageError, match=r"integer samples in \[0, 65535\], got"):
            read_image(tmp_path / "b.tif")


def test_12_bit_grey(tmp_path):
    file = b"II*\0" + struct.pack("<IH", 8, 8)
    tags = [(256, 2), (257, 1), (258, 12), (259, 1), (262, 1), (273, 8 + 2 + 12 * 8 + 4), (278, 1), (279, 3)]
    for tag, value in tags:
        file += struct.pack("<HHII", tag, 4 if tag == 273 else 3, 1, value)
    (tmp_path / "a.tif").write_bytes(file + struct.pack("<I", 0) + bytes([0xFF, 0xF1, 0x00]))
    np.testing.assert_array_equal(hwc(tmp_path / "a.tif")[0, :, 0], float32(np.array([4095, 256]), 4095))


def test_float_grey(tmp_path):
    values = np.random.default_rng(3).random((4, 5), dtype=np.float32)
    tifffile.imwrite(tmp_path / "a.tif", values)
    np.testing.assert_array_equal(hwc(tmp_path / "a.tif"), grey3(values))
    for bad in (1.5, -0.25, np.nan, np.inf):
        tifffile.imwrite(tmp_path / "b.tif", np.where(values == values[0, 0], np.float32(bad), values))
        with pytest.raises(ImageError, match=r"floating point samples in \[0, 1\], got"):
            read_image(tmp_path / "b.tif")


# --- orientation

ORIENTED = {
    1: [[1, 2, 3], [4, 5, 6]],
    2: [[3, 2, 1], [6, 5, 4]],
    3: [[6, 5, 4], [3, 2, 1]],
    4: [[4, 5, 6], [1, 2, 3]],
    5: [[1, 4], [2, 5], [3, 6]],
    6: [[4, 1], [5, 2], [6, 3]],
    7: [[6, 3], [5, 2], [4, 1]],
    8: [[3, 6], [2, 5], [1, 4]],
}


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
@pytest.mark.parametrize("orientation", ORIENTED)
def test_orientation(tmp_path, orientation, suffix):
    path = tmp_path / f"a.{suffix}"
    stored = (np.array(ORIENTED[1], np.uint8) * 40).repeat(16, 0).repeat(16, 1)
    options = {"webp": {"lossless": True}, "jpg": {"quality": 100}}.get(suffix, {})
    Image.fromarray(grey3(stored)).save(path, exif=exif_of(orientation), **options)
    expected = (np.array(ORIENTED[orientation]) * 40).repeat(16, 0).repeat(16, 1)
    read = levels(path)
    assert read.shape == (*expected.shape, 3)
    np.testing.assert_allclose(read, grey3(expected), atol=2 if suffix == "jpg" else 0)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("orientation", ORIENTED)
def test_orientation_of_16_bit_tiff(tmp_path, orientation, channels, byteorder):
    stored = np.array(ORIENTED[1], np.uint16) * 10007
    samples = stored if channels == 1 else np.dstack([stored, stored + 1, stored + 2])
    photometric = "minisblack" if channels == 1 else "rgb"
    extratags = [(274, 3, 1, orientation, True)]
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, samples, photometric=photometric, extratags=extratags, byteorder=byteorder)
    expected = np.array(ORIENTED[orientation]) * 10007
    offsets = np.arange(3) if channels == 3 else np.zeros(3, int)
    np.testing.assert_array_equal(hwc(path), float32(expected[..., None] + offsets, 65535))


def test_orientation_and_alpha_together_in_16_bits(tmp_path):
    exif = exif_of(6).tobytes()
    exif = exif.removeprefix(b"Exif\0\0")
    samples = DEEP.copy()
    data = png16(samples)
    end = data.index(b"IEND") - 4  # behind the pixels, where PNG allows it too
    (tmp_path / "a.png").write_bytes(data[:end] + chunk(b"eXIf", exif) + data[end:])
    expected = np.rot90(blend(samples[..., :3] / 65535, samples[..., 3] / 65535), -1)
    np.testing.assert_allclose(hwc(tmp_path / "a.png"), expected, rtol=0, atol=2e-7)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0II*\0\xff\xff\xff\x7f", b"Exif\0\0nonsense", b"Exif\0\0", exif_of(99).tobytes()]
)
def test_an_unreadable_orientation_is_none(tmp_path, exif):
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(levels(tmp_path / "a.png"), RGB)


# --- profiles


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
def test_a_profile_is_converted_to_srgb(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    colours = np.array([[[255, 0, 0], [0, 255, 0], [10, 200, 90], [128, 128, 128]]], np.uint8)
    colours = colours.repeat(16, 0).repeat(16, 1)
    options = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}.get(suffix, {})
    Image.fromarray(colours).save(path, icc_profile=swapped_profile(), **options)
    np.testing.assert_allclose(levels(path), colours[..., [1, 0, 2]], atol=3 if suffix == "jpg" else 1)


def test_a_profile_leaves_the_alpha_alone(tmp_path):
    pixels = np.array([[[255, 0, 0, 255], [255, 0, 0, 51], [255, 0, 0, 0]]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=swapped_profile())
    expected = [[[0, 1, 0], [0, 0.2, 0], [0, 0, 0]]]
    np.testing.assert_allclose(hwc(tmp_path / "a.png", background="black"), expected, atol=1.01 / 255)


def test_a_palette_has_a_profile_too(tmp_path):
    image = Image.new("P", (1, 1))
    image.putpalette([255, 0, 0])
    image.save(tmp_path / "a.png", icc_profile=swapped_profile())
    np.testing.assert_allclose(levels(tmp_path / "a.png"), [[[0, 255, 0]]], atol=1)


def test_a_grey_profile(tmp_path):
    ramp = np.arange(256, dtype=np.uint8)[None]
    Image.fromarray(ramp).save(tmp_path / "a.png", icc_profile=linear_grey_profile())
    expected = grey3(srgb_encode(ramp / 255))
    np.testing.assert_allclose(hwc(tmp_path / "a.png"), expected, rtol=0, atol=1.5 / 255)
    assert hwc(tmp_path / "a.png")[0, 55, 0] > 0.49  # far from the 55/255 that it would be without


def test_a_colour_profile_on_a_grey_image(tmp_path):
    Image.fromarray(RGB[..., 0]).save(tmp_path / "a.png", icc_profile=swapped_profile())
    np.testing.assert_allclose(levels(tmp_path / "a.png"), grey3(RGB[..., 0]), atol=1)


@pytest.mark.parametrize("suffix", ["tif", "jpg"])
def test_cmyk_with_a_profile(tmp_path, suffix):
    inks = np.array([[[255, 0, 0, 0], [0, 255, 255, 255]]], np.uint8).repeat(16, 0).repeat(16, 1)
    image = Image.frombytes("CMYK", (32, 16), inks.tobytes())
    image.save(tmp_path / f"a.{suffix}", icc_profile=cyan_only_profile())
    read = levels(tmp_path / f"a.{suffix}")
    np.testing.assert_allclose(read[:, :14], 0, atol=4)
    np.testing.assert_allclose(read[:, 18:], 255, atol=4)  # by the plain formula this would be black


@pytest.mark.parametrize("profile", [b"not a profile", swapped_profile()[:200], cyan_only_profile()])
def test_a_broken_or_foreign_profile_is_ignored(tmp_path, profile):
    for name, image in {"a.png": RGB, "b.tif": RGB}.items():
        Image.fromarray(image).save(tmp_path / name, icc_profile=profile)
        np.testing.assert_array_equal(levels(tmp_path / name), RGB)


def test_an_srgb_profile_changes_nothing_and_keeps_16_bits(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(RGB).save(tmp_path / "a.png", icc_profile=srgb)
    np.testing.assert_array_equal(levels(tmp_path / "a.png"), RGB)
    embedded = chunk(b"iCCP", b"icc\0\0" + zlib.compress(srgb))
    (tmp_path / "b.png").write_bytes(png16(DEEP[..., :3], extra=embedded))
    np.testing.assert_array_equal(hwc(tmp_path / "b.png"), float32(DEEP[..., :3], 65535))


def test_16_bits_with_another_profile_are_converted_in_8(tmp_path):
    embedded = chunk(b"iCCP", b"icc\0\0" + zlib.compress(swapped_profile()))
    (tmp_path / "a.png").write_bytes(png16(DEEP[..., :3], extra=embedded))
    expected = DEEP[..., [1, 0, 2]] / 65535
    np.testing.assert_allclose(hwc(tmp_path / "a.png"), expected, rtol=0, atol=1.6 / 255)
    grey = chunk(b"iCCP", b"icc\0\0" + zlib.compress(linear_grey_profile()))
    (tmp_path / "b.png").write_bytes(png16(DEEP[..., :1], extra=grey))
    expected = grey3(srgb_encode(DEEP[..., 0] / 65535))
    assert np.abs(hwc(tmp_path / "b.png") - expected)[DEEP[..., 0] > 6000].max() < 2 / 255


# --- what may be wrong


def message(path, **options) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(path, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert Path(path).name in text
    assert text.endswith(".")
    return text


def test_missing_folder_empty_and_other_files(tmp_path):
    assert "file that exists" in message(tmp_path / "none.png")
    assert "file that exists" in message(tmp_path / "none" / "none.png")
    assert "got the folder" in message(tmp_path)
    (tmp_path / "empty.png").touch()
    assert "which is empty" in message(tmp_path / "empty.png")
    (tmp_path / "text.png").write_text("hello, this is a text")
    assert "none of these" in message(tmp_path / "text.png")
    (tmp_path / "head.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert "begins like PNG" in message(tmp_path / "head.png")
    (tmp_path / "file").write_text("")
    assert "can be opened" in message(tmp_path / "file" / "a.png")
    assert "can be opened" in message(tmp_path / ("x" * 300))
    with pytest.raises(ImageError, match="can be opened"):
        read_image("a\0b.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert "regular file" in message(tmp_path / "pipe.png")


def test_no_permission(tmp_path, monkeypatch):
    Image.fromarray(RGB).save(tmp_path / "a.png")

    def refuse(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root, who runs the tests in a container, may read everything
    assert "which you may not" in message(tmp_path / "a.png")


def test_postscript_is_not_run(tmp_path):
    (tmp_path / "a.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
    assert "none of these" in message(tmp_path / "a.eps")


def test_tiff_varieties_that_pillow_cannot_decode(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 4, 3), np.float32), photometric="rgb")
    assert "begins like TIFF" in message(tmp_path / "a.tif")


def encoded(kind: str) -> bytes:
    """A valid small file of each kind that the reader takes differently."""
    if kind == "png16":
        return png16(DEEP)
    if kind == "png16i":
        return png16(DEEP[..., :3], interlaced=True, extra=chunk(b"iCCP", b"i\0\0" + zlib.compress(swapped_profile())))
    buffer = io.BytesIO()
    if kind in {"tiff16", "tiff16z", "tiff16p"}:
        samples = DEEP[..., :3].transpose(2, 0, 1) if kind == "tiff16p" else DEEP[..., :3]
        tifffile.imwrite(
            buffer,
            samples,
            photometric="rgb",
            planarconfig="separate" if kind == "tiff16p" else "contig",
            compression="deflate" if kind == "tiff16z" else None,
        )
        return buffer.getvalue()
    smooth = np.add.outer(np.arange(24), np.arange(32))[..., None] * np.array([4, 3, 2])
    image = Image.fromarray(smooth.clip(0, 255).astype(np.uint8))
    options = {"exif": exif_of(6), "icc_profile": swapped_profile()} if kind in {"png", "jpeg", "webp", "tiff"} else {}
    if kind == "tiff":
        options["compression"] = "tiff_lzw"
    if kind == "gif":
        image = image.quantize(16)
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


KINDS = ["png", "jpeg", "webp", "tiff", "bmp", "gif", "png16", "png16i", "tiff16", "tiff16z", "tiff16p"]
ENCODED = {kind: encoded(kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_cut_in_half(tmp_path, kind):
    (tmp_path / "whole").write_bytes(ENCODED[kind])
    assert read_image(tmp_path / "whole").shape[:2] == (1, 3)
    (tmp_path / "half").write_bytes(ENCODED[kind][: len(ENCODED[kind]) // 2])
    assert "damaged" in message(tmp_path / "half")


@pytest.mark.parametrize("kind", KINDS)
def test_damage_of_any_kind_is_an_image_error(tmp_path_factory, kind):
    whole = ENCODED[kind]
    path = tmp_path_factory.mktemp(kind) / "damaged"
    positions = st.integers(0, len(whole) - 1) | st.integers(0, min(150, len(whole) - 1))
    flips = st.lists(st.tuples(positions, st.integers(0, 255)), max_size=6)
    seen: set[str] = set()

    @settings(max_examples=100, deadline=None, derandomize=True, database=None)
    @given(flips=flips, length=st.just(len(whole)) | st.integers(0, len(whole)))
    def damage(flips, length):
        data = bytearray(whole)
        for position, value in flips:
            data[position] = value
        path.write_bytes(data[:length])
        try:
            image = read_image(path, max_pixels=1 << 20)
        except ImageError as error:
            assert "\n" not in str(error)
            seen.add("error")
        else:
            assert image.dtype == torch.float32
            assert image.shape[:2] == (1, 3)
            assert bool(((image >= 0) & (image <= 1)).all())
            seen.add("image")

    damage()
    assert seen == {"error", "image"}


def test_no_other_exception_of_a_decoder_gets_out(tmp_path, monkeypatch):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    for error in (
        SyntaxError("x\ny"),
        struct.error("x"),
        KeyError("x"),
        EOFError(),
        MemoryError(),
        zlib.error("x"),
    ):

        def fail(*_args, _error=error):
            raise _error

        monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", fail)
        assert "damaged or cut short" in message(tmp_path / "a.png")


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header announces more than its few bytes hold."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def test_the_limit_of_pixels_is_checked_before_decoding(tmp_path, monkeypatch):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", max_pixels=63).shape == (1, 3, 9, 7)
    monkeypatch.setattr("opsin.images.reading.decode", lambda *_: pytest.fail("decoded"))
    assert "at most 62 pixels, got 7x9 = 63" in message(tmp_path / "a.png", max_pixels=62)
    (tmp_path / "warned.png").write_bytes(bomb(10_000, 10_000))  # where Pillow warns
    assert "got 10000x10000 = 100,000,000" in message(tmp_path / "warned.png")
    (tmp_path / "refused.png").write_bytes(bomb(100_000, 100_000))  # where Pillow raises
    assert "which announces more" in message(tmp_path / "refused.png")
    assert "MAX_IMAGE_PIXELS" in message(tmp_path / "refused.png", max_pixels=10**12)


def test_pillows_warning_does_not_get_out_when_the_limit_is_raised(tmp_path, monkeypatch):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    with pytest.warns(Image.DecompressionBombWarning), Image.open(tmp_path / "a.png"):
        pass
    np.testing.assert_array_equal(levels(tmp_path / "a.png"), RGB)


def test_the_filters_of_warnings_are_left_as_they_were(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(ENCODED["png"][:100])
    before = list(warnings.filters)

    def read() -> None:
        for _ in range(30):
            read_image(tmp_path / "a.png")
            with pytest.raises(ImageError):
                read_image(tmp_path / "b.png")

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts the open files of Linux")
@pytest.mark.parametrize("kind", KINDS)
def test_no_file_stays_open(tmp_path, kind):
    (tmp_path / "whole").write_bytes(ENCODED[kind])
    (tmp_path / "half").write_bytes(ENCODED[kind][: len(ENCODED[kind]) // 2])
    before = len(list(Path("/proc/self/fd").iterdir()))
    read_image(tmp_path / "whole")
    with pytest.raises(ImageError):
        read_image(tmp_path / "half")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("background", ["wite", "#12", "#ffffff80", "", None, 3])
def test_a_bad_background(tmp_path, background):
    with pytest.raises(InputError, match="background must be an opaque colour"):
        read_image(tmp_path / "none.png", background=background)


@pytest.mark.parametrize("limit", [0, -5, 1.5, None, True])
def test_a_bad_limit(tmp_path, limit):
    with pytest.raises(InputError, match="max_pixels must be"):
        read_image(tmp_path / "none.png", max_pixels=limit)
