"""A model file, and what is made of a picture with it: its colours and its transparency enlarged, all else kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from opsin._version import __version__
from opsin.devices import available_memory
from opsin.errors import InputError
from opsin.images import Picture, resize
from opsin.networks import Upscaler
from opsin.superres.upscaling import Plan, upscale

MAX_RESULT_PIXELS = 1 << 29
"""The most pixels that a result may have."""

_BYTES_A_PIXEL = 20  # three floats and their levels, and what the encoder holds


def load_model(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> Upscaler:
    """An upscaler of a file: ours, an ONNX file, or a checkpoint of another program's that is known.

    Raises:
        WeightsError: the file is missing, damaged, or of another kind of network; a pickle that would run code.
        MissingExtraError: a package that such a file takes is not installed.
        InputError: onnxruntime does not compute on that device.
    """
    if Path(path).suffix.lower() == ".onnx":
        from opsin.superres.onnx import OnnxUpscaler

        return OnnxUpscaler(path, str(device))
    from opsin.networks import load_upscaler

    network: Upscaler = load_upscaler(path).network
    return network.to(device).eval()


def enlarge(
    model: Upscaler,
    picture: Picture,
    how: Plan,
    *,
    precision: str = "float32",
    outscale: float | None = None,
    callback: Callable[[int, int], None] | None = None,
) -> Picture:
    """Enlarge a picture: its colour, and its transparency as a grey image of its own.

    Args:
        model: see `upscale`.
        picture: what `read_picture` reads.
        how: what `plan` gives.
        precision: see `upscale`.
        outscale: the factor that is wanted; what the model makes is resized to it. None keeps the model's.
        callback: see `upscale`; it is told of all tiles of the picture.

    Raises:
        InputError: see `upscale`; a result of too many pixels.
    """
    height, width = picture.size
    # A grey image three times over; if it is opaque, so is the result.
    clear = picture.alpha is not None and bool((picture.alpha < 1).any())
    passes = 2 if clear else 1

    def make(image: torch.Tensor, before: int) -> torch.Tensor:
        def told(done: int, total: int) -> None:
            if callback is not None:
                callback(before * total + done, passes * total)

        large = upscale(model, image, tile=how.tile, overlap=how.overlap, precision=precision, callback=told)
        if outscale is not None and outscale != model.scale:
            large = resize(large, result_size(model, height, width, outscale), max_pixels=MAX_RESULT_PIXELS)
        return large

    check_result(model, height, width, outscale)
    colour, alpha = make(picture.colour, 0), picture.alpha
    if alpha is not None:
        alpha = (
            make(alpha.expand(-1, 3, -1, -1), 1).mean(dim=1, keepdim=True) if clear else torch.ones_like(colour[:, :1])
        )
    return replace(picture, colour=colour, alpha=alpha)


def result_size(model: Upscaler, height: int, width: int, outscale: float | None = None) -> tuple[int, int]:
    """Height and width of what is made of an image of that size."""
    if outscale is None:
        return model.scale * height, model.scale * width
    return max(1, round(outscale * height)), max(1, round(outscale * width))


def check_result(model: Upscaler, height: int, width: int, outscale: float | None = None) -> None:
    """Raise unless a result of that size can be made.

    Raises:
        InputError: it has too many pixels, or does not fit into memory.
    """
    free = available_memory()
    for rows, columns in {result_size(model, height, width, factor) for factor in (None, outscale)}:
        if rows * columns > MAX_RESULT_PIXELS:
            raise InputError(
                f"a result must have at most {MAX_RESULT_PIXELS:,} pixels, got {columns}x{rows} of {width}x{height}. "
                "Make the image smaller first."
            )
        if free is not None and _BYTES_A_PIXEL * rows * columns > free:
            raise InputError(
                f"a result must fit into memory, got {columns}x{rows} pixels, which take about "
                f"{_BYTES_A_PIXEL * rows * columns / 2**30:.1f} GiB of the {free / 2**30:.1f} that are free. "
                "Make the image smaller first."
            )


def how_it_was_made(model: Upscaler, file: str | os.PathLike[str], source: str | os.PathLike[str]) -> dict[str, str]:
    """What the file of an enlarged picture says of itself, without the folders that things lay in."""
    return {
        "Software": f"opsin {__version__}",
        "opsin:image": Path(source).name,
        "opsin:model": f"{model.name} x{model.scale}, {Path(file).name}",
    }
