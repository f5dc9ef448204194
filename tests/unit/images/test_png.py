"""Plain PNG files are decoded by another library, and give what Pillow gives."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from opsin.errors import ImageError
from opsin.images import png, reading

pytest.importorskip("kornia_rs", reason="extra 'score'")

PIXELS = np.random.default_rng(0).integers(0, 256, (13, 17, 3), dtype=np.uint8)


def saved(image: Image.Image | None = None, **options: Any) -> bytes:
    file = io.BytesIO()
    (image or Image.fromarray(PIXELS)).save(file, "PNG", **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def with_chunk(kind: bytes, data: bytes) -> bytes:
    """Before the last one."""
    return saved()[:-12] + chunk(kind, data) + saved()[-12:]


def test_plain_files_give_their_pixels():
    found = png.decode_plain(saved(), 10**6)
    assert found is not None and found.dtype == np.uint8 and np.array_equal(found, PIXELS)


def test_read_array_takes_it(monkeypatch):
    monkeypatch.setattr(reading, "_read", None)  # Pillow's way
    assert np.array_equal(reading.read_array("any.png", content=saved()), PIXELS)


def _text() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("key", "text")
    return info


@pytest.mark.parametrize(
    "make",
    [
        lambda: saved(Image.fromarray(PIXELS).convert("L")),
        lambda: saved(Image.fromarray(PIXELS).convert("P")),
        lambda: saved(Image.fromarray(PIXELS).convert("RGBA")),
        lambda: saved(transparency=(1, 2, 3)),
        lambda: saved(icc_profile=b"profile"),
        lambda: saved(pnginfo=_text()),
        lambda: saved(save_all=True, append_images=[Image.fromarray(PIXELS[::-1].copy())]),
        lambda: with_chunk(b"eXIf", b"II*\0\x08\0\0\0\0\0"),
        lambda: saved()[:-4],
        lambda: saved()[:40],
        lambda: saved()[:8],
        lambda: b"",
        lambda: b"GIF89a",
    ],
    ids=[
        *("grey", "palette", "alpha", "transparent", "profile", "text", "animated"),
        *("exif", "cut", "short", "start", "empty", "gif"),
    ],
)
def test_all_else_is_left_to_pillow(make: Callable[[], bytes]):
    assert png.decode_plain(make(), 10**6) is None


def test_an_orientation_behind_the_pixels_is_obeyed():
    exif = Image.Exif()
    exif[0x0112] = 6
    content = with_chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    assert np.array_equal(reading.read_array("turned.png", content=content), np.rot90(PIXELS, -1))


def test_the_most_pixels_are_minded():
    assert png.decode_plain(saved(), 13 * 17) is not None
    assert png.decode_plain(saved(), 13 * 17 - 1) is None
    with pytest.raises(ImageError, match="at most 9 pixels"):
        reading.read_array("large.png", max_pixels=9, content=saved())


def test_without_the_library_pillow_reads_it(monkeypatch):
    monkeypatch.setattr(png, "_decoder", lambda: None)
    assert png.decode_plain(saved(), 10**6) is None
    assert np.array_equal(reading.read_array("any.png", content=saved()), PIXELS)


@settings(max_examples=300, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(8, len(saved()) - 1), st.integers(0, 255)), min_size=1, max_size=3))
def test_damaged_files_end_as_they_do_with_pillow(changes: list[tuple[int, int]]):
    content = bytearray(saved())
    for at, value in changes:
        content[at] = value
    found = png.decode_plain(bytes(content), 10**4)
    if found is not None:
        with Image.open(io.BytesIO(content)) as image:
            assert np.array_equal(found, np.asarray(image.convert("RGB")))
