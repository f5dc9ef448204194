"""Networks that enlarge images, by name and from files of any origin."""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from opsin.checks import choice, whole
from opsin.errors import InputError, MissingExtraError, WeightsError
from opsin.networks import residual, spandrel
from opsin.networks.files import is_ours, load_network, refuse_pickle
from opsin.networks.upscaler import Upscaler

UPSCALERS: Mapping[str, str] = MappingProxyType(
    {
        "srresnet": "SRGAN's generator",
        "msrresnet": "the same without normalisation",
        "edsr": "EDSR",
        "rrdb": "ESRGAN's generator",
        "compact": "Real-ESRGAN's small network",
        "span": "SPAN",
        "rcan": "RCAN",
        "swinir": "SwinIR",
    }
)
"""Names of `make_upscaler`."""

_OURS = {kind.architecture: kind for kind in (residual.SRResNet, residual.MSRResNet, residual.EDSR)}
_SCALES = (1, 2, 3, 4, 8)
# What spandrel makes anew from a state of them.
_FEWER: Mapping[str, tuple[int, ...]] = MappingProxyType({"rrdb": (1, 2, 4, 8), "rcan": (2, 3, 4, 8)})
_DEPTH = 8
_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt")
# What checkpoints hide the tensors in, the averaged ones first, and what they put before their names.
_NESTS = ("params_ema", "params-ema", "model_state_dict", "state_dict", "params", "model", "net", "generator")
_PREFIXES = ("module.", "netG.", "generator.")


class LoadedUpscaler(NamedTuple):
    """A network of a file, in eval mode, and what is known about it."""

    network: Upscaler
    about: dict[str, Any]


def make_upscaler(name: str, scale: int = 4, *, width: int | None = None, blocks: int | None = None) -> Upscaler:
    """A new network, untrained.

    Args:
        name: one of `UPSCALERS`.
        scale: how many times larger its results are.
        width: channels; None for as many as published.
        blocks: residual blocks, or what the architecture has in their place; None for as many as published.

    Raises:
        ChoiceError: an unknown name.
        InputError: a scale or a width that it cannot have, or `blocks` for "span", whose number is fixed.
        MissingExtraError: spandrel is not installed, and the network is from there.

    Example:
        >>> make_upscaler("edsr", 2, width=8, blocks=2)(torch.rand(1, 3, 5, 6)).shape
        torch.Size([1, 3, 10, 12])
    """
    choice("network", name, UPSCALERS)
    for what, number in (("width", width), ("blocks", blocks)):
        if number is not None:
            whole(what, number, mend="Leave it out for the published number.")
    scales = _FEWER.get(name, _SCALES)
    if isinstance(scale, bool) or scale not in scales:
        known = ", ".join(map(str, scales))
        raise InputError(f"scale must be one of {known} for {name}, got {scale}. Choose one of these.")
    if name in _OURS:
        return _OURS[name](scale=scale, **{k: v for k, v in (("width", width), ("blocks", blocks)) if v is not None})
    if name == "span" and blocks is not None:
        raise InputError(f"blocks must be left out for span, which always has 6, got {blocks}. Choose a width instead.")
    if name == "swinir" and width is not None and width % 6:
        raise InputError(f"width must be a multiple of the 6 heads of swinir, got {width}. E.g. 60.")
    if name == "rcan" and width is not None and width < 16:
        raise InputError(
            f"width must be at least 16 for rcan, whose attention has a sixteenth of it, got {width}. E.g. 32."
        )
    return spandrel.make(name, scale, width, blocks)


def load_upscaler(path: str | os.PathLike[str], *, scale: int | None = None) -> LoadedUpscaler:
    """Make a network of a file: one that `opsin train sr` wrote, or a public checkpoint.

    Public ones are those that spandrel recognises, of some forty architectures, and BasicSR's EDSR and MSRResNet:
    safetensors, or torch's files, of which nothing is run: they are read with `weights_only=True`.

    Args:
        path: the file.
        scale: the one that is needed; None takes any.

    Raises:
        WeightsError: the file is missing, damaged, not tensors alone, or of another network.
        InputError: a network of another scale.
        MissingExtraError: spandrel is not installed, and the network is from there.

    Example:
        >>> network, about = load_upscaler("RealESRGAN_x4plus.pth")  # doctest: +SKIP
    """
    path = Path(path)
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no file"
        raise WeightsError(f"model must be a file with a network, got '{path}', {what}. Check the name.")
    if path.suffix.lower() not in _SUFFIXES:
        raise WeightsError(f"model must end in {', '.join(_SUFFIXES)}, got '{path.name}'. Choose another file.")
    about: dict[str, Any]
    if is_ours(path):
        found, about = load_network(path)
        if not isinstance(found, Upscaler):
            raise WeightsError(
                f"model must be one that enlarges images, got '{path}', of architecture '{found.architecture}'. "
                "Choose another."
            )
        network: Upscaler = found
    else:
        network, about = _public(path), {}
    if scale is not None and network.scale != scale:
        raise InputError(f"scale must be {network.scale}, that of the model '{path}', got {scale}. Choose another.")
    about = {"architecture": network.architecture, "name": network.name, "sha256": _hash(path)[:16], **about}
    return LoadedUpscaler(network.eval(), about)


def _public(path: Path) -> Upscaler:
    state = _tensors(path)
    try:
        ours = residual.released(state)
        network = ours if isinstance(ours, Upscaler) else spandrel.detect(state)
    except MissingExtraError as error:
        raise MissingExtraError(f"the model '{path}' is of none of opsin's own networks: {error}") from error
    except (RuntimeError, ValueError, KeyError, IndexError, ArithmeticError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"model must be a whole network that enlarges images, got '{path}': {reason}") from error
    if network is None:
        raise WeightsError(
            f"model must be of a network that opsin or spandrel knows, got '{path}', which is of none of them, with "
            f"tensors such as {', '.join(repr(name) for name in list(state)[:2])}. Choose another file."
        )
    return network


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix.lower() == ".safetensors":
            refuse_pickle(path)
            found: Any = load_file(path)
        else:
            if _is_program(path):
                raise WeightsError(
                    f"model must be a file of weights, got '{path}', a program of TorchScript, which is not run. "
                    "Get the weights themselves."
                )
            found = torch.load(path, map_location="cpu", weights_only=True)
    except WeightsError:
        raise
    except (SafetensorError, OSError, EOFError, RuntimeError, KeyError, ValueError) as error:
        raise WeightsError(
            f"model must be a whole file of weights, got '{path}': {_line(error)} Get it again."
        ) from error
    except Exception as error:
        # torch raises its pickle's own errors; whatever it is, nothing was run.
        called = re.search(r"GLOBAL ([\w.]+)", str(error))
        if called is None:
            raise WeightsError(
                f"model must be a whole file of weights, got '{path}', which torch cannot read. Get it again."
            ) from error
        raise WeightsError(
            f"model must hold tensors alone, got '{path}', which calls {called[1]}, and that was not run. "
            "Get the weights as safetensors."
        ) from error
    state = _unnested(found)
    if not state:
        raise WeightsError(f"model must hold tensors by name, got '{path}', which holds none. Choose another file.")
    return state


def _is_program(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _unnested(found: Any) -> dict[str, Tensor]:
    # A file may hold a dictionary that holds itself.
    for _ in range(_DEPTH):
        if not isinstance(found, dict):
            return {}
        inner = [found[name] for name in _NESTS if isinstance(found.get(name), dict)]
        if not inner and not any(isinstance(value, Tensor) for value in found.values()):
            inner = [value for value in found.values() if isinstance(value, dict)]
        if not inner:
            break
        found = inner[0]
    state = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
    for prefix in _PREFIXES:
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _line(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:160].rstrip(".") + "."


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
