"""A trained network as one safetensors file that says how to make it anew."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from opsin._version import __version__
from opsin.checks import choice
from opsin.errors import MissingExtraError, OpsinError, WeightsError
from opsin.files import atomic_path
from opsin.networks.autoencoders import VAE, VQ
from opsin.networks.base import Network
from opsin.networks.discriminators import ImageDiscriminator, PatchDiscriminator, UNetDiscriminator, VGGDiscriminator
from opsin.networks.fastgan import FastGAN
from opsin.networks.pix2pixhd import MultiScaleDiscriminator, Pix2PixHD
from opsin.networks.projected import ProjectedDiscriminator
from opsin.networks.residual import EDSR, MSRResNet, SRResNet
from opsin.networks.spandrel import SpandrelUpscaler
from opsin.networks.transform import ImageTransformNet

_NETWORKS: tuple[type[Network], ...] = (
    ImageTransformNet,
    SRResNet,
    MSRResNet,
    EDSR,
    SpandrelUpscaler,
    VGGDiscriminator,
    PatchDiscriminator,
    UNetDiscriminator,
    ImageDiscriminator,
    ProjectedDiscriminator,
    FastGAN,
    Pix2PixHD,
    MultiScaleDiscriminator,
    VAE,
    VQ,
)
ARCHITECTURES: Mapping[str, type[Network]] = MappingProxyType({kind.architecture: kind for kind in _NETWORKS})

_KEY = "opsin"
_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


class Loaded(NamedTuple):
    """A network of a file, in eval mode, and what was written about it."""

    network: Network
    about: dict[str, Any]


def save_network(path: str | os.PathLike[str], network: Network, about: Mapping[str, Any]) -> None:
    """Write a network's weights, architecture and arguments; a file that is there is replaced.

    Args:
        path: e.g. "model.safetensors".
        network: one of `ARCHITECTURES`.
        about: plain values to write beside the weights, such as the signature of the loss.

    Raises:
        OpsinError: the file cannot be written; what was there stays.
    """
    header = {"version": __version__, "architecture": network.architecture, "arguments": network.config(), **about}
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.weights().items()}
    try:
        with atomic_path(path, overwrite=True) as temporary:
            save_file(state, temporary, {_KEY: json.dumps(header)})
    except (OSError, SafetensorError) as error:
        raise OpsinError(
            f"the model must be written to '{path}', got {' '.join(str(error).split())}. What was there is untouched."
        ) from error


def load_network(path: str | os.PathLike[str], architecture: str | None = None) -> Loaded:
    """Make a network of a file that `save_network` wrote.

    Args:
        path: the file.
        architecture: the one that is needed; None takes any.

    Raises:
        WeightsError: the file is missing, damaged, a pickle (which is never opened), without the header, or of
            another architecture.
        MissingExtraError: it is a network of other authors, and spandrel is not installed.

    Example:
        >>> network, about = load_network("run/model.safetensors")  # doctest: +SKIP
    """
    path = Path(path)
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no file"
        raise WeightsError(f"model must be a file that 'opsin train' wrote, got '{path}', {what}. Check the name.")
    header, state = _read(path)
    name = header.get("architecture")
    if architecture is not None and name != architecture:
        raise WeightsError(f"model must be of architecture '{architecture}', got '{name}' in '{path}'. Choose another.")
    kind = ARCHITECTURES[choice("architecture", name, ARCHITECTURES, owner=f"the model '{path}'")]
    try:
        network = kind.restored(header["arguments"], state)
    except MissingExtraError as error:
        raise MissingExtraError(f"the model '{path}' needs what is not installed: {error}") from error
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(
            f"model must hold the weights that its header tells of, got others in '{path}': {reason}. Train it anew."
        ) from error
    return Loaded(network.eval(), header)


def refuse_pickle(path: Path) -> None:
    """Raise if a file that should be safetensors is a pickle.

    Raises:
        WeightsError: it is.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(4)
    if any(start.startswith(magic) for magic in _PICKLES):
        raise WeightsError(
            f"model must be a safetensors file, got '{path}', a pickle, which may run code and was not opened. "
            "Use the model.safetensors of a run of 'opsin train'."
        )


def is_ours(path: str | os.PathLike[str]) -> bool:
    """Whether a file was written by `save_network`, as far as its header says."""
    try:
        with safe_open(path, "pt") as file:
            return _KEY in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        refuse_pickle(path)
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if _KEY not in metadata:
                raise WeightsError(
                    f"model must be a file that 'opsin train' wrote, got '{path}', which does not say what network "
                    "it is of. Use the model.safetensors of a run."
                )
            header = json.loads(metadata[_KEY])
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(
            f"model must be a whole safetensors file, got '{path}': {reason}. Get it again, or train it anew."
        ) from error
    return (header if isinstance(header, dict) else {}), state
