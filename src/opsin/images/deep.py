"""PNG and TIFF of 16 bits a sample in colour, which Pillow does not write."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from opsin.errors import ImageError
from opsin.images.png import HEADER, START
from opsin.images.profiles import srgb_profile
from opsin.images.writing import text_chunks

Levels = npt.NDArray[np.uint16]

# Of the samples before compression: little beside the image, and enough to compress well.
_BLOCK_BYTES = 1 << 20
_LONGEST = 1 << 32  # offsets in a TIFF have 32 bits


class Samples(NamedTuple):
    """An image of 16 bits a sample, taken block by block.

    Attributes:
        height: of it.
        width: of it.
        channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha, which is not multiplied into the colour.
        rows: (first, last) -> those rows, last not included, (rows, W, channels).
    """

    height: int
    width: int
    channels: int
    rows: Callable[[int, int], Levels]

    def blocks(self, block: int) -> Iterator[Levels]:
        """All rows, so many at a time."""
        for first in range(0, self.height, block):
            yield self.rows(first, min(first + block, self.height))

    def rows_a_block(self) -> int:
        """How many rows make a block."""
        return max(1, _BLOCK_BYTES // (2 * self.width * self.channels))


def write_png(path: Path, samples: Samples, metadata: Mapping[str, str]) -> None:
    """Write a PNG of 16 bits; colour is tagged as sRGB.

    Reference: Portable Network Graphics (PNG) Specification (Third Edition), W3C 2025. https://www.w3.org/TR/png-3/
    """
    with path.open("wb") as file:
        file.write(START)
        colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[samples.channels]
        _chunk(file, b"IHDR", HEADER.pack(samples.width, samples.height, 16, colour_type, 0, 0, 0))
        if samples.channels >= 3:
            _chunk(file, b"iCCP", b"sRGB\0\0" + zlib.compress(srgb_profile()))
        chunks: Any = text_chunks(metadata).chunks
        for name, content, *_ in chunks:
            _chunk(file, name, content)
        compressor = zlib.compressobj(6, zlib.DEFLATED, 15, 9, zlib.Z_FILTERED)
        above = np.zeros(2 * samples.width * samples.channels, np.uint8)
        for block in samples.blocks(samples.rows_a_block()):
            octets = block.astype(">u2").reshape(len(block), -1).view(np.uint8)
            data = compressor.compress(_filtered(octets, above, 2 * samples.channels))
            above = octets[-1]
            if data:
                _chunk(file, b"IDAT", data)
        _chunk(file, b"IDAT", compressor.flush())
        _chunk(file, b"IEND", b"")


def _chunk(file: IO[bytes], name: bytes, content: bytes) -> None:
    file.write(struct.pack(">I", len(content)) + name + content)
    file.write(struct.pack(">I", zlib.crc32(content, zlib.crc32(name))))


def _filtered(octets: npt.NDArray[np.uint8], above: npt.NDArray[np.uint8], pixel: int) -> bytes:
    """Rows of bytes with the filter of each before it: that whose differences are smallest, as the standard advises."""
    up = np.concatenate([above[None], octets[:-1]])
    left, corner = np.zeros_like(octets), np.zeros_like(octets)
    left[:, pixel:], corner[:, pixel:] = octets[:, :-pixel], up[:, :-pixel]
    a, b, c = (values.astype(np.int16) for values in (left, up, corner))
    by_a, by_b, by_c = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    paeth = np.where((by_a <= by_b) & (by_a <= by_c), left, np.where(by_b <= by_c, up, corner))
    kinds = (1, 2, 4)
    differences = np.stack([octets - predicted for predicted in (left, up, paeth)])
    sizes = np.abs(differences.view(np.int8).astype(np.int16)).sum(axis=2, dtype=np.int64)
    best = sizes.argmin(axis=0)
    rows = np.empty((len(octets), 1 + octets.shape[1]), np.uint8)
    rows[:, 0] = np.take(kinds, best)
    rows[:, 1:] = differences[best, np.arange(len(octets))]
    return rows.tobytes()


def write_tiff(path: Path, samples: Samples, metadata: Mapping[str, str]) -> None:
    """Write a TIFF of 16 bits, compressed without loss; colour is tagged as sRGB.

    Raises:
        ImageError: it would be longer than 4 GiB, which TIFF has no numbers for.

    Reference: TIFF, Revision 6.0, Adobe 1992, with its technical notes on Deflate and ICC profiles.
    """
    n, block = samples.channels, samples.rows_a_block()
    offsets, counts = [], []
    with path.open("wb") as file:
        file.write(struct.pack("<2sHI", b"II", 42, 0))
        for rows in samples.blocks(block):
            steps = rows.copy()
            steps[:, 1:] -= rows[:, :-1]  # wraps, as predictor 2 does
            offsets.append(file.tell())
            counts.append(file.write(zlib.compress(steps.astype("<u2").tobytes(), 6)))
            file.write(b"\0" * (file.tell() % 2))
        fields: list[tuple[int, str, Any]] = [
            (256, "I", [samples.width]),
            (257, "I", [samples.height]),
            (258, "H", [16] * n),
            (259, "H", [8]),  # Deflate
            (262, "H", [2 if n >= 3 else 1]),  # RGB, or grey of which 0 is black
            *([(270, "s", json.dumps(dict(metadata)).encode("ascii") + b"\0")] if metadata else []),
            (273, "I", offsets),
            (277, "H", [n]),
            (278, "I", [block]),
            (279, "I", counts),
            (284, "H", [1]),  # samples of a pixel lie together
            (317, "H", [2]),  # differences along rows
            *([(338, "H", [2])] if n in {2, 4} else []),  # alpha, not multiplied in
            *([(34675, "B", srgb_profile())] if n >= 3 else []),
        ]
        _directory(file, fields)


def _directory(file: IO[bytes], fields: list[tuple[int, str, Any]]) -> None:
    """Append the fields, and what does not fit into them, and say in the header where they are."""
    entries = []
    for tag, kind, values in fields:
        content = bytes(values) if kind in "sB" else struct.pack(f"<{len(values)}{kind}", *values)
        place = content.ljust(4, b"\0")
        if len(content) > 4:
            place = struct.pack("<I", _offset(file))
            file.write(content + b"\0" * (len(content) % 2))
        number = {"B": 7, "s": 2, "H": 3, "I": 4}[kind]
        entries.append(struct.pack("<HHI", tag, number, len(values)) + place)
    start = _offset(file)
    file.write(struct.pack("<H", len(entries)) + b"".join(entries) + b"\0" * 4)
    file.seek(4)
    file.write(struct.pack("<I", start))


def _offset(file: IO[bytes]) -> int:
    if file.tell() >= _LONGEST:
        raise ImageError("a TIFF file must be shorter than 4 GiB, got more. Write a PNG.")
    return file.tell()
